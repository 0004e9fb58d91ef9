#include "sim/app/machine_text.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "models/costs/constants_file.h"
#include "models/device_reader.h"
#include "sim/app/kernel_question.h"
#include "sim/app/machine_fit.h"
#include "sim/core/error.h"
#include "sim/input/text_file.h"
#include "sim/input/whole_file.h"

namespace sim {
namespace {

std::string errors_text(const MachineFit& fit, const char* before) {
  std::string text = fmt::format(
      "{}error of the fit in %, median and 90th percentile: of its rows, of rows held out\n",
      before);
  for (const MachineKernel& kernel : fit.kernels) {
    const KernelConstants& constants = kernel.constants;
    std::string name(to_text(constants.family));
    if (!constants.operators.empty()) name = constants.operators.front();
    text += fmt::format("{}  {:<18} {:<20} {:>5} {:>4} rows  {:>5.1f} {:>6.1f}", before, name,
                        constants.source, to_text(constants.format), kernel.fitted.rows,
                        100 * kernel.fitted.median, 100 * kernel.fitted.p90);
    text += kernel.held_out.rows > 0
                ? fmt::format("  {:>5.1f} {:>6.1f}", 100 * kernel.held_out.median,
                              100 * kernel.held_out.p90)
                : std::string("   too few rows");
    text += fmt::format("  moved {}\n", fmt::join(kernel.moved, ", "));
    for (const OutlierRow& each : kernel.outliers) {
      text += fmt::format("{}    outlier left out: {} row {}, measured {:.3g} times the fit\n",
                          before, name, each.number, each.factor);
    }
  }
  for (const std::string& each : fit.left_out)
    text += fmt::format("{}left out: {}\n", before, each);
  return text;
}

}  // namespace

bool is_measurement_file(const std::string& path) {
  std::error_code code;
  if (!std::filesystem::is_regular_file(path, code)) return false;
  return read_head(path, 4096).find("format: moe-microbench") != std::string::npos;
}

std::string fit_measurement_file(const std::string& path, const std::string& device,
                                 const std::string& out, const Catalog& catalog) {
  std::error_code code;
  if (!out.empty() && std::filesystem::equivalent(path, out, code)) {
    throw Error(Place{out}, "the device would be written over the measurement it is made from",
                "name another file with --out");
  }
  const MeasurementFile file = read_measurement_file(path);
  std::optional<WholeFile> place;
  if (!out.empty()) place.emplace(out);
  std::optional<Device> sheet;
  if (!device.empty()) sheet = find_device(catalog, device);
  const std::filesystem::path named(out.empty() ? path : out);
  const std::string name = sheet ? sheet->name : named.stem().string();
  const MachineFit fit = fit_machine(file, std::filesystem::path(path).filename().string(), name,
                                     sheet ? &*sheet : nullptr);
  const std::string yaml = device_yaml(fit.device);
  parse_device(yaml, out.empty() ? path : out);  // what was written can be read
  if (out.empty()) return yaml + errors_text(fit, "# ");
  place->write(yaml);
  return fmt::format("{}: device '{}', {} kernels of {}\n", out, fit.device.name,
                     fit.kernels.size(), path) +
         errors_text(fit, "");
}

}  // namespace sim
