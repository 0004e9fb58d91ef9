#include "models/calibration/dense_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "sim/input/fitting/read_parameter.h"
#include "sim/input/quantity.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace {

std::vector<std::string> parameter_names(const CostForm& form) {
  std::vector<std::string> names;
  for (const FormParameter& parameter : form.parameters) names.emplace_back(parameter.key);
  return names;
}

// Names in the list at `key` that are none of `known` are mistakes.
std::vector<std::string> names_among(YamlMap& map, const std::string& key,
                                     const std::vector<std::string>& known, std::string_view what) {
  std::vector<std::string> given = map.texts_or_empty(key);
  for (const std::string& name : given) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      map.mistake(key, fmt::format("there is no {} '{}'", what, name), suggest(name, known));
    }
  }
  return given;
}

void read_form(YamlMap& map, DenseKernelSpec& kernel) {
  std::vector<std::string> forms;
  for (const CostForm* form : cost_forms()) {
    if (form->family == kernel.family) forms.emplace_back(form->name);
  }
  kernel.form = find_cost_form(map.choice("form", forms));
  if (kernel.form == nullptr) {
    for (const char* key : {"free", "fixed", "range"}) map.child(key);
    return;
  }
  kernel.free = names_among(map, "free", parameter_names(*kernel.form), "parameter");
  if (std::optional<YamlMap> fixed = map.map_if("fixed")) {
    for (const FormParameter& parameter : kernel.form->parameters) {
      if (fixed->has(parameter.key)) {
        kernel.fixed[std::string(parameter.key)] =
            read_parameter(*fixed, parameter, {0, parameter.most});
      }
    }
    fixed->finish();
  }
  if (std::optional<YamlMap> range = map.map_if("range")) {
    for (const std::string_view extent : kernel.form->extents) {
      const std::vector<std::int64_t> ends =
          range->counts_or_empty(extent, {0, std::int64_t{1} << 50});
      if (ends.empty()) continue;
      if (ends.size() == 2 && ends[0] <= ends[1]) {
        kernel.range[std::string(extent)] = {ends[0], ends[1]};
      } else {
        range->mistake(extent, "a range is [least, most]");
      }
    }
    range->finish();
  }
}

DenseKernelSpec read_kernel(const YamlNode& item, Mistakes& mistakes) {
  YamlMap map(item, "a kernel", mistakes);
  DenseKernelSpec kernel;
  const std::string family = map.text("kernel");
  if (const std::optional<KernelFamily> known = parse_kernel_family(family)) {
    kernel.family = *known;
  } else if (!family.empty()) {
    map.mistake("kernel", fmt::format("there is no kernel '{}'", family));
  }
  kernel.source = map.text("source");
  kernel.also = map.texts_or_empty("also");
  const std::string format = map.text_or("format", "bf16");
  if (const std::optional<KernelFormat> known = parse_kernel_format(format)) {
    kernel.format = *known;
  } else {
    map.mistake("format", fmt::format("there is no format '{}'", format),
                suggest(format, kernel_format_names()));
  }
  kernel.operators = map.texts_or_empty("operators");
  std::vector<std::string> tables;
  for (const KernelTable& table : dense_tables()) tables.emplace_back(table.name);
  kernel.tables = names_among(map, "tables", tables, "table");
  if (kernel.tables.empty()) map.mistake("tables", "no table is named in 'tables'");
  if (map.has("rows")) kernel.rows = DenseFilter(map.child("rows"), mistakes);
  kernel.held_out = names_among(map, "held_out", dense_columns(), "column");
  for (const YamlNode& number : map.list_or_empty("target")) {
    const std::optional<double> percent =
        number.is_scalar() ? parse_number(number.text()) : std::nullopt;
    if (percent) kernel.target.push_back(std::llround(*percent * 10));
  }
  if (kernel.target.size() != 0 && kernel.target.size() != 2) {
    map.mistake("target", "a target is [median, 90th percentile] in per cent");
  }
  kernel.because = map.text_or("because", "");
  read_form(map, kernel);
  if (kernel.form != nullptr && kernel.free.empty()) map.mistake("free", "nothing is free here");
  map.finish();
  return kernel;
}

}  // namespace

bool is_dense_spec(const std::string& file) {
  const std::unique_ptr<YamlDocument> document = YamlDocument::load(file);
  const YamlNode root = document->root();
  if (!root.is_map()) return false;
  for (const auto& [key, value] : root.entries()) {
    if (key == "kernel") return value.is_scalar() && value.text() == "dense";
  }
  return false;
}

DenseSpec load_dense_spec(const std::string& file) {
  const std::unique_ptr<YamlDocument> document = YamlDocument::load(file);
  Mistakes mistakes;
  YamlMap root(document->root(), "this specification", mistakes);
  DenseSpec spec;
  spec.name = std::filesystem::path(file).stem().string();
  const std::vector<std::string> kinds = {"dense"};
  root.choice("kernel", kinds);
  spec.device = root.text("device");
  spec.cite = root.text("cite");
  for (const YamlNode& item : root.list_or_empty("kernels")) {
    spec.kernels.push_back(read_kernel(item, mistakes));
  }
  if (spec.kernels.empty()) root.mistake("kernels", "there is nothing to fit");
  root.finish();
  mistakes.throw_if_any();
  return spec;
}

}  // namespace sim
