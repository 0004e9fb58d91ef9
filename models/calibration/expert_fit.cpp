#include "models/calibration/expert_fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "sim/core/error.h"
#include "sim/input/fitting/least_squares.h"

namespace sim {
namespace {

constexpr std::size_t kScreened = 400;  // rows that choose among tile rules
constexpr std::size_t kFinalists = 2;

struct Moving {
  std::vector<FittedValue> free;
  std::vector<std::size_t> place;
};

Moving moving_of(const ExpertFitQuestion& question) {
  Moving moving;
  for (std::size_t p = 0; p < kGroupedGemmForm.parameters.size(); ++p) {
    const FormParameter& parameter = kGroupedGemmForm.parameters[p];
    if (std::find(question.free.begin(), question.free.end(), parameter.key) ==
        question.free.end()) {
      continue;
    }
    const double start = question.from_values ? question.values[p] : parameter.start;
    moving.free.push_back(
        {std::clamp(start, parameter.least, parameter.most), parameter.least, parameter.most});
    moving.place.push_back(p);
  }
  return moving;
}

ExpertFit fit_with(const ExpertFitQuestion& question, const TileRule& rule,
                   std::span<const CountedKernel* const> rows, int starts) {
  const Moving moving = moving_of(question);
  ExpertFit fit;
  fit.values = question.values;
  set_tile_rule(rule, fit.values);
  std::vector<double> measured;
  std::vector<std::vector<TiledDraw>> draws;
  for (const CountedKernel* row : rows) {
    measured.push_back(row->row->time_s);
    draws.push_back(tiled(*row, rule, true));
  }
  const auto predict = [&](std::span<const double> values, std::span<double> predicted) {
    for (std::size_t v = 0; v < values.size(); ++v) fit.values[moving.place[v]] = values[v];
    for (std::size_t i = 0; i < rows.size(); ++i) {
      // A logarithm for the relative error: twice and half are as far off.
      const double seconds = seconds_of(*rows[i]->row, draws[i], question.rates, fit.values);
      predicted[i] = measured[i] * (1 + std::log(seconds / measured[i]));
    }
  };
  const Minimum minimum = least_relative_squares(moving.free, measured, predict, starts);
  for (std::size_t v = 0; v < moving.place.size(); ++v) {
    fit.values[moving.place[v]] = rounded_value(minimum.values[v]);
  }
  fit.loss = minimum.loss;
  return fit;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

std::vector<TileRule> known_tile_rules() {
  std::vector<TileRule> rules = {{TileRule::kTwoSizes, 0, 4, 6},
                                 {TileRule::kSixteenth, 0, 4, 7},
                                 {TileRule::kSixteenth, 0, 3, 6},
                                 {TileRule::kTwoSizes, 0, 4, 7}};
  for (const int shift : {0, 1, 2}) {
    for (const int least : {3, 4, 6}) {
      for (const int most : {6, 7, 8}) rules.push_back({TileRule::kMeanRows, shift, least, most});
    }
  }
  return rules;
}

ExpertFit fit_experts(const ExpertFitQuestion& question) {
  if (question.rows.size() <= question.free.size()) {
    throw Error(fmt::format("{} rows are too few to fit {} constants", question.rows.size(),
                            question.free.size()));
  }
  std::vector<const CountedKernel*> all;
  for (const CountedKernel& row : question.rows) all.push_back(&row);
  std::vector<TileRule> rules = question.tile_rules;
  if (rules.empty()) rules.push_back(tile_rule_of(question.values));
  if (rules.size() > kFinalists) {
    std::vector<const CountedKernel*> few;
    const std::size_t step = std::max<std::size_t>(1, all.size() / kScreened);
    for (std::size_t i = 0; i < all.size(); i += step) few.push_back(all[i]);
    std::vector<std::pair<double, std::size_t>> losses;
    for (std::size_t r = 0; r < rules.size(); ++r) {
      losses.emplace_back(fit_with(question, rules[r], few, 1).loss, r);
    }
    std::sort(losses.begin(), losses.end());
    std::vector<TileRule> best;
    for (std::size_t i = 0; i < kFinalists; ++i) best.push_back(rules[losses[i].second]);
    rules = best;
  }
  ExpertFit best;
  for (const TileRule& rule : rules) {
    ExpertFit fit = fit_with(question, rule, all, question.starts);
    if (best.values.empty() || fit.loss < best.loss) best = std::move(fit);
  }
  return best;
}

std::vector<double> predict_experts(std::span<const CountedKernel> rows, const DeviceRates& rates,
                                    std::span<const double> values) {
  const TileRule rule = tile_rule_of(values);
  std::vector<double> predicted;
  for (const CountedKernel& row : rows) {
    predicted.push_back(seconds_of(*row.row, tiled(row, rule, false), rates, values));
  }
  return predicted;
}

std::vector<std::size_t> outliers(std::span<const MeasuredKernel* const> rows,
                                  const DeviceRates& rates, std::span<const double> values) {
  std::map<std::string, std::vector<std::pair<std::int64_t, std::size_t>>> series;
  std::vector<double> residual(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const MeasuredKernel& row = *rows[i];
    MeasuredKernel balanced = row;
    balanced.routing.exponent = 0;
    balanced.draws.clear();
    const std::vector<CountedKernel> one = {count_kernel(row.routing.tokens > 0 ? balanced : row)};
    residual[i] = std::log(row.time_s / predict_experts(one, rates, values).front());
    series[launch_shape(row) + row.distribution].emplace_back(row.routing.tokens, i);
  }
  std::vector<double> away(rows.size(), 0);
  std::vector<double> sizes;
  for (auto& [name, points] : series) {
    std::sort(points.begin(), points.end());
    for (std::size_t p = 0; p < points.size(); ++p) {
      std::vector<double> near;
      for (std::size_t q = p < 2 ? 0 : p - 2; q < std::min(points.size(), p + 3); ++q) {
        if (q != p) near.push_back(residual[points[q].second]);
      }
      if (near.size() < 3) continue;
      away[points[p].second] = std::abs(residual[points[p].second] - median(near));
      sizes.push_back(away[points[p].second]);
    }
  }
  const double limit = std::max(std::log(1.3), 6 * 1.4826 * median(sizes));
  std::vector<std::size_t> result;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (away[i] > limit) result.push_back(i);
  }
  return result;
}

}  // namespace sim
