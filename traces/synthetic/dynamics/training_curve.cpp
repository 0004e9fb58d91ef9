#include "traces/synthetic/dynamics/training_curve.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "traces/synthetic/dynamics/router_training.h"

namespace sim {

void CurveRecorder::add(std::span<const double> counts) {
  const double sum = std::accumulate(counts.begin(), counts.end(), 0.0);
  const double mean = sum / static_cast<double>(counts.size());
  if (sum <= 0) return;
  step_ += *std::max_element(counts.begin(), counts.end()) / mean;
  ++layers_;
  choices_ += sum;
  for (std::size_t f = 0; f < kCapacityFactors.size(); ++f) {
    const double capacity = std::ceil(kCapacityFactors[f] * mean);
    for (const double count : counts) dropped_[f] += std::max(0.0, count - capacity);
  }
}

void CurveRecorder::add_switch_value(double value) {
  switch_sum_ += value;
  ++switch_values_;
}

void CurveRecorder::end_step() {
  if (layers_ > 0) window_ += step_ / layers_;
  step_ = 0;
  layers_ = 0;
  if (++steps_ % kWindowSteps != 0) return;
  imbalance_.push_back(window_ / kWindowSteps);
  window_ = 0;
  if (switch_values_ > 0) switch_value_.push_back(switch_sum_ / switch_values_);
  switch_sum_ = 0;
  switch_values_ = 0;
}

TrainingCurve CurveRecorder::curve() const {
  TrainingCurve curve;
  curve.imbalance = imbalance_;
  curve.switch_value = switch_value_;
  for (std::size_t f = 0; f < dropped_.size(); ++f) {
    curve.dropped[f] = choices_ > 0 ? dropped_[f] / choices_ : 0;
  }
  return curve;
}

TrainingCurve expected_curve(const DynamicsConstants& constants, TrainingRun run, int seeds) {
  TrainingCurve mean;
  for (int s = 0; s < seeds; ++s, ++run.seed) {
    RouterTraining training(constants, run);
    CurveRecorder recorder;
    for (int step = 0; step < run.steps; ++step) {
      if (step > 0) training.advance();
      for (int layer = 0; layer < run.layers; ++layer) {
        recorder.add(training.counts(layer));
        recorder.add_switch_value(training.switch_value(layer));
      }
      recorder.end_step();
    }
    const TrainingCurve curve = recorder.curve();
    mean.imbalance.resize(curve.imbalance.size());
    mean.switch_value.resize(curve.switch_value.size());
    for (std::size_t w = 0; w < curve.imbalance.size(); ++w) {
      mean.imbalance[w] += curve.imbalance[w] / seeds;
      mean.switch_value[w] += curve.switch_value[w] / seeds;
    }
    for (std::size_t f = 0; f < curve.dropped.size(); ++f) {
      mean.dropped[f] += curve.dropped[f] / seeds;
    }
  }
  return mean;
}

}  // namespace sim
