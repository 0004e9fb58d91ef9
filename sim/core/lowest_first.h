// A queue of small ids by key, lowest first; the key of an id can change while it is in it.
//
// Keys lie side by side in blocks whose lowest is kept. A key that falls, the common change, is two
// stores; taking the lowest looks through the blocks and through one of them, without a branch that
// depends on the keys. For up to some thousands of ids that beats a heap; O(n / kBlock + kBlock)
// otherwise. Among equal keys the order depends only on the calls made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace sim {

class LowestFirst {
 public:
  static constexpr double kNever = std::numeric_limits<double>::infinity();

  bool empty() const { return ids_.empty(); }
  double lowest_key() {
    if (!best_known_) {
      best_ = lowest_of(lows_.data(), blocks());
      best_known_ = true;
    }
    return best_;
  }
  // REQUIRES: not empty.
  std::int32_t lowest() {
    const double key = lowest_key();
    const std::size_t block = first_equal(lows_.data(), blocks(), key);
    return ids_[block * kBlock + first_equal(keys_.data() + block * kBlock, kBlock, key)];
  }

  double key(std::int32_t id) const {
    const std::size_t index = static_cast<std::size_t>(id);
    return index < place_.size() && place_[index] != kAbsent ? keys_[place_[index]] : kNever;
  }

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
      place = static_cast<std::uint32_t>(ids_.size());
      ids_.push_back(id);
      place_[index] = place;
      if (place == keys_.size()) grow();
    }
    change(place, key);
  }

 private:
  static constexpr std::uint32_t kAbsent = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::size_t kBlock = 8;  // a multiple of kLanes
  static constexpr std::size_t kLanes = 4;

  // In use, as a multiple of kLanes; the lowest of those beyond is kNever.
  std::size_t blocks() const {
    return (ids_.size() + kBlock * kLanes - 1) / (kBlock * kLanes) * kLanes;
  }

  // `count` is a multiple of kLanes. Lanes that do not wait for one another.
  static double lowest_of(const double* keys, std::size_t count) {
    double low[kLanes] = {kNever, kNever, kNever, kNever};
    for (std::size_t i = 0; i < count; i += kLanes) {
      for (std::size_t lane = 0; lane < kLanes; ++lane)
        low[lane] = keys[i + lane] < low[lane] ? keys[i + lane] : low[lane];
    }
    const double a = low[0] < low[1] ? low[0] : low[1], b = low[2] < low[3] ? low[2] : low[3];
    return a < b ? a : b;
  }

  // REQUIRES: one is equal, none lower. To the end, so that no branch depends on where it is.
  static std::size_t first_equal(const double* keys, std::size_t count, double key) {
    std::size_t found = 0;
    for (std::size_t i = count; i-- > 0;) found = keys[i] > key ? found : i;
    return found;
  }

  void grow() {
    keys_.resize(keys_.size() + kBlock, kNever);
    const std::size_t blocks = keys_.size() / kBlock;
    if (blocks > lows_.size()) lows_.resize((blocks + kLanes - 1) / kLanes * kLanes, kNever);
  }

  void change(std::uint32_t place, double key) {
    const double before = keys_[place];
    double& low = lows_[place / kBlock];
    keys_[place] = key;
    if (key <= low) {
      low = key;
      if (key < best_) best_ = key;  // also right when it is not known: then nobody reads it
    } else if (before == low) {
      refresh(place / kBlock);
    }
    if (before == best_ && key > before) best_known_ = false;
  }

  void refresh(std::size_t block) {
    lows_[block] = lowest_of(keys_.data() + block * kBlock, kBlock);
  }

  void remove(std::uint32_t place) {
    const std::uint32_t last = static_cast<std::uint32_t>(ids_.size()) - 1;
    const double removed = keys_[place];
    if (removed == best_) best_known_ = false;
    place_[static_cast<std::size_t>(ids_[last])] = place;
    place_[static_cast<std::size_t>(ids_[place])] = kAbsent;
    ids_[place] = ids_[last];
    keys_[place] = keys_[last];
    keys_[last] = kNever;
    refresh(place / kBlock);
    if (last / kBlock != place / kBlock) refresh(last / kBlock);
    ids_.pop_back();
  }

  std::vector<double> keys_;          // by place; kNever where nobody is
  std::vector<double> lows_;          // of every block
  std::vector<std::int32_t> ids_;     // by place
  std::vector<std::uint32_t> place_;  // per id
  double best_ = kNever;
  bool best_known_ = true;
};

}  // namespace sim
