#include "sim/app/accuracy_experts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "models/calibration/expert_calibration.h"
#include "models/costs/calibrated_costs.h"
#include "sim/app/accuracy_experts_skew.h"
#include "sim/app/device_choice.h"
#include "sim/app/expert_subject.h"
#include "sim/core/error.h"
#include "sim/input/fitting/row_ids.h"

namespace sim {
namespace {

constexpr std::size_t kMostLaunches = 10;  // whose tables of corrections are tried

const KernelConstants* committed(const Device& device, const ExpertKernelSpec& spec) {
  for (const KernelConstants& each : device.kernels) {
    if (each.family == KernelFamily::kExpertFfn && each.source == spec.source &&
        each.format == spec.format && each.called(spec.measured_as)) {
      return &each;
    }
  }
  return nullptr;
}

// What a specification put in place of fitted values is measured as it was: fitted anew alone.
std::vector<double> values_as_measured(const ExpertSubject& subject,
                                       std::span<const CountedKernel> rows) {
  if (subject.spec->instead.empty()) return subject.constants.values;
  ExpertFitQuestion question;
  question.rows = rows;
  question.rates = subject.rates;
  question.values = subject.constants.values;
  question.from_values = true;
  question.starts = 1;
  for (const auto& [key, value] : subject.spec->instead) question.free.push_back(key);
  return fit_experts(question).values;
}

using Choice = std::function<bool(const MeasuredKernel&)>;

// Fits to the rows that pass `fitted`, from the committed values on, and tests on those of
// `tested`.
void refit(const ExpertSubject& subject, std::span<const CountedKernel> rows, const Choice& fitted,
           const Choice& tested, ErrorPool& pool) {
  std::vector<CountedKernel> seen, unseen;
  for (const CountedKernel& row : rows) {
    if (fitted(*row.row)) seen.push_back(row);
    if (tested(*row.row)) unseen.push_back(row);
  }
  ExpertFitQuestion question = question_of(*subject.spec, rows, subject.rates);
  question.rows = seen;
  question.values = subject.values;
  question.tile_rules.clear();
  question.from_values = true;
  question.starts = 1;
  if (seen.size() < 4 * question.free.size() || unseen.empty()) return;
  const ExpertFit fit = fit_experts(question);
  pool.add(unseen, predict_experts(unseen, subject.rates, fit.values));
}

struct Splits {
  ErrorPool random, shapes, skew, any_skew;
};

Splits split_errors(const ExpertSubject& subject, std::span<const CountedKernel> rows) {
  Splits splits;
  const auto lot = [](const MeasuredKernel& row) { return lot_of(row.id, "split"); };
  refit(
      subject, rows, [&](const MeasuredKernel& row) { return lot(row) >= 0.3; },
      [&](const MeasuredKernel& row) { return lot(row) < 0.3; }, splits.random);
  std::set<std::string> names;
  for (const CountedKernel& row : rows) names.insert(model_shape(*row.row));
  const std::vector<std::string> shapes(names.begin(), names.end());
  const auto folds = static_cast<std::ptrdiff_t>(std::min<std::size_t>(5, shapes.size()));
  for (std::ptrdiff_t fold = 0; folds >= 3 && fold < folds; ++fold) {
    const auto out = [&](const MeasuredKernel& row) {
      const auto at = std::lower_bound(shapes.begin(), shapes.end(), model_shape(row));
      return (at - shapes.begin()) % folds == fold;
    };
    refit(
        subject, rows, [&](const MeasuredKernel& row) { return !out(row); }, out, splits.shapes);
  }
  const auto law = [](const MeasuredKernel& row) { return row.routing.exponent; };
  refit(
      subject, rows, [&](const MeasuredKernel& row) { return law(row) < 1.1; },
      [&](const MeasuredKernel& row) { return law(row) > 1.1; }, splits.skew);
  refit(
      subject, rows, [&](const MeasuredKernel& row) { return law(row) == 0; },
      [&](const MeasuredKernel& row) { return law(row) > 0; }, splits.any_skew);
  return splits;
}

double corrected(const KernelConstants& constants, const MeasuredKernel& row,
                 const DeviceRates& rates) {
  const std::vector<std::vector<std::int64_t>> draws =
      row.draws.empty() ? draw_rows(row.routing) : row.draws;
  double seconds = 0;
  for (const std::vector<std::int64_t>& draw : draws) {
    const ExpertFfn call = call_of(row, draw);
    seconds += evaluate(constants, {.experts = &call}, rates).parts.time;
  }
  return seconds / static_cast<double>(draws.size());
}

// Corrections from every other token count of a launch's balanced rows, tried on the others and on
// the launch's power laws.
void table_errors(const ExpertSubject& subject, ErrorPool& balanced, ErrorPool& skewed) {
  std::map<std::string, KernelRows> launches;
  for (const MeasuredKernel* row : subject.rows) {
    if (row->routing.tokens > 0) launches[launch_shape(*row)].push_back(row);
  }
  std::vector<std::pair<double, const KernelRows*>> order;
  for (const auto& [name, rows] : launches) order.emplace_back(lot_of(name, "launch"), &rows);
  std::sort(order.begin(), order.end());
  if (order.size() > kMostLaunches) order.resize(kMostLaunches);
  for (const auto& [lot, rows] : order) {
    std::set<std::int64_t> sizes;
    for (const MeasuredKernel* row : *rows) {
      if (row->routing.exponent == 0) sizes.insert(row->routing.tokens);
    }
    if (sizes.size() < 6) continue;
    std::set<std::int64_t> knots;
    std::size_t number = 0;
    for (const std::int64_t size : sizes) {
      if (number++ % 2 == 0 || number == sizes.size()) knots.insert(size);
    }
    KernelRows known;
    for (const MeasuredKernel* row : *rows) {
      if (row->routing.exponent == 0 && knots.contains(row->routing.tokens)) known.push_back(row);
    }
    KernelConstants constants = subject.constants;
    constants.values = subject.values;
    constants.range.clear();
    constants.corrections = corrections_of(
        known, subject.rates, constants.values, 1,
        [](const ExpertKernelSpec&, const MeasuredKernel&) { return true; }, *subject.spec);
    for (const MeasuredKernel* row : *rows) {
      const bool even = row->routing.exponent == 0;
      if (even && knots.contains(row->routing.tokens)) continue;
      if (!even && row->number % 3 != 0) continue;  // draws are dear: a third of them
      (even ? balanced : skewed).add(*row, corrected(constants, *row, subject.rates));
    }
  }
}

ExpertKernelAccuracy accuracy_of(ExpertSubject& subject, Splits& pools, ErrorPool& others,
                                 ErrorPool& table, ErrorPool& table_skew) {
  ExpertKernelAccuracy result;
  result.device = subject.device;
  result.kernel = subject.spec->measured_as;
  result.format = subject.spec->format_name;
  result.framework = subject.rows.front()->framework;
  result.rows = static_cast<std::int64_t>(subject.rows.size());
  result.implausible = subject.implausible;
  KernelRows fitted, other;
  for (const MeasuredKernel* row : subject.rows) {
    (holds_id(subject.constants.fitted_to, row->id) ? fitted : other).push_back(row);
  }
  const std::vector<CountedKernel> seen = counted(fitted, kMostErrorRows);
  const std::vector<CountedKernel> unseen = counted(other, kMostErrorRows);
  subject.values = values_as_measured(subject, seen);
  const ErrorPool unseen_pool = pool_of(unseen, subject.rates, subject.values);
  result.fitted = pool_of(seen, subject.rates, subject.values).summary();
  result.other = unseen_pool.summary();
  others.add(unseen_pool);
  const auto sized = [&](std::int64_t least, std::int64_t most) {
    std::vector<CountedKernel> rows;
    for (const CountedKernel& row : unseen.empty() ? seen : unseen) {
      std::int64_t tokens = row.row->routing.tokens;
      if (tokens == 0) tokens = row.draws.front().tokens;
      if (tokens >= least && tokens <= most) rows.push_back(row);
    }
    return pool_of(rows, subject.rates, subject.values).summary();
  };
  result.small = sized(0, 256);
  result.middle = sized(257, 1023);
  result.large = sized(1024, std::int64_t{1} << 40);
  const Splits splits = split_errors(subject, unseen.empty() ? seen : unseen);
  result.random = splits.random.summary();
  result.shapes = splits.shapes.summary();
  result.skew = splits.skew.summary();
  result.any_skew = splits.any_skew.summary();
  pools.random.add(splits.random);
  pools.shapes.add(splits.shapes);
  pools.skew.add(splits.skew);
  pools.any_skew.add(splits.any_skew);
  ErrorPool balanced, skewed;
  table_errors(subject, balanced, skewed);
  result.in_table = balanced.summary();
  result.in_table_skew = skewed.summary();
  table.add(balanced);
  table_skew.add(skewed);
  return result;
}

}  // namespace

ErrorPool pool_of(std::span<const CountedKernel> rows, const DeviceRates& rates,
                  std::span<const double> values) {
  ErrorPool pool;
  pool.add(rows, predict_experts(rows, rates, values));
  return pool;
}

std::vector<CountedKernel> counted(const KernelRows& rows, std::size_t most) {
  std::vector<CountedKernel> result;
  const std::size_t step = (rows.size() + most - 1) / std::max<std::size_t>(most, 1);
  for (std::size_t i = 0; i < rows.size(); i += std::max<std::size_t>(step, 1)) {
    result.push_back(count_kernel(*rows[i]));
  }
  return result;
}

ExpertAccuracy measure_expert_accuracy(const Catalog& catalog, const std::string& data_folder,
                                       const std::string& only) {
  ExpertAccuracy result;
  Splits pools;
  ErrorPool others, table, table_skew;
  std::map<std::string, ExpertSubject> subjects;
  std::map<std::string, Device> devices;
  std::vector<std::unique_ptr<ExpertSpec>> specs;
  std::vector<std::unique_ptr<std::vector<MeasuredKernel>>> tables;
  for (const char* name : {"a100-experts", "b200-experts", "h100-experts", "h800-experts"}) {
    specs.push_back(std::make_unique<ExpertSpec>(load_expert_spec(
        fmt::format("{}/models/calibration/specs/{}.yaml", catalog.root(), name))));
    const ExpertSpec& spec = *specs.back();
    const auto wanted = [&](const ExpertKernelSpec& kernel) {
      return fmt::format("{} {} {}", spec.device, kernel.measured_as, kernel.format_name);
    };
    ExpertSpec part = spec;
    std::erase_if(part.kernels, [&](const ExpertKernelSpec& kernel) {
      return wanted(kernel).find(only) == std::string::npos;
    });
    devices.emplace(spec.device, load_device(catalog, spec.device));
    if (part.kernels.empty()) continue;
    tables.push_back(
        std::make_unique<std::vector<MeasuredKernel>>(rows_of_tables(part, data_folder)));
    const Device& device = devices.at(spec.device);
    for (const ExpertKernelSpec& kernel : spec.kernels) {
      if (wanted(kernel).find(only) == std::string::npos) continue;
      ExpertSubject subject;
      subject.spec = &kernel;
      subject.device = spec.device;
      subject.rows = rows_about(kernel, *tables.back());
      for (const MeasuredKernel& row : *tables.back()) {
        subject.implausible +=
            row.implausible && row.source == kernel.measured_as && row.format == kernel.format;
      }
      const KernelConstants* constants = committed(device, kernel);
      if (constants == nullptr) {
        throw Error(fmt::format("no constants of {} are committed", wanted(kernel)),
                    fmt::format("simulate calibrate fit {} prints them", spec.name));
      }
      subject.constants = *constants;
      subject.rates = rates_for(device, kernel.format.multiplied, device.sms);
      result.kernels.push_back(accuracy_of(subject, pools, others, table, table_skew));
      subjects.emplace(wanted(kernel), std::move(subject));
    }
  }
  result.other = others.summary();
  result.random = pools.random.summary();
  result.shapes = pools.shapes.summary();
  result.skew = pools.skew.summary();
  result.any_skew = pools.any_skew.summary();
  result.in_table = table.summary();
  result.in_table_skew = table_skew.summary();
  add_transfers(subjects, devices, data_folder, result);
  add_frameworks(subjects, result);
  for (const auto& [name, subject] : subjects) {
    add_skews(subject.rows, subject.rates, subject.values, result.skews);
  }
  return result;
}

}  // namespace sim
