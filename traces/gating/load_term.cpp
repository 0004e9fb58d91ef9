#include "traces/gating/load_term.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <numeric>

namespace sim {
namespace {

// P(expert e is among the k best of token t when its noise is drawn anew): the normal distribution
// function of (logit - threshold) / deviation; the threshold is the k-th greatest logit of the
// others.
class PassProbability {
 public:
  explicit PassProbability(const BalanceInput& in)
      : in_(in),
        deviation_(in.noise_deviation > 0 ? in.noise_deviation : 1.0 / in.experts),
        order_(static_cast<std::size_t>(in.columns())) {}

  // Calls visit(expert, expert whose logit is the threshold, distance in deviations).
  template <class Visit>
  void row(std::int64_t token, Visit visit) {
    const auto width = order_.size();
    const auto k = static_cast<std::size_t>(std::llround(in_.top_k));
    if (k >= width) return;  // everyone passes
    const auto logits = in_.logits.subspan(static_cast<std::size_t>(token) * width, width);
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::partial_sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(k) + 1,
                      order_.end(), [&](std::size_t a, std::size_t b) {
                        return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
                      });
    for (std::size_t place = 0; place < width; ++place) {
      const std::size_t e = order_[place];
      const std::size_t threshold = order_[place < k ? k : k - 1];
      visit(e, threshold, (logits[e] - logits[threshold]) / deviation_);
    }
  }
  double deviation() const { return deviation_; }

  std::vector<double> loads() {
    std::vector<double> load(order_.size(), in_.top_k >= static_cast<double>(order_.size())
                                                ? static_cast<double>(in_.tokens)
                                                : 0.0);
    for (std::int64_t t = 0; t < in_.tokens; ++t) {
      row(t, [&](std::size_t e, std::size_t, double distance) {
        load[e] += 0.5 * std::erfc(-distance / std::numbers::sqrt2);
      });
    }
    return load;
  }

 private:
  const BalanceInput& in_;
  double deviation_;
  std::vector<std::size_t> order_;
};

}  // namespace

std::vector<double> squared_cv_slopes(std::span<const double> x) {
  const double sum = std::accumulate(x.begin(), x.end(), 0.0);
  std::vector<double> slopes(x.size(), 0.0);
  if (sum == 0) return slopes;
  const double n = static_cast<double>(x.size());
  const double squares = std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
  for (std::size_t e = 0; e < x.size(); ++e)
    slopes[e] = 2 * n * (x[e] / (sum * sum) - squares / (sum * sum * sum));
  return slopes;
}

double load_value(const BalanceInput& in) { return squared_cv(PassProbability(in).loads()); }

void load_force(const BalanceInput& in, double coefficient, std::span<double> out) {
  PassProbability pass(in);
  const std::vector<double> slopes = squared_cv_slopes(pass.loads());
  const auto width = static_cast<std::size_t>(in.columns());
  for (std::int64_t t = 0; t < in.tokens; ++t) {
    const auto row = out.subspan(static_cast<std::size_t>(t) * width, width);
    pass.row(t, [&](std::size_t e, std::size_t threshold, double distance) {
      const double density =
          std::exp(-distance * distance / 2) / std::sqrt(2 * std::numbers::pi) / pass.deviation();
      row[e] += coefficient * slopes[e] * density;
      row[threshold] -= coefficient * slopes[e] * density;
    });
  }
}

}  // namespace sim
