#include "traces/metrics/clustering.h"

#include <cmath>
#include <numeric>

#include "sim/core/error.h"
#include "sim/core/random.h"

namespace sim {
namespace {

constexpr int kOrders = 32;

double quarters_distance(const GroupCounts& groups, const std::vector<std::size_t>& order) {
  const auto experts = static_cast<std::size_t>(groups.experts);
  const std::size_t quarter = order.size() / 4;
  std::vector<std::int64_t> first(experts, 0);
  std::vector<std::int64_t> last(experts, 0);
  for (std::size_t i = 0; i < quarter; ++i) {
    const auto early = groups.of(order[i]);
    const auto late = groups.of(order[order.size() - 1 - i]);
    for (std::size_t e = 0; e < experts; ++e) {
      first[e] += early[e];
      last[e] += late[e];
    }
  }
  return total_variation(first, last);
}

}  // namespace

double total_variation(std::span<const std::int64_t> first, std::span<const std::int64_t> second) {
  SIM_CHECK(first.size() == second.size(), "two histograms of the same experts");
  const auto sum = [](std::span<const std::int64_t> counts) {
    return static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  };
  const double a = sum(first);
  const double b = sum(second);
  if (a == 0 || b == 0) return 0;
  double distance = 0;
  for (std::size_t e = 0; e < first.size(); ++e) {
    distance += std::abs(static_cast<double>(first[e]) / a - static_cast<double>(second[e]) / b);
  }
  return distance / 2;
}

Clustering clustering(const GroupCounts& groups) {
  Clustering result;
  const auto experts = static_cast<std::size_t>(groups.experts);
  double tokens = 0;
  double squares = 0;
  double used = 0;  // groups with tokens
  std::vector<double> total(experts, 0);
  for (std::size_t g = 0; g < groups.groups(); ++g) {
    const double n = static_cast<double>(groups.tokens[g]);
    tokens += n;
    squares += n * n;
    used += n > 0 ? 1 : 0;
    for (std::size_t e = 0; e < experts; ++e) total[e] += static_cast<double>(groups.of(g)[e]);
  }
  if (used < 2 || tokens <= used) return result;
  double between = 0;
  double within = 0;
  double sampling = 0;
  for (std::size_t e = 0; e < experts; ++e) sampling += total[e] / tokens * (1 - total[e] / tokens);
  for (std::size_t g = 0; g < groups.groups(); ++g) {
    const double n = static_cast<double>(groups.tokens[g]);
    if (n == 0) continue;
    for (std::size_t e = 0; e < experts; ++e) {
      const double s = static_cast<double>(groups.of(g)[e]) / n;
      between += n * (s - total[e] / tokens) * (s - total[e] / tokens);
      within += n * s * (1 - s);
    }
  }
  between /= used - 1;
  within /= tokens - used;
  const double size = (tokens - squares / tokens) / (used - 1);
  if (sampling > 0) result.over_sampling = between / sampling;
  const double whole = between + (size - 1) * within;
  if (whole > 0) result.intraclass = (between - within) / whole;
  return result;
}

Drift drift(const GroupCounts& groups, std::uint64_t seed) {
  Drift result;
  std::vector<std::size_t> order(groups.groups());
  if (order.size() < 4) return result;
  std::iota(order.begin(), order.end(), std::size_t{0});
  result.distance = quarters_distance(groups, order);
  RandomStream random(seed, "metrics/drift");
  for (int i = 0; i < kOrders; ++i) {
    random.shuffle(order);
    result.by_chance += quarters_distance(groups, order) / kOrders;
  }
  return result;
}

Drift drift_within(const GroupCounts& beginnings, const GroupCounts& ends, std::uint64_t seed) {
  SIM_CHECK(beginnings.counts.size() == ends.counts.size(), "two parts of the same groups");
  Drift result;
  const auto experts = static_cast<std::size_t>(beginnings.experts);
  RandomStream random(seed, "metrics/drift-within");
  for (int i = 0; i <= kOrders; ++i) {  // 0: as it is
    std::vector<std::int64_t> first(experts, 0);
    std::vector<std::int64_t> last(experts, 0);
    for (std::size_t g = 0; g < beginnings.groups(); ++g) {
      const bool swapped = i > 0 && random.below(2) == 1;
      const auto early = swapped ? ends.of(g) : beginnings.of(g);
      const auto late = swapped ? beginnings.of(g) : ends.of(g);
      for (std::size_t e = 0; e < experts; ++e) {
        first[e] += early[e];
        last[e] += late[e];
      }
    }
    const double distance = total_variation(first, last);
    (i == 0 ? result.distance : result.by_chance) += i == 0 ? distance : distance / kOrders;
  }
  return result;
}

}  // namespace sim
