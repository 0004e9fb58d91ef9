#include "models/calibration/synthetic_routing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/core/error.h"
#include "sim/core/random.h"

namespace sim {
namespace {

constexpr int kDraws = 10;

// `rows` spread over `count` experts as evenly as whole rows can be.
std::vector<std::int64_t> even(std::int64_t rows, std::int64_t count) {
  std::vector<std::int64_t> result(static_cast<std::size_t>(count), rows / count);
  for (std::int64_t i = 0; i < rows % count; ++i) ++result[static_cast<std::size_t>(i)];
  return result;
}

std::vector<std::int64_t> power_law(const SyntheticRouting& routing, RandomStream& random) {
  const std::int64_t choices = routing.tokens * routing.top_k;
  const bool many = choices > routing.experts;
  const double least = many ? 1 : 0.01;
  const double most = std::max(many ? 0.8 * static_cast<double>(routing.tokens) : 2, least * 1.001);
  // An exponent of exactly one would divide by zero; the law is continuous there.
  const double power = std::abs(1 - routing.exponent) < 1e-6 ? 1e-6 : 1 - routing.exponent;
  const double low = std::pow(least, power);
  const double span = std::pow(most, power) - low;
  std::vector<double> load(static_cast<std::size_t>(routing.experts));
  for (double& x : load) x = std::pow(span * random.uniform() + low, 1 / power);
  const double scale =
      static_cast<double>(choices) / std::accumulate(load.begin(), load.end(), 0.0);
  std::vector<std::int64_t> rows(load.size());
  for (std::size_t e = 0; e < load.size(); ++e) {
    rows[e] = std::min<std::int64_t>(std::llround(load[e] * scale), routing.tokens);
  }
  // Rounding and the cap leave a rest: the heaviest with room take it, or give it back.
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return load[a] > load[b]; });
  std::int64_t rest = choices - std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
  while (rest != 0) {
    const std::int64_t before = rest;
    for (const std::size_t e : order) {
      if (rest > 0 && rows[e] < routing.tokens) {
        ++rows[e];
        --rest;
      } else if (rest < 0 && rows[e] > 0) {
        --rows[e];
        ++rest;
      }
    }
    if (rest == before) break;  // more choices than tokens x experts: the question is not possible
  }
  return rows;
}

// Copies go to the expert with most rows per copy; then slots, heaviest first, to the rank with
// least rows that has room. As DeepSeek's EPLB and TensorRT-LLM's balancer do it without groups.
std::vector<std::vector<std::int64_t>> packed(const std::vector<std::int64_t>& rows,
                                              std::int64_t slots, std::int64_t ranks) {
  std::vector<std::int64_t> copies(rows.size(), 1);
  for (std::int64_t extra = slots - static_cast<std::int64_t>(rows.size()); extra > 0; --extra) {
    std::size_t heaviest = 0;
    for (std::size_t e = 1; e < rows.size(); ++e) {
      if (rows[e] * copies[heaviest] > rows[heaviest] * copies[e]) heaviest = e;
    }
    ++copies[heaviest];
  }
  std::vector<std::int64_t> slot_rows;
  for (std::size_t e = 0; e < rows.size(); ++e) {
    const std::vector<std::int64_t> parts = even(rows[e], copies[e]);
    slot_rows.insert(slot_rows.end(), parts.begin(), parts.end());
  }
  std::sort(slot_rows.rbegin(), slot_rows.rend());
  std::vector<std::vector<std::int64_t>> on(static_cast<std::size_t>(ranks));
  std::vector<std::int64_t> sums(on.size(), 0);
  for (const std::int64_t part : slot_rows) {
    std::size_t least = on.size();
    for (std::size_t r = 0; r < on.size(); ++r) {
      const bool room = static_cast<std::int64_t>(on[r].size()) < slots / ranks;
      if (room && (least == on.size() || sums[r] < sums[least])) least = r;
    }
    on[least].push_back(part);
    sums[least] += part;
  }
  return on;
}

std::vector<std::vector<std::int64_t>> in_order(const std::vector<std::int64_t>& rows,
                                                std::int64_t ranks) {
  std::vector<std::vector<std::int64_t>> on;
  const auto local = static_cast<std::ptrdiff_t>(rows.size()) / ranks;
  for (std::int64_t r = 0; r < ranks; ++r) {
    on.emplace_back(rows.begin() + r * local, rows.begin() + (r + 1) * local);
  }
  return on;
}

std::int64_t total(const std::vector<std::int64_t>& rows) {
  return std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
}

}  // namespace

std::vector<std::vector<std::int64_t>> draw_rows(const SyntheticRouting& routing) {
  SIM_CHECK(routing.tokens > 0 && routing.top_k > 0 && routing.experts > 0 && routing.ranks > 0 &&
                routing.experts % routing.ranks == 0,
            "a routing has tokens, choices and experts on every rank");
  if (routing.exponent == 0) {
    const std::int64_t choices = routing.tokens * routing.top_k;
    return {even((choices + routing.ranks - 1) / routing.ranks, routing.experts / routing.ranks)};
  }
  RandomStream random(1, fmt::format("routing {} {} {} {}", routing.exponent, routing.tokens,
                                     routing.top_k, routing.experts));
  std::vector<std::vector<std::int64_t>> draws;
  for (int draw = 0; draw < kDraws; ++draw) {
    const std::vector<std::int64_t> rows = power_law(routing, random);
    std::vector<std::vector<std::int64_t>> ranks = routing.slots > 0
                                                       ? packed(rows, routing.slots, routing.ranks)
                                                       : in_order(rows, routing.ranks);
    draws.push_back(
        std::move(*std::max_element(ranks.begin(), ranks.end(), [](const auto& a, const auto& b) {
          return total(a) < total(b);
        })));
  }
  return draws;
}

}  // namespace sim
