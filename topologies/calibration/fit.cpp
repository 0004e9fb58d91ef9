#include "topologies/calibration/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "sim/core/error.h"
#include "sim/input/fitting/least_squares.h"

namespace sim {
namespace {

struct Problem {
  const CalibrationSpec& spec;
  const CalibrationFit& fit;
  const MachineRates& rates;
  std::span<const MeasuredRow> rows;
};

double predicted_seconds(const Problem& problem, const std::vector<FittedSet>& sets,
                         const MeasuredRow& row) {
  const double per_rank = static_cast<double>(row.bytes.count()) / row.ranks;
  const FittedSet* used = &sets.front();
  for (const FittedSet& set : sets) {
    if (per_rank >= set.from_bytes_per_rank) used = &set;
  }
  return problem.spec.form->seconds(row, problem.rates, used->values);
}

// The constants that fit the rows `use` best; the loss is the sum over them.
FittedSet fit_one_set(const Problem& problem, const std::vector<std::size_t>& use, double& loss) {
  const FitForm& form = *problem.spec.form;
  FittedSet set;
  std::vector<FittedValue> free;
  std::vector<std::size_t> place;
  for (std::size_t p = 0; p < form.parameters.size(); ++p) {
    const FormParameter& parameter = form.parameters[p];
    const std::string key(parameter.key);
    const auto fixed = problem.fit.fixed.find(key);
    set.values.push_back(fixed == problem.fit.fixed.end() ? parameter.absent : fixed->second);
    if (std::find(problem.fit.free.begin(), problem.fit.free.end(), key) !=
        problem.fit.free.end()) {
      free.push_back({parameter.start, parameter.least, parameter.most});
      place.push_back(p);
    }
  }
  std::vector<double> measured;
  for (const std::size_t i : use) measured.push_back(problem.rows[i].time_s);
  const auto predict = [&](std::span<const double> values, std::span<double> predicted) {
    for (std::size_t v = 0; v < values.size(); ++v) set.values[place[v]] = values[v];
    for (std::size_t i = 0; i < use.size(); ++i) {
      predicted[i] = form.seconds(problem.rows[use[i]], problem.rates, set.values);
    }
  };
  const Minimum minimum = least_relative_squares(free, measured, predict);
  for (std::size_t v = 0; v < place.size(); ++v) {
    set.values[place[v]] = rounded_value(minimum.values[v]);
  }
  loss = minimum.loss * static_cast<double>(use.size());
  return set;
}

// One set, or two with the size between them that loses least. The sizes tried are powers of two
// over sqrt(2): halfway between the sizes that tables have.
std::vector<FittedSet> fit_sets(const Problem& problem, const std::vector<std::size_t>& use) {
  double loss = 0;
  if (!problem.fit.protocol_switch) return {fit_one_set(problem, use, loss)};
  std::vector<FittedSet> best;
  double least = 0;
  for (int power = 14; power <= 28; ++power) {
    const double from = std::exp2(power - 0.5);
    std::vector<std::size_t> below, above;
    for (const std::size_t i : use) {
      const MeasuredRow& row = problem.rows[i];
      (static_cast<double>(row.bytes.count()) / row.ranks < from ? below : above).push_back(i);
    }
    if (below.size() < 2 * problem.fit.free.size() || above.size() < 2 * problem.fit.free.size()) {
      continue;
    }
    double loss_above = 0;
    FittedSet small = fit_one_set(problem, below, loss);
    FittedSet large = fit_one_set(problem, above, loss_above);
    if (best.empty() || loss + loss_above < least) {
      least = loss + loss_above;
      large.from_bytes_per_rank = std::round(from / 1024) * 1024;
      best = {std::move(small), std::move(large)};
    }
  }
  if (best.empty()) return {fit_one_set(problem, use, loss)};
  return best;
}

// A copy of the rows about this entry, under the algorithm of the entry: NCCL's own choice is
// fitted as what it chose.
std::vector<MeasuredRow> rows_about(const CalibrationFit& fit, std::span<const MeasuredRow> rows) {
  const std::vector<bool> about = fit.rows.select(rows);
  std::vector<MeasuredRow> result;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!about[i] || rows[i].implausible) continue;
    result.push_back(rows[i]);
    const std::string algorithm = fit.value_of("algorithm");
    if (!algorithm.empty()) result.back().algorithm = algorithm;
  }
  return result;
}

struct SplitFit {
  std::vector<FittedSet> sets;
  std::vector<std::string> ids;
  SplitErrors errors;
};

SplitFit fit_split(const Problem& problem, const std::string& name, const RowFilter& filter) {
  const std::vector<bool> fitted = filter.select(problem.rows);
  std::vector<std::size_t> use;
  SplitFit result;
  for (std::size_t i = 0; i < problem.rows.size(); ++i) {
    if (!fitted[i]) continue;
    use.push_back(i);
    result.ids.push_back(problem.rows[i].id);
  }
  if (use.size() < problem.fit.free.size()) {
    throw Error(fmt::format("{}: {} rows are left to fit {} constants of {} {}", problem.spec.name,
                            use.size(), problem.fit.free.size(), problem.fit.value_of("algorithm"),
                            problem.fit.value_of("operation")),
                "look at `rows` and `fitted` of the specification");
  }
  result.sets = fit_sets(problem, use);
  std::vector<double> predicted;
  std::vector<bool> tested, decode, prefill;
  for (std::size_t i = 0; i < problem.rows.size(); ++i) {
    predicted.push_back(predicted_seconds(problem, result.sets, problem.rows[i]));
    tested.push_back(!fitted[i]);
    decode.push_back(!fitted[i] && decode_like(problem.rows[i]));
    prefill.push_back(!fitted[i] && !decode_like(problem.rows[i]));
  }
  result.errors = {name, summarise_errors(problem.rows, predicted, fitted),
                   summarise_errors(problem.rows, predicted, tested),
                   summarise_errors(problem.rows, predicted, decode),
                   summarise_errors(problem.rows, predicted, prefill)};
  return result;
}

// An entry of the catalog's `communication` holds both directions: the first brings the entry, the
// second is added to it.
std::string entry_of_direction(const CalibrationFit& fit, const std::string& direction,
                               const std::string& space) {
  std::string text;
  if (direction == "dispatch") {
    std::string lead = space + "- ";
    for (const auto& [key, value] : fit.entry) {
      if (key == "direction") continue;
      text += fmt::format("{}{}: {}\n", lead, key, value);
      lead = space + "  ";
    }
  }
  return text + fmt::format("{}  {}: {{", space, direction);
}

}  // namespace

FitResult run_fit(const CalibrationSpec& spec, const CalibrationFit& fit,
                  std::span<const MeasuredRow> rows, const MachineRates& rates) {
  const std::vector<MeasuredRow> about = rows_about(fit, rows);
  const Problem problem{spec, fit, rates, about};
  FitResult result;
  result.fit = &fit;
  SplitFit kept = fit_split(problem, "kept", fit.fitted);
  result.sets = std::move(kept.sets);
  result.fitted_to = compact_ids(kept.ids);
  result.kept = std::move(kept.errors);
  for (const CalibrationSplit& split : fit.splits) {
    result.splits.push_back(fit_split(problem, split.name, split.fitted).errors);
  }
  return result;
}

std::string to_catalog_yaml(const CalibrationSpec& spec, const FitResult& result, int indent) {
  const std::string space(static_cast<std::size_t>(indent), ' ');
  std::string text;
  const std::string direction = result.fit->value_of("direction");
  for (const FittedSet& set : result.sets) {
    if (direction.empty()) {
      text += space + "- {";
      for (const auto& [key, value] : result.fit->entry) {
        text += fmt::format("{}: {}, ", key, value);
      }
    } else {
      text += entry_of_direction(*result.fit, direction, space);
    }
    if (set.from_bytes_per_rank > 0) {
      text += fmt::format("from_bytes_per_rank: {:.0f} KiB, ", set.from_bytes_per_rank / 1024);
    }
    if (direction.empty()) {
      text.back() = '\n';
      text += space + "  ";
    }
    for (std::size_t p = 0; p < set.values.size(); ++p) {
      const FormParameter& parameter = spec.form->parameters[p];
      const std::string key(parameter.key);
      const bool free = std::find(result.fit->free.begin(), result.fit->free.end(), key) !=
                        result.fit->free.end();
      if (!free && !result.fit->fixed.contains(key)) continue;
      text += fmt::format("{}: {}, ", key, quantity_text(parameter, set.values[p]));
    }
    const ErrorSummary& fitted = result.kept.fitted;
    const ErrorSummary& tested = result.kept.tested;
    const std::string inner = space + (direction.empty() ? "  " : "    ");
    text += "label: fitted,\n" + inner + "source: \"";
    text += fmt::format("fit {} of {}: mean error {:.1f} % of {} rows", spec.name, spec.source,
                        100 * fitted.mean, fitted.rows);
    if (tested.rows > 0) {
      text += fmt::format(", {:.1f} % of {} rows it did not see", 100 * tested.mean, tested.rows);
    }
    text += "\",\n" + inner + "fitted_to: [";
    for (std::size_t i = 0; i < result.fitted_to.size(); ++i) {
      text += (i > 0 ? ", \"" : "\"") + result.fitted_to[i] + "\"";
    }
    text += "]}\n";
  }
  return text;
}

}  // namespace sim
