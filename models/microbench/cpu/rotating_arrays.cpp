#include "models/microbench/cpu/rotating_arrays.h"

#include <algorithm>
#include <cmath>

#include "sim/core/error.h"

namespace sim::microbench {

namespace {

constexpr std::int64_t kAlign = 16;         // floats of a cache line
constexpr std::int64_t kMostCopies = 4096;  // of tiny cases

// splitmix32: fast enough to fill hundreds of megabytes in a moment.
float uniform(std::uint32_t index, float half_width) {
  std::uint32_t z = index * 0x9e3779b9u + 0x85ebca6bu;
  z = (z ^ (z >> 16)) * 0x21f0aaadu;
  z = (z ^ (z >> 15)) * 0x735a2d97u;
  z ^= z >> 15;
  return (static_cast<float>(z >> 8) * 0x1p-23f - 1.0f) * half_width;
}

}  // namespace

RotatingArray RotatingArrays::add(Store store, std::int64_t size) {
  SIM_CHECK(copies_ == 0, "arrays are added before they are settled");
  std::int64_t& used = used_[static_cast<std::size_t>(store)];
  const RotatingArray array{store, used, size};
  used += (size + kAlign - 1) / kAlign * kAlign;
  return array;
}

std::int64_t RotatingArrays::bytes_of_a_copy() const {
  return (used_[0] + used_[1] + used_[2]) * static_cast<std::int64_t>(sizeof(float));
}

void RotatingArrays::settle(std::int64_t rotating_bytes) {
  const std::int64_t one = std::max<std::int64_t>(bytes_of_a_copy(), 1);
  copies_ = std::clamp<std::int64_t>((rotating_bytes + one - 1) / one, 1, kMostCopies);
  const std::array<float, 3> half_widths = {std::sqrt(3.0f), std::sqrt(3.0f) / 32, 1.0f};
  for (std::size_t s = 0; s < stores_.size(); ++s) {
    const auto need = static_cast<std::size_t>(used_[s] * copies_);
    const std::size_t have = stores_[s].size();
    if (need <= have) continue;
    stores_[s].resize(need);
    const auto shift = static_cast<std::uint32_t>(s) << 30;
    for (std::size_t i = have; i < need; ++i) {
      stores_[s][i] = uniform(static_cast<std::uint32_t>(i) + shift, half_widths[s]);
    }
  }
}

void RotatingArrays::clear() {
  used_ = {};
  copies_ = 0;
}

std::span<float> RotatingArrays::at(const RotatingArray& array, std::int64_t copy) {
  const auto s = static_cast<std::size_t>(array.store);
  SIM_CHECK(copy >= 0 && copy < copies_, "a copy that there is");
  return std::span<float>(stores_[s])
      .subspan(static_cast<std::size_t>(copy * used_[s] + array.offset),
               static_cast<std::size_t>(array.size));
}

}  // namespace sim::microbench
