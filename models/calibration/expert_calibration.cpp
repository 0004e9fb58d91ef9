#include "models/calibration/expert_calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "models/costs/calibrated_costs.h"
#include "models/costs/constants_file.h"
#include "sim/core/error.h"
#include "sim/input/fitting/row_ids.h"

namespace sim {
namespace {

constexpr std::size_t kCorrectionStep = 4;
constexpr int kFolds = 5;

std::vector<CountedKernel> counted(std::span<const MeasuredKernel* const> rows) {
  std::vector<CountedKernel> result;
  for (const MeasuredKernel* row : rows) result.push_back(count_kernel(*row));
  return result;
}

// Every (rows fitted, rows tested) pair of a split; tested rows are gathered over its fits.
struct Part {
  std::vector<CountedKernel> fitted;
  std::vector<CountedKernel> tested;
};

template <class Tested, class Fitted>
Part part_of(std::span<const CountedKernel> rows, Fitted fitted, Tested tested) {
  Part part;
  for (const CountedKernel& row : rows) {
    if (fitted(*row.row)) part.fitted.push_back(row);
    if (tested(*row.row)) part.tested.push_back(row);
  }
  return part;
}

// Each part is fitted anew from the kept values on, and the pooled errors of its tested rows
// reported. The tile rule stays: it is the kernel's own, not a shape's.
void add_split(ExpertCalibration& result, const ExpertFitQuestion& question, std::string name,
               const std::vector<Part>& parts) {
  std::vector<CountedKernel> rows;
  std::vector<double> predicted;
  for (const Part& part : parts) {
    if (part.fitted.size() < 4 * question.free.size() || part.tested.empty()) continue;
    ExpertFitQuestion anew = question;
    anew.rows = part.fitted;
    anew.starts = 1;
    anew.tile_rules.clear();
    anew.values = result.fitted;
    anew.from_values = true;
    const ExpertFit fit = fit_experts(anew);
    const std::vector<double> more = predict_experts(part.tested, question.rates, fit.values);
    rows.insert(rows.end(), part.tested.begin(), part.tested.end());
    predicted.insert(predicted.end(), more.begin(), more.end());
  }
  if (!rows.empty()) result.splits.push_back({std::move(name), errors_of(rows, predicted)});
}

void add_splits(ExpertCalibration& result, const ExpertFitQuestion& question) {
  const auto lot = [](const MeasuredKernel& row) { return lot_of(row.id, "split"); };
  add_split(result, question, "random 30 %",
            {part_of(
                question.rows, [&](const MeasuredKernel& row) { return lot(row) >= 0.3; },
                [&](const MeasuredKernel& row) { return lot(row) < 0.3; })});
  std::set<std::string> names;
  for (const CountedKernel& row : question.rows) names.insert(model_shape(*row.row));
  const std::vector<std::string> shapes(names.begin(), names.end());
  if (shapes.size() >= 3) {
    std::vector<Part> folds;
    const int count = std::min<int>(kFolds, static_cast<int>(shapes.size()));
    for (int fold = 0; fold < count; ++fold) {
      const auto out = [&](const MeasuredKernel& row) {
        const auto at = std::lower_bound(shapes.begin(), shapes.end(), model_shape(row));
        return (at - shapes.begin()) % count == fold;
      };
      folds.push_back(part_of(
          question.rows, [&](const MeasuredKernel& row) { return !out(row); }, out));
    }
    add_split(result, question, "shapes", folds);
  }
  const auto exponent = [](const MeasuredKernel& row) { return row.routing.exponent; };
  add_split(result, question, "skew 1.2",
            {part_of(
                question.rows, [&](const MeasuredKernel& row) { return exponent(row) < 1.1; },
                [&](const MeasuredKernel& row) { return exponent(row) > 1.1; })});
  add_split(result, question, "any skew",
            {part_of(
                question.rows, [&](const MeasuredKernel& row) { return exponent(row) == 0; },
                [&](const MeasuredKernel& row) { return exponent(row) > 0; })});
}

// Rows of other kernels, implausible ones and outliers stand between: what was fitted is every
// step-th row of the table that is none of these.
std::vector<std::string> every_step(const Thinned& taken) {
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < taken.rows.size();) {
    const MeasuredKernel& first = *taken.rows[i];
    std::int64_t last = first.number;
    for (; i < taken.rows.size() && taken.rows[i]->table == first.table; ++i) {
      last = taken.rows[i]->number;
    }
    ids.push_back(fmt::format("{}-{}", first.id, last));
    if (taken.step > 1) ids.back() += fmt::format("/{}", taken.step);
  }
  return ids;
}

bool of_the_catalog(const ExpertKernelSpec& kernel, const MeasuredKernel& row) {
  return std::find(kernel.corrections.begin(), kernel.corrections.end(),
                   std::pair(row.experts.hidden, row.experts.inter)) != kernel.corrections.end() &&
         std::find(kernel.correction_ranks.begin(), kernel.correction_ranks.end(),
                   row.routing.ranks) != kernel.correction_ranks.end();
}

std::vector<std::pair<double, double>> range_of(const ExpertKernelSpec& kernel,
                                                std::span<const CountedKernel> counted) {
  std::vector<std::pair<double, double>> range;
  const auto add = [&](double value, std::size_t extent) {
    auto& [least, most] = range[extent];
    least = std::min(least, value);
    most = std::max(most, value);
  };
  range.assign(kGroupedGemmForm.extents.size(), {1e300, 0});
  for (const CountedKernel& row : counted) {
    add(static_cast<double>(row.row->experts.hidden), 0);
    add(static_cast<double>(row.row->experts.inter), 1);
    for (const CountedDraw& draw : row.draws) {
      add(static_cast<double>(draw.local), 2);
      add(draw.rows, 3);
      add(static_cast<double>(draw.most), 4);
    }
  }
  for (std::size_t i = 0; i < range.size(); ++i) {
    const auto given = kernel.range.find(std::string(kGroupedGemmForm.extents[i]));
    if (given != kernel.range.end()) range[i] = given->second;
  }
  return range;
}

}  // namespace

ErrorSummary errors_of(std::span<const CountedKernel> rows, std::span<const double> predicted) {
  std::vector<PredictionError> errors;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    errors.push_back({rows[i].row->id, predicted[i] / rows[i].row->time_s - 1});
  }
  return summarise_errors(errors);
}

std::string to_text(const ExpertCalibration& result) {
  std::string text = fmt::format(
      "# {} {}: {} rows, {} more implausible, {} outliers; fitted {} rows, {:.1f} / {:.0f}",
      result.constants.source, to_text(result.constants.format), result.rows, result.implausible,
      result.outliers, result.used, 100 * result.kept.median, 100 * result.kept.p90);
  for (const ExpertSplit& split : result.splits) {
    text += fmt::format("\n#   held out, {}: {:.1f} / {:.0f} of {} rows", split.name,
                        100 * split.tested.median, 100 * split.tested.p90, split.tested.rows);
  }
  return text + "\n" + to_yaml(result.constants, 2);
}

std::vector<MeasuredKernel> rows_of_tables(const ExpertSpec& spec, const std::string& data_folder) {
  std::vector<MeasuredKernel> rows;
  std::set<std::string> read;
  for (const ExpertKernelSpec& kernel : spec.kernels) {
    for (const std::string& table : kernel.tables) {
      if (!read.insert(table).second) continue;
      std::vector<MeasuredKernel> more = read_kernels(table, data_folder);
      rows.insert(rows.end(), std::make_move_iterator(more.begin()),
                  std::make_move_iterator(more.end()));
    }
  }
  return rows;
}

std::vector<const MeasuredKernel*> rows_about(const ExpertKernelSpec& kernel,
                                              const std::vector<MeasuredKernel>& rows) {
  std::vector<const MeasuredKernel*> about;
  for (const MeasuredKernel& row : rows) {
    const bool of_table =
        std::find(kernel.tables.begin(), kernel.tables.end(), row.table) != kernel.tables.end();
    if (of_table && !row.implausible && row.source == kernel.measured_as &&
        row.format == kernel.format) {
      about.push_back(&row);
    }
  }
  return about;
}

ExpertFitQuestion question_of(const ExpertKernelSpec& kernel, std::span<const CountedKernel> rows,
                              const DeviceRates& rates) {
  ExpertFitQuestion question;
  question.rows = rows;
  question.rates = rates;
  question.tile_rules = known_tile_rules();
  for (const FormParameter& parameter : kGroupedGemmForm.parameters) {
    const auto fixed = kernel.fixed.find(std::string(parameter.key));
    question.values.push_back(fixed == kernel.fixed.end() ? parameter.absent : fixed->second);
  }
  bool remote = false;
  bool misaligned = false;
  for (const CountedKernel& row : rows) {
    remote |= row.row->experts.tokens > 0 && row.row->routing.ranks > 1;
    misaligned |= row.row->experts.inter % 16 != 0;
  }
  for (const std::string& key : kernel.free) {
    if ((key == "remote" && !remote) || (key == "misaligned" && !misaligned)) continue;
    question.free.push_back(key);
  }
  return question;
}

std::vector<Correction> corrections_of(std::span<const MeasuredKernel* const> rows,
                                       const DeviceRates& rates, std::span<const double> values,
                                       std::size_t step,
                                       bool (*wanted)(const ExpertKernelSpec&,
                                                      const MeasuredKernel&),
                                       const ExpertKernelSpec& kernel) {
  // Repeated rows of one size are averaged.
  std::map<std::array<std::int64_t, CorrectionPoint::kShape>,
           std::map<double, std::pair<double, int>>>
      tables;
  for (const MeasuredKernel* row : rows) {
    if (row->routing.exponent != 0 || row->routing.tokens == 0 || !wanted(kernel, *row)) continue;
    const std::vector<CountedKernel> one = {count_kernel(*row)};
    const double seconds = predict_experts(one, rates, values).front();
    const std::vector<std::vector<std::int64_t>> draws = draw_rows(row->routing);
    const ExpertFfn call = call_of(*row, draws.front());
    const CorrectionPoint point = kGroupedGemmForm.correction_point({.experts = &call});
    auto& [sum, count] = tables[point.shape][point.size];
    sum += std::log(row->time_s / seconds);
    ++count;
  }
  std::vector<Correction> corrections;
  for (const auto& [shape, sizes] : tables) {
    Correction correction;
    correction.shape = shape;
    std::size_t number = 0;
    for (const auto& [size, entry] : sizes) {
      const bool last = ++number == sizes.size();
      if ((number - 1) % step != 0 && !last) continue;
      correction.log_size.push_back(std::log(size));
      correction.log_ratio.push_back(std::clamp(entry.first / entry.second, -2.9, 2.9));
    }
    corrections.push_back(std::move(correction));
  }
  return corrections;
}

ExpertCalibration calibrate_experts(const ExpertSpec& spec, const ExpertKernelSpec& kernel,
                                    const std::vector<MeasuredKernel>& rows, const Device& device,
                                    const ExpertEffort& effort) {
  ExpertCalibration result;
  std::vector<const MeasuredKernel*> about = rows_about(kernel, rows);
  if (about.empty()) {
    throw Error(fmt::format("{}: no plausible row of {} in {}", spec.name, kernel.source,
                            kernel.format_name));
  }
  result.rows = static_cast<std::int64_t>(about.size());
  for (const MeasuredKernel& row : rows) {
    result.implausible +=
        row.implausible && row.source == kernel.source && row.format == kernel.format;
  }
  const DeviceRates rates = rates_for(device, kernel.format.multiplied, device.sms);
  Thinned taken = thinned(about, effort.rows);
  std::vector<CountedKernel> use = counted(taken.rows);
  ExpertFitQuestion question = question_of(kernel, use, rates);
  question.starts = effort.starts;
  ExpertFit fit = fit_experts(question);
  std::vector<const MeasuredKernel*> sound = about;
  if (effort.outliers) {
    std::set<const MeasuredKernel*> far;
    for (const std::size_t i : outliers(about, rates, fit.values)) far.insert(about[i]);
    result.outliers = static_cast<std::int64_t>(far.size());
    if (!far.empty()) {
      std::erase_if(sound, [&](const MeasuredKernel* row) { return far.contains(row); });
      taken = thinned(sound, effort.rows);
      use = counted(taken.rows);
      question.rows = use;
      fit = fit_experts(question);
    }
  }
  result.used = use.size();
  result.fitted = fit.values;
  result.kept = errors_of(use, predict_experts(use, rates, fit.values));
  if (effort.splits) add_splits(result, question);

  KernelConstants& constants = result.constants;
  constants.family = KernelFamily::kExpertFfn;
  constants.source = kernel.source;
  constants.also = kernel.also;
  constants.format = kernel.format;
  constants.form = &kGroupedGemmForm;
  constants.values = fit.values;
  for (std::size_t p = 0; p < constants.values.size(); ++p) {
    const auto instead = kernel.instead.find(std::string(kGroupedGemmForm.parameters[p].key));
    if (instead != kernel.instead.end()) constants.values[p] = instead->second;
  }
  constants.range = range_of(kernel, use);
  constants.covers = kernel.covers;
  constants.corrections =
      corrections_of(sound, rates, constants.values, kCorrectionStep, of_the_catalog, kernel);
  constants.label = CostLabel::kFitted;
  constants.provenance = fmt::format(
      "fit {} of {}: error {:.1f} % in the median, {:.0f} % at the 90th percentile of {} rows",
      spec.name, spec.cite, 100 * result.kept.median, 100 * result.kept.p90, result.kept.rows);
  if (!kernel.because.empty()) constants.provenance += "; " + kernel.because;
  constants.fitted_to = every_step(taken);
  return result;
}

}  // namespace sim
