#include "models/calibration/expert_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "models/costs/cost_form.h"
#include "sim/input/quantity.h"
#include "sim/input/suggestion.h"
#include "sim/input/yaml_reader.h"

namespace sim {
namespace {

std::vector<std::string> parameter_names() {
  std::vector<std::string> names;
  for (const FormParameter& parameter : kGroupedGemmForm.parameters) {
    names.emplace_back(parameter.key);
  }
  return names;
}

std::vector<std::string> read_free(YamlMap& map, const std::vector<std::string>& otherwise) {
  if (!map.has("free")) return otherwise;
  const std::vector<std::string> free = map.texts_or_empty("free");
  const std::vector<std::string> known = parameter_names();
  for (const std::string& key : free) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      map.mistake("free", fmt::format("the form has no parameter '{}'", key), suggest(key, known));
    }
  }
  return free;
}

std::map<std::string, double> read_values(YamlMap& map, std::string_view key) {
  std::map<std::string, double> values;
  std::optional<YamlMap> inner = map.map_if(key);
  if (!inner) return values;
  for (const std::string& name : parameter_names()) {
    if (inner->has(name)) values[name] = inner->number(name, {0, 1e6});
  }
  inner->finish();
  return values;
}

std::map<std::string, std::pair<double, double>> read_range(YamlMap& map) {
  std::map<std::string, std::pair<double, double>> range;
  std::optional<YamlMap> inner = map.map_if("range");
  if (!inner) return range;
  for (const std::string_view extent : kGroupedGemmForm.extents) {
    const std::vector<std::int64_t> ends =
        inner->counts_or_empty(extent, {0, std::int64_t{1} << 40});
    if (ends.empty()) continue;
    if (ends.size() != 2 || ends[0] > ends[1]) {
      inner->mistake(extent, "a range is [least, most]");
      continue;
    }
    range[std::string(extent)] = {static_cast<double>(ends[0]), static_cast<double>(ends[1])};
  }
  inner->finish();
  return range;
}

std::vector<std::pair<std::int64_t, std::int64_t>> read_shapes(YamlMap& map) {
  std::vector<std::pair<std::int64_t, std::int64_t>> shapes;
  for (const YamlNode& node : map.list_or_empty("corrections")) {
    const std::vector<YamlNode> ends = node.is_list() ? node.items() : std::vector<YamlNode>{};
    std::vector<double> numbers;
    for (const YamlNode& end : ends) {
      if (const auto value = end.is_scalar() ? parse_number(end.text()) : std::nullopt) {
        numbers.push_back(*value);
      }
    }
    if (numbers.size() != 2) {
      map.mistake("corrections", "a shape is [hidden, inter]");
      continue;
    }
    shapes.emplace_back(static_cast<std::int64_t>(numbers[0]),
                        static_cast<std::int64_t>(numbers[1]));
  }
  return shapes;
}

ExpertKernelSpec read_kernel(const YamlNode& node, const std::vector<std::string>& free,
                             Mistakes& mistakes) {
  YamlMap map(node, "a kernel to fit", mistakes);
  ExpertKernelSpec kernel;
  kernel.source = map.text("source");
  kernel.measured_as = map.text_or("measured_as", kernel.source);
  kernel.also = map.texts_or_empty("also");
  kernel.format_name = map.text("format");
  if (const std::optional<KernelFormat> format = parse_kernel_format(kernel.format_name)) {
    kernel.format = *format;
  } else if (!kernel.format_name.empty()) {
    map.mistake("format", fmt::format("there is no format '{}'", kernel.format_name),
                suggest(kernel.format_name, kernel_format_names()));
  }
  kernel.tables = map.texts_or_empty("tables");
  kernel.free = read_free(map, free);
  kernel.fixed = read_values(map, "fixed");
  kernel.instead = read_values(map, "instead");
  kernel.because = map.text_or("because", "");
  if (!kernel.instead.empty() && kernel.because.empty()) {
    map.mistake("instead", "a value in place of a fitted one needs its reason: `because`");
  }
  kernel.range = read_range(map);
  kernel.covers = map.texts_or_empty("covers");
  kernel.corrections = read_shapes(map);
  kernel.correction_ranks = map.counts_or_empty("correction_ranks", {1, 1 << 16});
  map.finish();
  return kernel;
}

}  // namespace

bool is_expert_spec(const std::string& file) {
  const std::unique_ptr<YamlDocument> document = YamlDocument::load(file);
  Mistakes mistakes;
  YamlMap root(document->root(), "a specification", mistakes);
  return root.has("kernel") && root.text("kernel") == to_text(kGroupedGemmForm.family);
}

ExpertSpec load_expert_spec(const std::string& file) {
  const std::unique_ptr<YamlDocument> document = YamlDocument::load(file);
  Mistakes mistakes;
  YamlMap root(document->root(), "a specification", mistakes);
  ExpertSpec spec;
  spec.name = std::filesystem::path(file).stem().string();
  root.text("kernel");
  spec.device = root.text("device");
  spec.cite = root.text("cite");
  const std::vector<std::string> free = read_free(root, {});
  for (const YamlNode& node : root.list_or_empty("kernels")) {
    spec.kernels.push_back(read_kernel(node, free, mistakes));
  }
  root.finish();
  mistakes.throw_if_any();
  return spec;
}

}  // namespace sim
