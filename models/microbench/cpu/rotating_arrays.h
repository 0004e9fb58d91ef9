// The arrays of a case, in several copies that calls use in turn, so that a call finds its data
// where a layer of a model finds them: not in the caches that the call before filled.
//
// A copy's arrays lie in one of three stores: inputs (uniform, variance 1), weights (uniform,
// variance 1/1024, so that products over hidden sizes stay near 1) and outputs. Copies are at most
// what fits the rotating bytes, and at least one. Filled once for all cases; deterministic.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace sim::microbench {

enum class Store { kInput, kWeight, kOutput };

// Where an array lies in every copy.
struct RotatingArray {
  Store store = Store::kInput;
  std::int64_t offset = 0;
  std::int64_t size = 0;
};

class RotatingArrays {
 public:
  // Adds an array of `size` floats. REQUIRES: settle() was not called yet.
  RotatingArray add(Store store, std::int64_t size);
  // Fixes the number of copies and makes the stores large enough.
  void settle(std::int64_t rotating_bytes);
  // Forgets the arrays of a case; the stores stay.
  void clear();

  std::int64_t copies() const { return copies_; }
  std::int64_t bytes_of_a_copy() const;
  std::span<float> at(const RotatingArray& array, std::int64_t copy);

 private:
  std::array<std::vector<float>, 3> stores_;
  std::array<std::int64_t, 3> used_{};  // floats of a copy
  std::int64_t copies_ = 0;
};

}  // namespace sim::microbench
