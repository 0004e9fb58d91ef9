// A queue of small ids by key, lowest first, ties by id; the key of an id can change while it is in
// it. O(log n) per change, O(1) to look at the lowest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace sim {

class IndexedHeap {
 public:
  static constexpr double kNever = std::numeric_limits<double>::infinity();

  bool empty() const { return heap_.empty(); }
  std::int32_t lowest() const { return heap_.front().id; }  // REQUIRES: not empty
  double lowest_key() const { return heap_.empty() ? kNever : heap_.front().key; }

  // Enters the id, moves it, or with kNever takes it out.
  void set(std::int32_t id, double key) {
    const std::size_t index = static_cast<std::size_t>(id);
    if (index >= place_.size()) place_.resize(index + 1, kAbsent);
    std::uint32_t place = place_[index];
    if (key == kNever) {
      if (place != kAbsent) remove(place);
      return;
    }
    if (place == kAbsent) {
      place = static_cast<std::uint32_t>(heap_.size());
      heap_.push_back({key, id});
    }
    settle(place, {key, id});
  }

 private:
  static constexpr std::uint32_t kAbsent = std::numeric_limits<std::uint32_t>::max();
  struct Entry {
    double key;
    std::int32_t id;
    bool operator<(const Entry& o) const { return key != o.key ? key < o.key : id < o.id; }
  };

  void put(std::uint32_t place, const Entry& entry) {
    heap_[place] = entry;
    place_[static_cast<std::size_t>(entry.id)] = place;
  }

  void remove(std::uint32_t place) {
    place_[static_cast<std::size_t>(heap_[place].id)] = kAbsent;
    const Entry last = heap_.back();
    heap_.pop_back();
    if (place < heap_.size()) settle(place, last);
  }

  // Puts the entry into the hole at `place`, or where it belongs above or below it.
  void settle(std::uint32_t place, const Entry& entry) {
    while (place > 0) {
      const std::uint32_t parent = (place - 1) / 2;
      if (!(entry < heap_[parent])) break;
      put(place, heap_[parent]);
      place = parent;
    }
    const std::uint32_t size = static_cast<std::uint32_t>(heap_.size());
    for (std::uint32_t child = 2 * place + 1; child < size; child = 2 * place + 1) {
      if (child + 1 < size && heap_[child + 1] < heap_[child]) ++child;
      if (!(heap_[child] < entry)) break;
      put(place, heap_[child]);
      place = child;
    }
    put(place, entry);
  }

  std::vector<Entry> heap_;
  std::vector<std::uint32_t> place_;  // per id
};

}  // namespace sim
