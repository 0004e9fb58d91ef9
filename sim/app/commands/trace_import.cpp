// simulate trace import: a foreign routing file to .moetrace.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "sim/app/commands/trace.h"
#include "traces/import/import.h"

namespace sim {

void attach_trace_import(CLI::App& parent) {
  struct Arguments {
    std::vector<std::string> files;
    std::string out, steps;
    ImportOptions options;
  };
  CLI::App* command = parent.add_subcommand(
      "import", "a foreign routing file to .moetrace (the formats stand below)");
  auto a = std::make_shared<Arguments>();
  command->add_option("file", a->files, "the file, gzipped or not; several capture logs of one run")
      ->required();
  command->add_option("-o,--out", a->out, "the .moetrace to write")->required();
  command->add_option("--format", a->options.format, "when it is not recognised");
  command->add_option("--model", a->options.model, "the model it was recorded with");
  command->add_option("--experts", a->options.experts,
                      "experts per layer, for a model we do not know");
  command->add_option("--top-k", a->options.top_k, "choices per token, for a model we do not know");
  command
      ->add_option("--keep", a->options.keep,
                   "requests or steps: what to keep of a file that has both")
      ->check(CLI::IsMember({"requests", "steps"}))
      ->default_str("requests");
  command->add_flag("--counts", a->options.counts,
                    "store counts per step, tag and layer instead of tokens: far smaller");
  command->add_option("--steps", a->steps, "FROM:TO[:EVERY], only these steps; TO is not in it");
  command->add_flag("--without-token-ids", a->options.without_token_ids,
                    "leave out which token each was: text can be read back from it");
  command->add_flag("--salvage", a->options.salvage,
                    "of a damaged capture log: import what stands before the damage");
  std::string formats = "Formats:\n";
  for (const ImportFormat& format : import_formats()) {
    formats += fmt::format("  {:<23}{}\n", format.name, format.help);
  }
  command->footer(formats);
  command->callback([a] {
    a->options.more_files.assign(a->files.begin() + 1, a->files.end());
    if (!a->steps.empty()) a->options.steps = parse_step_range(a->steps);
    const ImportReport report = import_trace(a->files.front(), a->out, a->options);
    const std::string of = report.model.empty() ? "" : " of " + report.model;
    std::cout << fmt::format("{}: {} rows{} read as {}\n", a->out, report.rows, of, report.format);
    for (const std::string& note : report.notes) std::cout << "note: " << note << "\n";
  });
}

}  // namespace sim
