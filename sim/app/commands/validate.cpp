// simulate validate: published figures beside simulated ones.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>

#include "sim/app/commands/validate.h"
#include "sim/app/validation/validation_text.h"

namespace sim {
namespace {

namespace fs = std::filesystem;

struct ValidateArguments {
  std::string folder = "tests/reproductions";
  std::string only;
  bool all = false;
  bool strict = false;
  bool json = false;
  bool markdown = false;
};

// From the working directory, else from the folder that holds the catalogs.
std::string folder_of(const std::string& name, const Catalog& catalog) {
  std::error_code code;
  const fs::path beside = fs::path(catalog.root()) / name;
  return !fs::is_directory(name, code) && fs::is_directory(beside, code) ? beside.string() : name;
}

int unexplained(const Validation& validation) {
  int count = 0;
  for (const ValidatedRow& row : validation.rows) {
    const bool miss =
        row.state == RowState::kRefused || (row.state == RowState::kDone && !row.pass);
    if (miss && row.row->reason.empty()) ++count;
  }
  return count;
}

void validate_command(const ValidateArguments& arguments) {
  const Catalog catalog;
  const Reproductions reproductions =
      read_reproductions(folder_of(arguments.folder, catalog),
                         catalog.root() + "/tests/reproductions/tolerances.yaml", catalog);
  ValidationOptions options;
  options.only = arguments.only;
  options.all = arguments.all;
  if (isatty(STDERR_FILENO) != 0) {
    options.progress = [](const std::string& run) { std::cerr << "running " << run << std::endl; };
  }
  const Validation validation = validate(reproductions, options, catalog);
  std::cout << (arguments.json       ? validation_json(validation)
                : arguments.markdown ? validation_markdown(validation)
                                     : validation_text(validation));
  std::cout.flush();
  if (!validation.mistakes.empty()) throw Error(validation.mistakes);
  if (const int count = unexplained(validation); arguments.strict && count > 0) {
    throw Error(
        std::to_string(count) + (count == 1 ? " row misses" : " rows miss") + " without a reason",
        "a row's 'reason' says why it is known to miss");
  }
}

}  // namespace

void attach_validate(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("validate", "published figures beside what the simulator says");
  auto arguments = std::make_shared<ValidateArguments>();
  command->add_option("folder", arguments->folder, "the reproductions (tests/reproductions)");
  command->add_option("--only", arguments->only, "the rows of this system, or the row of this id");
  command->add_flag("--all", arguments->all, "run the slow rows too");
  command->add_flag("--strict", arguments->strict, "exit 1 when a row misses without a reason");
  CLI::Option* json = command->add_flag("--json", arguments->json, "as JSON rows");
  command->add_flag("--markdown", arguments->markdown, "as the page of the documentation")
      ->excludes(json);
  command->callback([arguments] { validate_command(*arguments); });
}

}  // namespace sim
