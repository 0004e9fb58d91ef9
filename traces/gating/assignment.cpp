#include "traces/gating/assignment.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <queue>
#include <utility>

#include "sim/core/error.h"

namespace sim {
namespace {

using Bid = std::pair<double, std::uint32_t>;  // price offered, row
using Bids = std::priority_queue<Bid, std::vector<Bid>, std::greater<>>;

class Auction {
 public:
  Auction(std::span<const double> scores, std::span<const std::int64_t> capacity)
      : scores_(scores),
        capacity_(capacity),
        prices_(capacity.size(), 0.0),
        bids_(capacity.size()),
        column_(scores.size() / capacity.size(), 0) {}

  // One auction from the prices of the last.
  void run(double epsilon) {
    for (Bids& bids : bids_) bids = {};
    std::vector<std::uint32_t> waiting(column_.size());
    std::iota(waiting.begin(), waiting.end(), 0U);
    while (!waiting.empty()) {
      const std::uint32_t row = waiting.back();
      waiting.pop_back();
      const auto [column, bid] = best_bid(row, epsilon);
      Bids& bids = bids_[column];
      bids.emplace(bid, row);
      column_[row] = static_cast<std::uint32_t>(column);
      const auto places = static_cast<std::size_t>(capacity_[column]);
      if (bids.size() > places) {
        waiting.push_back(bids.top().second);
        bids.pop();
      }
      if (bids.size() == places) prices_[column] = bids.top().first;
    }
  }

  const std::vector<std::uint32_t>& columns() const { return column_; }

 private:
  std::pair<std::size_t, double> best_bid(std::uint32_t row, double epsilon) const {
    const auto width = capacity_.size();
    const auto scores = scores_.subspan(row * width, width);
    constexpr double kNone = -std::numeric_limits<double>::infinity();
    double first = kNone;
    double second = kNone;
    std::size_t best = 0;
    for (std::size_t c = 0; c < width; ++c) {
      if (capacity_[c] == 0) continue;
      const double value = scores[c] - prices_[c];
      if (value > first) {
        second = first;
        first = value;
        best = c;
      } else if (value > second) {
        second = value;
      }
    }
    const double gain = second == kNone ? 0 : first - second;
    return {best, prices_[best] + gain + epsilon};
  }

  std::span<const double> scores_;
  std::span<const std::int64_t> capacity_;
  std::vector<double> prices_;
  std::vector<Bids> bids_;
  std::vector<std::uint32_t> column_;
};

}  // namespace

std::vector<std::uint32_t> balanced_assignment(std::span<const double> scores,
                                               std::span<const std::int64_t> capacity,
                                               double epsilon) {
  SIM_CHECK(epsilon > 0 && !capacity.empty() && scores.size() % capacity.size() == 0,
            "a score per row and column");
  SIM_CHECK(std::accumulate(capacity.begin(), capacity.end(), std::int64_t{0}) ==
                static_cast<std::int64_t>(scores.size() / capacity.size()),
            "the capacities sum to the rows");
  if (scores.empty()) return {};
  const auto [least, most] = std::minmax_element(scores.begin(), scores.end());
  // Bids must grow: an epsilon below the rounding of the prices would never end.
  epsilon = std::max(epsilon, 1e-12 * std::max(std::abs(*least), std::abs(*most)));
  Auction auction(scores, capacity);
  // Coarse auctions find the prices quickly; the last one makes the promise.
  for (double coarse = (*most - *least) / 4; coarse > epsilon; coarse /= 5) auction.run(coarse);
  auction.run(epsilon);
  return auction.columns();
}

}  // namespace sim
