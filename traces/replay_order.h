// Which recorded rows a step holds, rank by rank: the replay rules, apart from how rows are read.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "traces/replay.h"

namespace sim {

// Rows of one step: those of rank r are rows[rank_begin[r] .. rank_begin[r + 1]).
struct StepRows {
  std::vector<std::int64_t> rows;
  std::vector<std::int64_t> rank_begin;
};

// What the rules need to know of a trace: for every row that takes part, where it belongs.
struct RowPlaces {
  struct Place {
    std::int64_t first = 0;   // step, or request
    std::int64_t second = 0;  // source rank, or position
    std::int64_t row = 0;
  };
  bool steps = false;
  std::vector<Place> places;  // sorted by (first, second, row)
  // places[group[i] .. group[i + 1]) have the same step or request.
  std::vector<std::int64_t> groups;

  std::int64_t group_count() const { return static_cast<std::int64_t>(groups.size()) - 1; }
  std::int64_t group_size(std::int64_t g) const {
    return groups[static_cast<std::size_t>(g) + 1] - groups[static_cast<std::size_t>(g)];
  }
  std::int64_t row(std::int64_t group, std::int64_t index) const {
    return places[static_cast<std::size_t>(groups[static_cast<std::size_t>(group)] + index)].row;
  }
};

// Gives the rows of any step; cheap for rising steps, from the start again for earlier ones.
class ReplayOrder {
 public:
  virtual ~ReplayOrder() = default;
  virtual void rows_of(int step, StepRows& out) = 0;
};

// REQUIRES of all: places is not empty and outlives the order.
std::unique_ptr<ReplayOrder> make_recorded_order(const RowPlaces& places, int ranks);
std::unique_ptr<ReplayOrder> make_request_order(const RowPlaces& places,
                                                std::vector<std::int64_t> slots,
                                                std::uint64_t seed);
std::unique_ptr<ReplayOrder> make_request_prefill_order(const RowPlaces& places,
                                                        std::vector<std::int64_t> tokens,
                                                        std::uint64_t seed);
std::unique_ptr<ReplayOrder> make_sample_order(const RowPlaces& places,
                                               std::vector<std::int64_t> tokens, bool prefill,
                                               std::uint64_t seed);

}  // namespace sim
