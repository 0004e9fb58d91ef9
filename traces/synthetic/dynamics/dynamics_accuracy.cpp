#include "traces/synthetic/dynamics/dynamics_accuracy.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "sim/core/error.h"
#include "traces/synthetic/dynamics/dynamics_fit.h"

namespace sim {
namespace {

TrainingCurve mean_curve(std::span<const TrainingCurve* const> curves) {
  TrainingCurve mean;
  mean.imbalance.resize(curves.front()->imbalance.size());
  for (const TrainingCurve* curve : curves) {
    SIM_CHECK(curve->imbalance.size() == mean.imbalance.size(), "runs have as many windows");
    for (std::size_t w = 0; w < mean.imbalance.size(); ++w) {
      mean.imbalance[w] += curve->imbalance[w] / static_cast<double>(curves.size());
    }
  }
  return mean;
}

// "small-k2" of "small-k2-switch0.01-s1".
std::string shape_of(const RecordedRun& run) { return run.name.substr(0, run.name.find("-k") + 3); }

double mean_of(const TrainingCurve& curve) {
  return std::accumulate(curve.imbalance.begin(), curve.imbalance.end(), 0.0) /
         static_cast<double>(curve.imbalance.size());
}

void compare_drops(RunAccuracy& accuracy) {
  for (std::size_t f = 0; f < kCapacityFactors.size(); ++f) {
    const double real = accuracy.recorded->curve.dropped[f];
    const double off = std::abs(accuracy.expected.dropped[f] - real);
    accuracy.dropped_hit[f] = off <= kDroppedTarget * std::max(real, kFewDropped);
  }
}

void add_naive(RunAccuracy& accuracy, std::span<const RecordedRun> runs) {
  const RecordedRun& real = *accuracy.recorded;
  const bool is_switch = real.run.term == DynamicsTerm::kSwitch;
  std::vector<const TrainingCurve*> others;
  std::vector<const TrainingCurve*> fitted;
  std::map<double, std::vector<const TrainingCurve*>> by_coefficient;
  for (const RecordedRun& run : runs) {
    if (run.family() == real.family() && run.name != real.name) others.push_back(&run.curve);
    if (!fitting_run(run)) continue;
    fitted.push_back(&run.curve);
    by_coefficient[run.run.coefficient].push_back(&run.curve);
  }
  if (!others.empty()) accuracy.other_seeds = curve_error(mean_curve(others), real.curve);
  accuracy.mean_of_fitted = curve_error(mean_curve(fitted), real.curve);
  // Nothing of the fitted runs is like the loss-free bias: there the last coefficient is none.
  const auto after = by_coefficient.upper_bound(is_switch ? real.run.coefficient : 0);
  accuracy.last_coefficient = curve_error(mean_curve(std::prev(after)->second), real.curve);
}

void compare_order(std::span<const RunAccuracy> runs, DynamicsAccuracy& accuracy) {
  struct Family {
    double coefficient = 0, recorded = 0, expected = 0;
    int seeds = 0;
    bool fitted = false;
  };
  std::map<std::string, std::map<std::string, Family>> shapes;
  for (const RunAccuracy& run : runs) {
    if (run.recorded->run.term == DynamicsTerm::kBias) continue;
    Family& family = shapes[shape_of(*run.recorded)][run.recorded->family()];
    family.coefficient = run.recorded->run.coefficient;
    family.recorded += mean_of(run.recorded->curve);
    family.expected = mean_of(run.expected);
    ++family.seeds;
    family.fitted = family.fitted || run.fitted;
  }
  for (const auto& [shape, families] : shapes) {
    for (auto a = families.begin(); a != families.end(); ++a) {
      for (auto b = std::next(a); b != families.end(); ++b) {
        const double recorded =
            a->second.recorded / a->second.seeds - b->second.recorded / b->second.seeds;
        OrderAccuracy& order =
            a->second.fitted && b->second.fitted ? accuracy.fitted_order : accuracy.predicted_order;
        ++order.pairs;
        if ((a->second.expected - b->second.expected) * recorded > 0) {
          ++order.right;
        } else {
          order.wrong.push_back(recorded < 0 ? a->first + " < " + b->first
                                             : b->first + " < " + a->first);
        }
      }
    }
  }
}

}  // namespace

double curve_error(const TrainingCurve& a, const TrainingCurve& b) {
  SIM_CHECK(a.imbalance.size() == b.imbalance.size() && !a.imbalance.empty(), "as many windows");
  double sum = 0;
  for (std::size_t w = 0; w < a.imbalance.size(); ++w) {
    sum += std::abs(a.imbalance[w] / b.imbalance[w] - 1);
  }
  return sum / static_cast<double>(a.imbalance.size());
}

DynamicsAccuracy measure_dynamics(const DynamicsConstants& constants,
                                  std::span<const RecordedRun> runs, int seeds) {
  DynamicsAccuracy accuracy;
  for (const RecordedRun& recorded : runs) {
    RunAccuracy& now = accuracy.runs.emplace_back();
    now.recorded = &recorded;
    now.fitted = fitting_run(recorded);
    const auto same = std::find_if(accuracy.runs.begin(), accuracy.runs.end(), [&](const auto& r) {
      return r.recorded->family() == recorded.family();
    });
    if (same->recorded == &recorded) {
      TrainingRun run = recorded.run;
      run.seed = 1;
      now.expected = expected_curve(constants, run, seeds);
    } else {
      now.expected = same->expected;
    }
    now.error = curve_error(now.expected, recorded.curve);
    for (std::size_t w = 0; w < now.expected.imbalance.size(); ++w) {
      now.bias += (now.expected.imbalance[w] / recorded.curve.imbalance[w] - 1) /
                  static_cast<double>(now.expected.imbalance.size());
    }
    compare_drops(now);
    add_naive(now, runs);
  }
  compare_order(accuracy.runs, accuracy);
  return accuracy;
}

}  // namespace sim
