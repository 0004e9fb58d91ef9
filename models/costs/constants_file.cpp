#include "models/costs/constants_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/input/fitting/read_parameter.h"
#include "sim/input/quantity.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace {

const std::vector<std::string>& labels() {
  static const std::vector<std::string> list = {"measured", "fitted", "published", "roofline",
                                                "assumed"};
  return list;
}

CostLabel label_of(const std::string& word) {
  for (const CostLabel label : {CostLabel::kMeasured, CostLabel::kFitted, CostLabel::kPublished,
                                CostLabel::kRoofline, CostLabel::kAssumed}) {
    if (to_text(label) == word) return label;
  }
  return CostLabel::kAssumed;  // a word that is none of them is a mistake already
}

std::vector<std::string> form_names() {
  std::vector<std::string> names;
  for (const CostForm* form : cost_forms()) names.emplace_back(form->name);
  return names;
}

double parameter_value(YamlMap& map, const FormParameter& parameter) {
  const std::string key(parameter.key);
  // What every fit moves; the other parameters have a value that switches their term off.
  const bool needed = key == "start" || key == "compute_share" || key == "memory_share";
  if (!map.has(key) && !needed) return parameter.absent;
  // A share of nothing is a kernel that never ends.
  const double value = read_parameter(
      map, parameter, {needed ? parameter.least : 0, std::max(parameter.most, parameter.absent)});
  if (value < 0) map.mistake(key, fmt::format("'{}' cannot be negative", key));
  return value;
}

std::pair<double, double> read_extent(YamlMap& map, std::string_view name) {
  const YamlNode node = map.child(name);
  std::pair<double, double> range{0, 0};
  if (!node.defined()) {
    map.mistake(name, fmt::format("the range of '{}' is missing", name), "[least, most]");
    return range;
  }
  const std::vector<YamlNode> ends = node.is_list() ? node.items() : std::vector<YamlNode>{};
  if (ends.size() != 2 || !ends[0].is_scalar() || !ends[1].is_scalar()) {
    map.mistake(name, "a range is [least, most]");
    return range;
  }
  const std::optional<double> least = parse_number(ends[0].text());
  const std::optional<double> most = parse_number(ends[1].text());
  if (!least || !most || *least < 0 || *least > *most) {
    map.mistake(name, "a range is [least, most], two numbers that rise from 0 on");
    return range;
  }
  return {*least, *most};
}

std::vector<double> numbers(YamlMap& map, std::string_view key) {
  std::vector<double> values;
  for (const YamlNode& node : map.list_or_empty(key)) {
    const std::optional<double> value = node.is_scalar() ? parse_number(node.text()) : std::nullopt;
    if (!value) {
      map.mistake(key, fmt::format("'{}' is a list of numbers", key));
      return {};
    }
    values.push_back(*value);
  }
  return values;
}

Correction read_correction(const YamlNode& node, Mistakes& mistakes) {
  YamlMap map(node, "correction", mistakes);
  Correction correction;
  const std::vector<std::int64_t> shape = map.counts_or_empty("shape", {0, std::int64_t{1} << 40});
  if (shape.empty() || shape.size() > correction.shape.size()) {
    map.mistake("shape", fmt::format("a shape has 1 to {} numbers", correction.shape.size()));
  } else {
    std::copy(shape.begin(), shape.end(), correction.shape.begin());
  }
  const std::vector<double> sizes = numbers(map, "sizes");
  correction.log_ratio = numbers(map, "log_ratios");
  for (const double size : sizes) {
    const double at = std::log(std::max(size, 1e-300));
    if (size <= 0 || (!correction.log_size.empty() && at <= correction.log_size.back())) {
      map.mistake("sizes", "sizes are positive and rise");
      break;
    }
    correction.log_size.push_back(at);
  }
  if (sizes.empty() || correction.log_ratio.size() != sizes.size()) {
    map.mistake("log_ratios", fmt::format("{} sizes need as many log_ratios, here {}", sizes.size(),
                                          correction.log_ratio.size()));
  }
  // A factor of twenty is no correction of a form that fits.
  if (std::any_of(correction.log_ratio.begin(), correction.log_ratio.end(),
                  [](double ratio) { return !(std::abs(ratio) <= 3); })) {
    map.mistake("log_ratios", "a log ratio lies between -3 and 3");
  }
  map.finish();
  return correction;
}

void read_form(YamlMap& map, KernelConstants& constants) {
  const std::string name = map.choice("form", form_names());
  constants.form = find_cost_form(name);
  if (constants.form == nullptr) {
    map.child("constants");
    map.child("range");
    map.child("corrections");
    return;
  }
  const CostForm& form = *constants.form;
  if (form.family != constants.family) {
    map.mistake("form", fmt::format("'{}' is a form of {}, not of {}", form.name,
                                    to_text(form.family), to_text(constants.family)));
  }
  YamlMap values = map.map("constants");
  for (const FormParameter& parameter : form.parameters) {
    constants.values.push_back(parameter_value(values, parameter));
  }
  values.finish();
  if (!map.has("range")) {
    map.mistake("range", "'range' is missing: for which sizes the constants hold");
  } else if (std::optional<YamlMap> range = map.map_if("range")) {
    for (const std::string_view extent : form.extents) {
      constants.range.push_back(read_extent(*range, extent));
    }
    range->finish();
  }
  for (const YamlNode& node : map.list_or_empty("corrections")) {
    if (form.correction_point == nullptr) {
      map.mistake("corrections", fmt::format("the form '{}' has no corrections", form.name));
      break;
    }
    constants.corrections.push_back(read_correction(node, map.mistakes()));
  }
  std::sort(constants.corrections.begin(), constants.corrections.end(),
            [](const Correction& a, const Correction& b) { return a.shape < b.shape; });
}

KernelConstants read_entry(const YamlNode& node, Mistakes& mistakes) {
  YamlMap map(node, "kernel", mistakes);
  KernelConstants constants;
  const std::string family = map.text("kernel");
  if (const std::optional<KernelFamily> known = parse_kernel_family(family)) {
    constants.family = *known;
  } else if (!family.empty()) {
    map.mistake("kernel", fmt::format("there is no kernel '{}'", family),
                suggest(family, kernel_family_names()));
  }
  constants.source = map.text("source");
  constants.also = map.texts_or_empty("also");
  const std::string format = map.text_or("format", "bf16");
  if (const std::optional<KernelFormat> known = parse_kernel_format(format)) {
    constants.format = *known;
  } else {
    map.mistake("format", fmt::format("there is no format '{}'", format),
                suggest(format, kernel_format_names()));
  }
  constants.operators = map.texts_or_empty("operators");
  for (const std::string& name : constants.operators) {
    const std::span<const std::string_view> known = operator_names();
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    map.mistake("operators", fmt::format("no model has an operator '{}'", name),
                suggest(name, std::vector<std::string>(known.begin(), known.end())));
  }
  constants.covers = map.texts_or_empty("covers");
  read_form(map, constants);
  constants.label = label_of(map.choice("label", labels()));
  constants.provenance = map.text("provenance");
  constants.fitted_to = map.texts_or_empty("fitted_to");
  map.finish();
  return constants;
}

BorrowedKernels read_borrowed(const YamlNode& node, Mistakes& mistakes) {
  static const std::vector<std::string> kScales = {"data-sheet", "reachable", "sm-clock"};
  YamlMap map(node, "borrowed", mistakes);
  BorrowedKernels wish;
  wish.place = map.place_of("from");
  wish.from = map.text("from");
  for (const std::string& name : map.texts_or_empty("kernels")) {
    if (const std::optional<KernelFamily> family = parse_kernel_family(name)) {
      wish.families.push_back(*family);
    } else {
      map.mistake("kernels", fmt::format("there is no kernel '{}'", name),
                  suggest(name, kernel_family_names()));
    }
  }
  wish.sources = map.texts_or_empty("sources");
  for (const std::string& name : map.texts_or_empty("formats")) {
    if (const std::optional<KernelFormat> format = parse_kernel_format(name)) {
      wish.formats.push_back(*format);
    } else {
      map.mistake("formats", fmt::format("there is no format '{}'", name),
                  suggest(name, kernel_format_names()));
    }
  }
  const std::string scale = map.choice_or("scale", kScales.front(), kScales);
  wish.scale = scale == "sm-clock"    ? BorrowScale::kSmClock
               : scale == "reachable" ? BorrowScale::kReachable
                                      : BorrowScale::kDataSheet;
  wish.reason = map.text("reason");
  map.finish();
  return wish;
}

ConstantsFile read(YamlDocument& document) {
  Mistakes mistakes;
  YamlMap root(document.root(), "kernel constants", mistakes);
  ConstantsFile file;
  file.device = root.text("device");
  file.device_place = root.place_of("device");
  file.kernels = read_kernel_list(root.list_or_empty("kernels"), mistakes);
  for (const YamlNode& node : root.list_or_empty("borrowed")) {
    file.borrowed.push_back(read_borrowed(node, mistakes));
  }
  root.finish();
  mistakes.throw_if_any();
  return file;
}

std::string list_text(const std::vector<std::string>& words, const char* quote) {
  std::string text = "[";
  for (const std::string& word : words) {
    if (text.size() > 1) text += ", ";
    text += quote + word + quote;
  }
  return text + "]";
}

}  // namespace

std::vector<KernelConstants> read_kernel_list(std::span<const YamlNode> entries,
                                              Mistakes& mistakes) {
  std::vector<KernelConstants> kernels;
  for (const YamlNode& node : entries) kernels.push_back(read_entry(node, mistakes));
  return kernels;
}

ConstantsFile read_constants_file(const std::string& path) {
  return read(*YamlDocument::load(path));
}

ConstantsFile parse_constants(const std::string& text, const std::string& name) {
  return read(*YamlDocument::parse(text, name));
}

std::string to_yaml(const KernelConstants& constants, int indent) {
  const std::string space(static_cast<std::size_t>(indent), ' ');
  const CostForm& form = *constants.form;
  std::string text = fmt::format("{}- kernel: {}\n", space, to_text(constants.family));
  const auto line = [&](const std::string& key, const std::string& value) {
    text += fmt::format("{}  {}: {}\n", space, key, value);
  };
  line("source", constants.source);
  if (!constants.also.empty()) line("also", list_text(constants.also, ""));
  line("format", std::string(to_text(constants.format)));
  if (!constants.operators.empty()) line("operators", list_text(constants.operators, ""));
  line("form", std::string(form.name));
  std::string values;
  for (std::size_t i = 0; i < form.parameters.size(); ++i) {
    if (!values.empty()) values += ", ";
    values += fmt::format("{}: {}", form.parameters[i].key,
                          quantity_text(form.parameters[i], constants.values[i]));
  }
  line("constants", "{" + values + "}");
  if (!constants.range.empty()) {
    std::string range;
    for (std::size_t i = 0; i < form.extents.size(); ++i) {
      if (!range.empty()) range += ", ";
      range += fmt::format("{}: [{:.10g}, {:.10g}]", form.extents[i], constants.range[i].first,
                           constants.range[i].second);
    }
    line("range", "{" + range + "}");
  }
  if (!constants.covers.empty()) line("covers", list_text(constants.covers, ""));
  line("label", std::string(to_text(constants.label)));
  line("provenance", "\"" + constants.provenance + "\"");
  if (!constants.fitted_to.empty()) line("fitted_to", list_text(constants.fitted_to, "\""));
  if (!constants.corrections.empty()) text += space + "  corrections:\n";
  for (const Correction& each : constants.corrections) {
    std::vector<std::string> shape, sizes, ratios;
    for (const std::int64_t number : each.shape) shape.push_back(fmt::format("{}", number));
    for (const double at : each.log_size) sizes.push_back(fmt::format("{:.6g}", std::exp(at)));
    for (const double ratio : each.log_ratio) ratios.push_back(fmt::format("{:.4f}", ratio));
    text += fmt::format("{}  - {{shape: {}, sizes: {},\n{}     log_ratios: {}}}\n", space,
                        list_text(shape, ""), list_text(sizes, ""), space, list_text(ratios, ""));
  }
  return text;
}

}  // namespace sim
