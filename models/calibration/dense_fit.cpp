#include "models/calibration/dense_fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "models/costs/calibrated_costs.h"
#include "sim/core/error.h"
#include "sim/input/fitting/least_squares.h"
#include "sim/input/fitting/row_ids.h"

namespace sim {
namespace {

constexpr int kFolds = 5;
constexpr std::size_t kMostIds = 8;  // longer lists are named by their table

using Rows = std::vector<const MeasuredKernel*>;

std::size_t place_of(const CostForm& form, const std::string& key) {
  for (std::size_t i = 0; i < form.parameters.size(); ++i) {
    if (form.parameters[i].key == key) return i;
  }
  SIM_CHECK(false, "a specification names parameters of its form");
}

DeviceRates rates_of(const DenseKernelSpec& kernel, const Device& device) {
  return rates_for(device, kernel.format.multiplied, device.sms);
}

// At most `most` rows, chosen by their ids.
Rows thinned(const Rows& rows, std::size_t most) {
  if (rows.size() <= most) return rows;
  const double share = static_cast<double>(most) / static_cast<double>(rows.size());
  Rows result;
  for (const MeasuredKernel* row : rows) {
    if (lot(row->id) < share) result.push_back(row);
  }
  return result;
}

std::vector<double> fit_values(const DenseSpec& spec, const DenseKernelSpec& kernel,
                               const Rows& rows, const DeviceRates& rates) {
  if (rows.size() <= kernel.free.size()) {
    throw Error(fmt::format("{}: {} rows are left to fit {} constants of {} {}", spec.name,
                            rows.size(), kernel.free.size(), to_text(kernel.family), kernel.source),
                "look at `rows` and `tables` of the specification");
  }
  std::vector<double> values;
  for (const FormParameter& parameter : kernel.form->parameters) values.push_back(parameter.absent);
  for (const auto& [key, value] : kernel.fixed) values[place_of(*kernel.form, key)] = value;
  std::vector<FittedValue> free;
  std::vector<std::size_t> place;
  for (const std::string& key : kernel.free) {
    place.push_back(place_of(*kernel.form, key));
    const FormParameter& parameter = kernel.form->parameters[place.back()];
    free.push_back({parameter.start, parameter.least, parameter.most});
  }
  std::vector<double> measured;
  for (const MeasuredKernel* row : rows) measured.push_back(row->time_s);
  const auto predict = [&](std::span<const double> tried, std::span<double> predicted) {
    for (std::size_t i = 0; i < place.size(); ++i) values[place[i]] = tried[i];
    for (std::size_t i = 0; i < rows.size(); ++i) {
      predicted[i] = kernel.form->time({.op = &rows[i]->op}, rates, values).time;
    }
  };
  const Minimum minimum = least_relative_squares(free, measured, predict);
  for (std::size_t i = 0; i < place.size(); ++i) {
    values[place[i]] = rounded_value(minimum.values[i]);
  }
  return values;
}

std::vector<PredictionError> errors_of(const DenseKernelSpec& kernel, const Rows& rows,
                                       const DeviceRates& rates, std::span<const double> values) {
  std::vector<PredictionError> errors;
  for (const MeasuredKernel* row : rows) {
    const double time = kernel.form->time({.op = &row->op}, rates, values).time;
    errors.push_back({row->id, time / row->time_s - 1});
  }
  return errors;
}

// Each fold is predicted by constants that were fitted to the others.
ErrorSummary held_out_errors(const DenseSpec& spec, const DenseKernelSpec& kernel, const Rows& rows,
                             const DeviceRates& rates, const DenseEffort& effort) {
  if (kernel.held_out.empty() || !effort.held_out) return {};
  std::map<std::vector<double>, Rows> groups;
  for (const MeasuredKernel* row : rows) {
    std::vector<double> key;
    for (const std::string& column : kernel.held_out) key.push_back(column_of(*row, column));
    groups[key].push_back(row);
  }
  std::vector<PredictionError> errors;
  for (int fold = 0; fold < kFolds; ++fold) {
    Rows inside, outside;
    int number = 0;
    for (const auto& [key, members] : groups) {
      Rows& side = number++ % kFolds == fold ? inside : outside;
      side.insert(side.end(), members.begin(), members.end());
    }
    outside = thinned(outside, effort.fold_rows);
    if (inside.empty() || outside.size() <= kernel.free.size()) continue;
    const std::vector<double> values = fit_values(spec, kernel, outside, rates);
    const std::vector<PredictionError> more = errors_of(kernel, inside, rates, values);
    errors.insert(errors.end(), more.begin(), more.end());
  }
  return summarise_errors(errors);
}

// Least and most of each extent over the rows, or what the specification says.
std::vector<std::pair<double, double>> range_of(const DenseKernelSpec& kernel, const Rows& rows) {
  const CostForm& form = *kernel.form;
  std::vector<std::pair<double, double>> range(form.extents.size(), {1e300, 0});
  std::vector<double> extents(form.extents.size());
  for (const MeasuredKernel* row : rows) {
    form.extents_of({.op = &row->op}, extents);
    for (std::size_t i = 0; i < extents.size(); ++i) {
      range[i] = {std::min(range[i].first, extents[i]), std::max(range[i].second, extents[i])};
    }
  }
  for (std::size_t i = 0; i < range.size(); ++i) {
    const auto given = kernel.range.find(std::string(form.extents[i]));
    if (given != kernel.range.end()) range[i] = given->second;
  }
  return range;
}

}  // namespace

std::vector<const MeasuredKernel*> rows_about(const DenseKernelSpec& kernel,
                                              std::span<const MeasuredKernel> rows) {
  const auto among = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  Rows about;
  for (const MeasuredKernel& row : rows) {
    if (row.family == kernel.family && row.source == kernel.source && row.format == kernel.format &&
        among(kernel.tables, row.table) &&
        (kernel.operators.empty() || among(kernel.operators, row.op.name)) &&
        kernel.rows.passes(row)) {
      about.push_back(&row);
    }
  }
  return about;
}

DenseCalibration calibrate_dense(const DenseSpec& spec, const DenseKernelSpec& kernel,
                                 std::span<const MeasuredKernel> rows, const Device& device,
                                 const DenseEffort& effort) {
  const DeviceRates rates = rates_of(kernel, device);
  DenseCalibration result;
  Rows about;
  for (const MeasuredKernel* row : rows_about(kernel, rows)) {
    if (row->implausible) {
      ++result.implausible;
    } else {
      about.push_back(row);
    }
  }
  const Rows used = thinned(about, effort.rows);
  KernelConstants& constants = result.constants;
  constants.family = kernel.family;
  constants.source = kernel.source;
  constants.also = kernel.also;
  constants.format = kernel.format;
  constants.operators = kernel.operators;
  constants.form = kernel.form;
  constants.values = fit_values(spec, kernel, used, rates);
  constants.range = range_of(kernel, about);
  // Rows of another machine tell about this one only as far as the two are alike.
  const bool own = std::all_of(about.begin(), about.end(), [&](const MeasuredKernel* row) {
    return row->device == spec.device;
  });
  constants.label = own ? CostLabel::kFitted : CostLabel::kAssumed;

  const std::vector<PredictionError> all = errors_of(kernel, about, rates, constants.values);
  std::vector<PredictionError> seen, others;
  std::size_t next = 0;
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < about.size(); ++i) {
    const bool was_used = next < used.size() && used[next] == about[i];
    (was_used ? seen : others).push_back(all[i]);
    if (!was_used) continue;
    ids.push_back(about[i]->id);
    ++next;
  }
  result.fitted = summarise_errors(seen);
  result.others = summarise_errors(others);
  result.held_out = held_out_errors(spec, kernel, about, rates, effort);

  constants.fitted_to = compact_ids(ids);
  if (constants.fitted_to.size() > kMostIds || constants.fitted_to[0].size() > 200) {
    constants.fitted_to = kernel.tables;
  }
  constants.provenance = fmt::format(
      "fit {} of {}: error median {:.1f} %, 90th percentile {:.1f} % of {} rows", spec.name,
      spec.cite, 100 * result.fitted.median, 100 * result.fitted.p90, result.fitted.rows);
  if (result.held_out.rows > 0) {
    constants.provenance +=
        fmt::format("; {:.1f} % and {:.1f} % with other {} held out", 100 * result.held_out.median,
                    100 * result.held_out.p90, fmt::join(kernel.held_out, ", "));
  }
  if (!kernel.because.empty()) constants.provenance += "; " + kernel.because;
  return result;
}

std::vector<PredictionError> dense_errors(const KernelConstants& constants, const Device& device,
                                          std::span<const MeasuredKernel* const> rows,
                                          double host_s) {
  const DeviceRates rates = rates_for(device, constants.format.multiplied, device.sms);
  std::vector<PredictionError> errors;
  for (const MeasuredKernel* row : rows) {
    const double time = evaluate(constants, {.op = &row->op}, rates).parts.time;
    errors.push_back({row->id, std::max(host_s, time) / row->time_s - 1});
  }
  return errors;
}

}  // namespace sim
