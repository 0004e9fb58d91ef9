#include "topologies/calibration/calibration_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "sim/input/fitting/read_parameter.h"
#include "sim/input/quantity.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace {

std::vector<std::string> parameter_names(const FitForm& form) {
  std::vector<std::string> names;
  for (const FormParameter& parameter : form.parameters) names.emplace_back(parameter.key);
  return names;
}

const FormParameter* parameter_named(const FitForm& form, std::string_view key) {
  for (const FormParameter& parameter : form.parameters) {
    if (parameter.key == key) return &parameter;
  }
  return nullptr;
}

// What may stand at the top as a default and in a fit instead of it.
void read_choices(YamlMap& map, const FitForm& form, CalibrationFit& fit) {
  Mistakes& mistakes = map.mistakes();
  if (map.has("fitted")) fit.fitted = RowFilter(map.child("fitted"), mistakes);
  if (map.has("splits")) {
    fit.splits.clear();
    for (const YamlNode& item : map.list_or_empty("splits")) {
      YamlMap split(item, "a split", mistakes);
      fit.splits.push_back({split.text("name"), RowFilter(split.child("fitted"), mistakes)});
      split.finish();
    }
  }
  if (map.has("free")) {
    fit.free = map.texts_or_empty("free");
    for (const std::string& key : fit.free) {
      if (parameter_named(form, key) == nullptr) {
        map.mistake("free", fmt::format("the form '{}' has no parameter '{}'", form.name, key),
                    suggest(key, parameter_names(form)));
      }
    }
  }
  if (std::optional<YamlMap> fixed = map.map_if("fixed")) {
    fit.fixed.clear();
    for (const FormParameter& parameter : form.parameters) {
      if (fixed->has(parameter.key)) {
        fit.fixed[std::string(parameter.key)] =
            read_parameter(*fixed, parameter, {0, parameter.most});
      }
    }
    fixed->finish();
  }
  fit.protocol_switch = map.flag_or("protocol_switch", fit.protocol_switch);
}

CalibrationFit read_fit(YamlNode item, const FitForm& form, const CalibrationFit& defaults,
                        Mistakes& mistakes) {
  CalibrationFit fit = defaults;
  YamlMap map(item, "a fit", mistakes);
  YamlMap entry = map.map("entry");
  if (entry.node().is_map()) {
    for (const auto& [key, value] : entry.node().entries()) {
      if (value.is_scalar()) fit.entry.emplace_back(key, value.text());
    }
  }
  if (map.has("rows")) fit.rows = RowFilter(map.child("rows"), mistakes);
  read_choices(map, form, fit);
  for (const std::string& key : fit.free) fit.fixed.erase(key);
  if (fit.free.empty()) map.mistake("free", "nothing is free in this fit");
  map.finish();
  return fit;
}

}  // namespace

std::string CalibrationFit::value_of(const std::string& key) const {
  const auto found =
      std::find_if(entry.begin(), entry.end(), [&](const auto& pair) { return pair.first == key; });
  return found == entry.end() ? std::string() : found->second;
}

CalibrationSpec load_calibration_spec(const std::string& file) {
  const std::unique_ptr<YamlDocument> document = YamlDocument::load(file);
  Mistakes mistakes;
  YamlMap root(document->root(), "this specification", mistakes);
  CalibrationSpec spec;
  spec.name = std::filesystem::path(file).stem().string();
  spec.cluster = root.text("cluster");
  spec.source = root.text("source");
  spec.tables = root.texts_or_empty("tables");
  if (spec.tables.empty()) root.mistake("tables", "no table is named in 'tables'");
  std::vector<std::string> forms;
  for (const FitForm& form : fit_forms()) forms.emplace_back(form.name);
  spec.form = find_fit_form(root.choice("form", forms));
  if (spec.form != nullptr) {
    CalibrationFit defaults;
    read_choices(root, *spec.form, defaults);
    for (const YamlNode& item : root.list_or_empty("fits")) {
      spec.fits.push_back(read_fit(item, *spec.form, defaults, mistakes));
    }
    if (spec.fits.empty()) root.mistake("fits", "there is nothing to fit in 'fits'");
    root.finish();
  }
  mistakes.throw_if_any();
  return spec;
}

}  // namespace sim
