// Counts a token once per place (rank, node) that its choices lie on: the copies that travel.
//
// Without a branch on whether a place was seen before: that branch is a coin flip for the routing
// of a real model, and costs more than the count.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace sim {

class DistinctPlaces {
 public:
  explicit DistinctPlaces(std::size_t places) : seen_(places, 0) {}

  // One token: adds 1 to counts[place] for each distinct place_of[id] of its ids. REQUIRES:
  // 0 <= place_of[id] < places, counts has an entry per place.
  template <class Id>
  void add(std::span<const Id> ids, const std::int32_t* place_of, std::int64_t* counts) {
    if (token_ == std::numeric_limits<std::uint32_t>::max()) {
      seen_.assign(seen_.size(), 0);
      token_ = 0;
    }
    const std::uint32_t token = ++token_;
    std::uint32_t* seen = seen_.data();
    for (const Id id : ids) {
      const auto place = static_cast<std::size_t>(place_of[id]);
      counts[place] += seen[place] != token ? 1 : 0;
      seen[place] = token;
    }
  }

 private:
  std::vector<std::uint32_t> seen_;  // number of the last token that lay there
  std::uint32_t token_ = 0;
};

}  // namespace sim
