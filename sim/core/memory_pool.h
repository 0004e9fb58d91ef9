// Bytes held on one device by named items, with the peak. Holding more than the capacity is allowed
// and visible: whether that is a mistake is for the caller to say.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "sim/core/error.h"
#include "sim/core/units.h"

namespace sim {

class MemoryPool {
 public:
  explicit MemoryPool(Bytes capacity) : capacity_(capacity) {}

  void hold(const std::string& item, Bytes bytes) {
    find(item) += bytes;
    held_ += bytes;
    peak_ = std::max(peak_, held_);
  }
  // REQUIRES: the item holds at least that much.
  void release(const std::string& item, Bytes bytes) {
    Bytes& amount = find(item);
    SIM_CHECK(amount >= bytes, "only what is held can be released: " + item);
    amount -= bytes;
    held_ -= bytes;
  }
  Bytes capacity() const { return capacity_; }
  Bytes held() const { return held_; }
  Bytes peak() const { return peak_; }
  bool fits() const { return peak_ <= capacity_; }
  const std::vector<std::pair<std::string, Bytes>>& items() const {
    return items_;
  }  // in order of first use

 private:
  Bytes& find(const std::string& item) {
    for (auto& entry : items_) {
      if (entry.first == item) return entry.second;
    }
    return items_.emplace_back(item, Bytes(0)).second;
  }
  Bytes capacity_;
  Bytes held_;
  Bytes peak_;
  std::vector<std::pair<std::string, Bytes>> items_;
};

}  // namespace sim
