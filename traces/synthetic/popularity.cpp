#include "traces/synthetic/popularity.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/core/error.h"

namespace sim {
namespace {

// Distribution of the number of arrivals, cut at k: entry j is P(j have arrived), j < k.
void add_arrival(std::vector<double>& arrived, double p) {
  for (std::size_t j = arrived.size(); j-- > 0;) {
    arrived[j] = arrived[j] * (1 - p) + (j > 0 ? arrived[j - 1] * p : 0);
  }
}

// For one time t: adds weight * density_e(t) * P(fewer than k others have arrived by t) to out[e].
class RacePoint {
 public:
  RacePoint(std::size_t n, std::size_t k) : k_(k), prefix_((n + 1) * k), suffix_(k) {}

  void add(std::span<const double> rates, double t, double weight, std::vector<double>& out) {
    const std::size_t n = rates.size();
    std::vector<double> arrived(k_, 0.0);
    arrived[0] = 1;
    for (std::size_t e = 0; e < n; ++e) {
      std::copy(arrived.begin(), arrived.end(), prefix_.begin() + static_cast<long>(e * k_));
      add_arrival(arrived, -std::expm1(-rates[e] * t));
    }
    std::fill(suffix_.begin(), suffix_.end(), 0.0);
    suffix_[0] = 1;
    for (std::size_t e = n; e-- > 0;) {
      double fewer = 0;  // sum over a + b < k of prefix[a] * suffix[b]
      double below = 0;
      for (std::size_t a = k_; a-- > 0;) {
        below += suffix_[k_ - 1 - a];
        fewer += prefix_[e * k_ + a] * below;
      }
      out[e] += weight * rates[e] * std::exp(-rates[e] * t) * fewer;
      add_arrival(suffix_, -std::expm1(-rates[e] * t));
    }
  }

 private:
  std::size_t k_;
  std::vector<double> prefix_;
  std::vector<double> suffix_;
};

// Scales to the sum k without passing 1.
void scale_to(std::vector<double>& inclusion, int k) {
  std::vector<bool> full(inclusion.size(), false);
  for (bool again = true; again;) {
    again = false;
    double open = 0;
    double want = k;
    for (std::size_t e = 0; e < inclusion.size(); ++e) {
      if (full[e]) {
        want -= 1;
      } else {
        open += inclusion[e];
      }
    }
    if (open <= 0) return;
    const double factor = want / open;
    for (std::size_t e = 0; e < inclusion.size(); ++e) {
      if (full[e]) continue;
      inclusion[e] *= factor;
      if (inclusion[e] >= 1) {
        inclusion[e] = 1;
        full[e] = true;
        again = true;
      }
    }
  }
}

}  // namespace

std::vector<double> zipf_weights(int n, double exponent) {
  std::vector<double> weights(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) {
    weights[static_cast<std::size_t>(i)] = std::pow(static_cast<double>(i + 1), -exponent);
  }
  return weights;
}

std::vector<double> inclusion_probabilities(std::span<const double> weights, int k) {
  SIM_CHECK(k > 0 && static_cast<std::size_t>(k) <= weights.size(), "k of the experts are drawn");
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<double> rates(weights.begin(), weights.end());
  for (double& rate : rates) rate /= sum;
  std::vector<double> inclusion(rates.size(), 0.0);
  if (static_cast<std::size_t>(k) == rates.size()) {
    std::fill(inclusion.begin(), inclusion.end(), 1.0);
    return inclusion;
  }
  // Time runs over many decades: the integral is taken in x = ln t by the trapezoid rule, which
  // converges exponentially for an integrand that vanishes at both ends. Before `low` nobody has
  // arrived (P < 1e-9); after `high` more than k of the slowest have.
  const double slowest = *std::min_element(rates.begin(), rates.end());
  const double low = std::log(1e-10);
  const double high = std::log(60.0 / slowest);
  // The winners' cut-off sharpens as 1/sqrt(k); 0.125 is fine enough for k = 8.
  const double step = 0.125 / std::sqrt(std::max(1.0, k / 8.0));
  RacePoint point(rates.size(), static_cast<std::size_t>(k));
  for (double x = low; x <= high; x += step) {
    const double t = std::exp(x);
    point.add(rates, t, t * step, inclusion);
  }
  scale_to(inclusion, k);
  return inclusion;
}

std::vector<double> inclusion_from_counts(std::span<const std::int64_t> counts, int k) {
  std::vector<double> inclusion;
  int positive = 0;
  for (const std::int64_t c : counts) {
    inclusion.push_back(static_cast<double>(c));
    positive += c > 0 ? 1 : 0;
  }
  if (positive < k) return {};
  scale_to(inclusion, k);
  return inclusion;
}

}  // namespace sim
