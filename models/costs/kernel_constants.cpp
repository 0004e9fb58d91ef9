#include "models/costs/kernel_constants.h"

#include <algorithm>
#include <cmath>

namespace sim {
namespace {

// Constants come from rounded sizes; a row at the very edge is inside.
constexpr double kSlack = 1e-9;
constexpr std::size_t kMostExtents = 12;

double log_correction(const KernelConstants& constants, const KernelCall& call) {
  if (constants.corrections.empty()) return 0;
  if (call.experts != nullptr && call.experts->pass != KernelPass::kForward) return 0;
  const CorrectionPoint point = constants.form->correction_point(call);
  const auto found = std::lower_bound(
      constants.corrections.begin(), constants.corrections.end(), point.shape,
      [](const Correction& each, const auto& shape) { return each.shape < shape; });
  if (found == constants.corrections.end() || found->shape != point.shape || point.size <= 0) {
    return 0;
  }
  const double at = std::log(point.size);
  const auto above = std::upper_bound(found->log_size.begin(), found->log_size.end(), at);
  if (above == found->log_size.begin()) return found->log_ratio.front();
  if (above == found->log_size.end()) return found->log_ratio.back();
  const auto high = static_cast<std::size_t>(above - found->log_size.begin());
  const double share =
      (at - found->log_size[high - 1]) / (found->log_size[high] - found->log_size[high - 1]);
  return found->log_ratio[high - 1] + share * (found->log_ratio[high] - found->log_ratio[high - 1]);
}

}  // namespace

bool KernelConstants::called(std::string_view name) const {
  return source == name || std::find(also.begin(), also.end(), name) != also.end();
}

double distance_outside(const KernelConstants& constants, const KernelCall& call) {
  if (constants.range.empty()) return 0;
  std::array<double, kMostExtents> extents{};
  constants.form->extents_of(call, std::span(extents).first(constants.form->extents.size()));
  double distance = 0;
  constexpr double kTiny = 1e-12;  // an extent of 0 is far from any other, not infinitely so
  for (std::size_t i = 0; i < constants.range.size(); ++i) {
    const auto [least, most] = constants.range[i];
    const double at = std::max(extents[i], kTiny);
    if (extents[i] < least * (1 - kSlack)) distance += std::log(std::max(least, kTiny) / at);
    if (extents[i] > most * (1 + kSlack)) distance += std::log(at / std::max(most, kTiny));
  }
  return distance;
}

bool in_range(const KernelConstants& constants, const KernelCall& call) {
  return distance_outside(constants, call) == 0;
}

CalibratedParts evaluate(const KernelConstants& constants, const KernelCall& call,
                         const DeviceRates& rates) {
  CalibratedParts result;
  result.parts = constants.form->time(call, rates, constants.values);
  result.in_range = in_range(constants, call);
  if (!result.in_range) return result;
  const double factor = std::exp(log_correction(constants, call));
  result.parts.time *= factor;
  result.parts.fixed *= factor;
  result.parts.compute *= factor;
  result.parts.memory *= factor;
  return result;
}

}  // namespace sim
