#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/microbench/case_list.h"
#include "sim/core/error.h"
#include "sim/core/random.h"

namespace sim::microbench {

namespace {

std::vector<double> shares(Skew skew, std::int64_t experts, std::int64_t top_k) {
  std::vector<double> share(static_cast<std::size_t>(experts), 1.0);
  switch (skew) {
    case Skew::kUniform:
      break;
    case Skew::kZipf:
      for (std::size_t i = 0; i < share.size(); ++i) {
        share[i] = std::pow(static_cast<double>(i + 1), -0.8);
      }
      break;
    case Skew::kOneHot:
      share[0] = 1e9;  // more than the cap lets it have, so it gets the cap
      break;
    case Skew::kEmpty:
      if (top_k <= experts / 2) {
        std::fill(share.begin() + static_cast<std::ptrdiff_t>(experts / 2), share.end(), 0.0);
      }
      break;
  }
  return share;
}

}  // namespace

// Experts in falling order of share: each takes its part of what is left, at most a row per token
// and at least what the ones after it cannot hold.
std::vector<std::int64_t> rows_per_expert(Skew skew, std::int64_t tokens, std::int64_t top_k,
                                          std::int64_t experts) {
  SIM_CHECK(top_k >= 1 && top_k <= experts && tokens >= 0, "tokens choose distinct experts");
  const std::vector<double> share = shares(skew, experts, top_k);
  double share_left = std::accumulate(share.begin(), share.end(), 0.0);
  std::int64_t rows_left = tokens * top_k;
  auto experts_left =
      std::count_if(share.begin(), share.end(), [](double value) { return value > 0; });
  std::vector<std::int64_t> rows(share.size(), 0);
  for (std::size_t e = 0; e < share.size() && experts_left > 0; ++e) {
    --experts_left;
    const double part = static_cast<double>(rows_left) * share[e] / share_left;
    const std::int64_t others_hold = experts_left * tokens;
    rows[e] = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::ceil(part - 1e-9)),
                                       std::max<std::int64_t>(0, rows_left - others_hold),
                                       std::min(tokens, rows_left));
    rows_left -= rows[e];
    share_left -= share[e];
  }
  RandomStream random(2026, "microbench/hot experts");
  random.shuffle(rows);
  return rows;
}

}  // namespace sim::microbench
