// Which route belongs to a pair of endpoints: sorted keys, no table of all pairs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <optional>
#include <vector>

namespace sim {

class RouteIndex {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  static std::uint64_t key(std::uint64_t source, std::uint64_t destination) {
    return (source << 32) | destination;
  }

  void reserve(std::size_t routes) { keys_.reserve(routes); }
  // The next route; they count from 0.
  void add(std::uint64_t key) { keys_.push_back(key); }
  std::size_t size() const { return keys_.size(); }
  std::uint64_t key_of(std::uint32_t route) const { return keys_[route]; }

  // Call it once after the last add(). The later of two routes with one key, if there are any.
  std::optional<std::uint32_t> sort_and_find_double() {
    if (!std::is_sorted(keys_.begin(), keys_.end())) {
      order_.resize(keys_.size());
      std::iota(order_.begin(), order_.end(), 0U);
      std::stable_sort(order_.begin(), order_.end(),
                       [&](std::uint32_t a, std::uint32_t b) { return keys_[a] < keys_[b]; });
    }
    std::optional<std::uint32_t> found;
    for (std::uint32_t i = 1; i < keys_.size(); ++i) {
      if (keys_[at(i)] == keys_[at(i - 1)] && (!found || at(i) < *found)) found = at(i);
    }
    return found;
  }
  // kNone: there is no such route. Quick when asked in the order of the routes.
  std::uint32_t find(std::uint64_t key) {
    if (guess_ < keys_.size() && keys_[guess_] == key) return guess_++;
    std::uint32_t low = 0, high = static_cast<std::uint32_t>(keys_.size());
    while (low < high) {
      const std::uint32_t middle = low + (high - low) / 2;
      if (keys_[at(middle)] < key) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (low == keys_.size() || keys_[at(low)] != key) return kNone;
    guess_ = at(low) + 1;
    return at(low);
  }

 private:
  std::uint32_t at(std::uint32_t place) const { return order_.empty() ? place : order_[place]; }

  std::vector<std::uint64_t> keys_;   // in the order of add()
  std::vector<std::uint32_t> order_;  // by key; empty when that is the order of add()
  std::uint32_t guess_ = 0;
};

}  // namespace sim
