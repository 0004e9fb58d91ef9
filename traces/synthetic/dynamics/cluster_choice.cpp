#include "traces/synthetic/dynamics/cluster_choice.h"

#include <algorithm>
#include <cmath>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr double kLeastWeight = 1e-250;  // of the greatest: nothing underflows to 0

// P(second is e) summed over the first j: w_j / S * w_e / (S - w_j). What is left without the
// greatest is added up by itself, because the difference of S and the greatest loses digits.
void choose_two(std::span<double> weights, std::size_t greatest) {
  double rest = 0;
  for (std::size_t e = 0; e < weights.size(); ++e) rest += e == greatest ? 0 : weights[e];
  const double sum = rest + weights[greatest];
  const auto odds = [&](std::size_t e) {
    return weights[e] / (e == greatest ? rest : sum - weights[e]);
  };
  double all = 0;
  for (std::size_t e = 0; e < weights.size(); ++e) all += e == greatest ? 0 : odds(e);
  const double top = odds(greatest);
  for (std::size_t e = 0; e < weights.size(); ++e) {
    if (e == greatest) continue;
    weights[e] *= (1 + top + all - odds(e)) / sum;
  }
  weights[greatest] *= (1 + all) / sum;
}

void choose_many(std::span<double> weights, int k) {
  // log t between the bounds where 0 and all are expected, by Newton steps kept between them.
  double low = std::log(static_cast<double>(k) / static_cast<double>(weights.size())) - 1;
  double high = 600;
  double at = std::max(low, 0.0);
  for (int i = 0; i < 200; ++i) {
    double expected = 0;
    double slope = 0;
    const double time = std::exp(at);
    for (const double w : weights) {
      const double left = std::exp(-time * w);
      expected += 1 - left;
      slope += time * w * left;
    }
    const double off = expected - k;
    if (std::abs(off) < 1e-10) break;
    (off > 0 ? high : low) = at;
    const double newton = slope > 0 ? at - off / slope : low;
    at = newton > low && newton < high ? newton : 0.5 * (low + high);
  }
  double sum = 0;
  const double time = std::exp(at);
  for (double& w : weights) sum += w = -std::expm1(-time * w);
  for (double& w : weights) w = std::min(1.0, w * k / sum);
}

}  // namespace

void cluster_choice(std::span<const double> scores, double noise, int k, std::span<double> chosen) {
  const std::size_t n = scores.size();
  SIM_CHECK(noise > 0 && k > 0 && static_cast<std::size_t>(k) <= n, "k of the experts, with noise");
  const std::size_t greatest =
      static_cast<std::size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  double sum = 0;
  for (std::size_t e = 0; e < n; ++e) {
    chosen[e] = std::max(std::exp((scores[e] - scores[greatest]) / noise), kLeastWeight);
    sum += chosen[e];
  }
  if (static_cast<std::size_t>(k) == n) {
    std::fill(chosen.begin(), chosen.end(), 1.0);
  } else if (k == 1) {
    for (double& w : chosen) w /= sum;
  } else if (k == 2) {
    choose_two(chosen, greatest);
  } else {
    choose_many(chosen, k);
  }
}

}  // namespace sim
