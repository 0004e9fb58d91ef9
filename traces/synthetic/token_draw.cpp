// Drawing experts: token by token, or how many tokens choose each.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "sim/core/error.h"
#include "traces/synthetic/popularity.h"

namespace sim {
namespace {

constexpr int kMostRejections = 24;  // then the rest is drawn by a scan: same law, bounded time
constexpr int kTokensPerShuffle = 16;
constexpr std::int64_t kFewTokens = 64;  // drawn one by one: the spread of the rest would be coarse

std::int64_t draw_binomial(std::int64_t n, double p, RandomStream& random) {
  const double mean = static_cast<double>(n) * p;
  if (p >= 1) return n;
  if (p <= 0 || n == 0) return 0;
  if (mean >= 16 && static_cast<double>(n) - mean >= 16) {
    const double x = mean + std::sqrt(mean * (1 - p)) * random.normal();
    return std::clamp<std::int64_t>(std::llround(x), 0, n);
  }
  const bool flip = p > 0.5;
  const double q = flip ? 1 - p : p;
  double u = random.uniform();
  double term = std::exp(static_cast<double>(n) * std::log1p(-q));  // mean < 16: no underflow
  std::int64_t drawn = 0;
  while (u >= term && drawn < n) {
    u -= term;
    term *= static_cast<double>(n - drawn) / static_cast<double>(drawn + 1) * (q / (1 - q));
    ++drawn;
    if (term < 1e-300) break;
  }
  return flip ? n - drawn : drawn;
}

}  // namespace

TokenDraw::TokenDraw(std::vector<double> weights, int k, std::optional<GroupLimit> groups)
    : weights_(std::move(weights)),
      table_(weights_),
      k_(k),
      limit_(groups),
      taken_(weights_.size(), 0) {
  SIM_CHECK(k_ > 0 && static_cast<std::size_t>(k_) <= weights_.size(), "k experts are drawn");
  if (!limit_) return;
  const std::size_t size = weights_.size() / static_cast<std::size_t>(limit_->groups);
  for (std::size_t first = 0; first < weights_.size(); first += size) {
    const std::span<const double> part(weights_.data() + first, size);
    groups_.push_back({AliasTable(part), first, std::accumulate(part.begin(), part.end(), 0.0)});
  }
}

void TokenDraw::start_token() {
  if (++token_ != 0) return;
  std::fill(taken_.begin(), taken_.end(), 0);  // the counter has wrapped: forget every mark
  token_ = 1;
}

void TokenDraw::draw(RandomStream& random, std::uint16_t* out) {
  start_token();
  if (limit_) {
    draw_race(random, out);
    return;
  }
  for (int i = 0; i < k_; ++i) {
    const std::size_t expert = draw_untaken(table_, 0, random);
    taken_[expert] = token_;
    out[i] = static_cast<std::uint16_t>(expert);
  }
}

double TokenDraw::untaken_weight(std::size_t first, std::size_t size) const {
  double left = 0;
  for (std::size_t e = first; e < first + size; ++e) left += taken_[e] == token_ ? 0 : weights_[e];
  return left;
}

// One expert in proportion to the weights of those not taken: by rejection, and after some of them
// by a scan.
std::size_t TokenDraw::draw_untaken(const AliasTable& table, std::size_t first,
                                    RandomStream& random) {
  for (int i = 0; i < kMostRejections; ++i) {
    const std::size_t expert = first + table.draw(random);
    if (taken_[expert] != token_) return expert;
  }
  double u = random.uniform() * untaken_weight(first, table.size());
  std::size_t last = first;
  for (std::size_t e = first; e < first + table.size(); ++e) {
    if (taken_[e] == token_) continue;
    last = e;
    u -= weights_[e];
    if (u < 0) break;
  }
  return last;
}

// The group's next arrival: after an exponential time with the rate of all that are left.
void TokenDraw::arrive(Group& group, RandomStream& random) {
  const std::size_t size = group.table.size();
  if (group.arrived == size) {
    group.next_time = std::numeric_limits<double>::infinity();
    return;
  }
  // Differences lose digits when little is left: then the rest is added up anew.
  if (group.left < 1e-6 * group.total) group.left = untaken_weight(group.first, size);
  group.time += random.exponential() / group.left;
  group.next = draw_untaken(group.table, group.first, random);
  group.next_time = group.time;
  taken_[group.next] = token_;
  group.left -= weights_[group.next];
  ++group.arrived;
}

void TokenDraw::draw_race(RandomStream& random, std::uint16_t* out) {
  order_.clear();
  early_.clear();
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    Group& group = groups_[g];
    group.left = group.total;
    group.time = 0;
    group.arrived = 0;
    arrive(group, random);
    early_.emplace_back(group.next_time, group.next);
    double score = group.next_time;
    if (group.table.size() > 1) {
      arrive(group, random);
      score *= group.next_time;
    }
    order_.emplace_back(score, g);
  }
  std::sort(order_.begin(), order_.end());
  order_.resize(static_cast<std::size_t>(limit_->limit));
  // Merge the races of the groups that stay: each shows its first arrival, then its second, ...
  for (int i = 0; i < k_; ++i) {
    double best_time = std::numeric_limits<double>::infinity();
    std::size_t best = 0;
    for (const auto& [score, g] : order_) {
      if (early_[g].first < best_time) {
        best_time = early_[g].first;
        best = g;
      }
    }
    Group& group = groups_[best];
    out[i] = static_cast<std::uint16_t>(early_[best].second);
    const bool waiting = group.next != early_[best].second;
    if (!waiting) arrive(group, random);
    early_[best] = {group.next_time, group.next};
  }
}

InclusionDraw::InclusionDraw(std::span<const double> inclusion)
    : inclusion_(inclusion.begin(), inclusion.end()), order_(inclusion.size()) {
  const double sum = std::accumulate(inclusion_.begin(), inclusion_.end(), 0.0);
  k_ = static_cast<int>(std::lround(sum));
  std::iota(order_.begin(), order_.end(), std::uint16_t{0});
  cumulative_.resize(inclusion_.size());
}

void InclusionDraw::draw(RandomStream& random, std::uint16_t* out) {
  if (left_ == 0) {
    random.shuffle(order_);
    double sum = 0;
    for (std::size_t i = 0; i < order_.size(); ++i) {
      sum += inclusion_[order_[i]];
      cumulative_[i] = sum;
    }
    left_ = kTokensPerShuffle;
  }
  --left_;
  const double start = random.uniform();
  auto from = cumulative_.begin();
  for (int i = 0; i < k_; ++i) {
    // The sum may miss k by rounding: the last pick falls on the last expert not picked.
    const auto furthest = cumulative_.end() - (k_ - i);
    auto at = std::upper_bound(from, cumulative_.end(), start + i);
    at = std::min(at, furthest);
    out[i] = order_[static_cast<std::size_t>(at - cumulative_.begin())];
    from = at + 1;
  }
}

void draw_counts(std::span<const double> inclusion, int k, std::int64_t tokens,
                 RandomStream& random, std::int64_t* out) {
  const std::size_t n = inclusion.size();
  if (tokens <= kFewTokens) {
    std::fill(out, out + n, 0);
    InclusionDraw draw(inclusion);
    std::vector<std::uint16_t> chosen(static_cast<std::size_t>(k));
    for (std::int64_t t = 0; t < tokens; ++t) {
      draw.draw(random, chosen.data());
      for (const std::uint16_t e : chosen) ++out[e];
    }
    return;
  }
  std::int64_t left = tokens * k;
  double variance = 0;
  for (std::size_t e = 0; e < n; ++e) {
    out[e] = draw_binomial(tokens, inclusion[e], random);
    left -= out[e];
    variance += inclusion[e] * (1 - inclusion[e]);
  }
  if (left == 0) return;
  // Spread by variance, rounded towards zero and kept inside 0..tokens; the few that remain go one
  // by one to experts drawn by the same weights.
  std::vector<double> spread(n);
  const std::int64_t off = left;
  for (std::size_t e = 0; e < n; ++e) {
    spread[e] = inclusion[e] * (1 - inclusion[e]);
    if (variance <= 0) continue;
    const std::int64_t share =
        static_cast<std::int64_t>(static_cast<double>(off) * spread[e] / variance);
    const std::int64_t kept = std::clamp<std::int64_t>(out[e] + share, 0, tokens);
    left -= kept - out[e];
    out[e] = kept;
  }
  const auto open = [&](std::size_t e) { return left > 0 ? out[e] < tokens : out[e] > 0; };
  if (variance > 0) {
    const AliasTable table(spread);
    for (std::size_t tries = 64 * n; left != 0 && tries > 0; --tries) {
      const std::size_t e = table.draw(random);
      if (!open(e)) continue;
      out[e] += left > 0 ? 1 : -1;
      left -= left > 0 ? 1 : -1;
    }
  }
  for (std::size_t e = 0; e < n && left != 0; ++e) {  // k <= experts, so this ends at 0
    const std::int64_t kept = std::clamp<std::int64_t>(out[e] + left, 0, tokens);
    left -= kept - out[e];
    out[e] = kept;
  }
  SIM_CHECK(left == 0, "k experts of n can take every token's choices");
}

}  // namespace sim
