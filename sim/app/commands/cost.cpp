// simulate cost: a kernel's time, its parts, its label, and whether it lies inside the calibrated
// range; alone or one per row of a CSV file.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "sim/app/commands/commands.h"
#include "sim/app/kernel_batch.h"
#include "sim/app/kernel_request.h"

namespace sim {
namespace {

struct CostArguments {
  KernelRequest request;
  std::string batch, out;
  bool json = false;
};

std::string kinds_help() {
  std::string text = "kernels and the sizes they take ([] may be left out):\n";
  for (const KernelKind& kind : kernel_kinds()) {
    std::string sizes;
    for (const KernelSize& size : kind.sizes) {
      sizes +=
          size.fallback == kNeeded ? fmt::format(" {}", size.key) : fmt::format(" [{}]", size.key);
    }
    if (kind.is_experts()) sizes += " [rows]";
    text += fmt::format("  {:<18}{}; {}\n", kind.name, sizes, kind.help);
  }
  return text + "for all: dtype, source, sms, clock; rows are counts with spaces between";
}

void cost(const CostArguments& a) {
  const Catalog catalog;
  const bool batch = !a.batch.empty() || !a.out.empty();
  constexpr const char* kForms =
      "`simulate cost --device NAME --kernel NAME --set key=value...` or `simulate cost --kernel "
      "NAME --batch FILE.csv --out FILE.csv`";
  if (!batch) {
    if (a.request.device.empty()) throw Error("--device is missing", kForms);
    KernelReply reply;
    answer_request(a.request, catalog, reply);
    std::cout << (a.json ? reply_json(reply) : reply_text(reply));
    return;
  }
  if (a.batch.empty() || a.out.empty()) {
    throw Error(a.batch.empty() ? "--batch is missing" : "--out is missing", kForms);
  }
  if (!a.request.set.empty()) {
    throw Error("--set does not go with --batch", "give the file a column of that name");
  }
  const BatchResult result =
      run_kernel_batch(a.request.kernel, a.request.device, a.batch, a.out, catalog);
  std::cout << (a.json ? batch_json(result) : batch_text(result, a.out));
}

}  // namespace

void attach_cost(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "cost", "a kernel's time, its parts, its label, whether inside the calibrated range");
  auto a = std::make_shared<CostArguments>();
  command->add_option(
      "--device", a->request.device,
      "a name of models/devices or a device file; with --batch: of rows without one");
  command->add_option("--kernel", a->request.kernel, "which kernel, see below")->required();
  command->add_option("--set", a->request.set, "a size or a choice: --set hidden=7168")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--batch", a->batch,
                      "CSV, a question per row: columns device, source, dtype and the sizes");
  command->add_option("--out", a->out, "the same rows with time_s, label and in_range");
  command->add_flag("--json", a->json, "as JSON");
  command->footer(kinds_help());
  command->callback([a] { cost(*a); });
}

}  // namespace sim
