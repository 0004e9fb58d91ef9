// Seeded random streams with names, so that adding one consumer of randomness shifts no other.
//
// xoshiro256** (Blackman & Vigna, "Scrambled linear pseudorandom number generators", 2018), seeded
// by splitmix64 of the seed and of an FNV-1a hash of the name. The distributions are our own: the
// standard ones differ between libraries.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace sim {

class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::string_view name);

  std::uint64_t bits();
  double uniform();                          // [0, 1), 53 bits
  std::uint64_t below(std::uint64_t bound);  // [0, bound), unbiased; REQUIRES: bound > 0
  double normal();                           // mean 0, standard deviation 1 (Box-Muller)
  double exponential();                      // mean 1
  template <class T>
  void shuffle(std::vector<T>& items) {  // Fisher-Yates
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  std::array<std::uint64_t, 4> state_{};
};

// O(1) draws from fixed weights (Vose's alias method). REQUIRES: weights >= 0 with a positive,
// finite sum.
class AliasTable {
 public:
  explicit AliasTable(std::span<const double> weights);
  std::size_t draw(RandomStream& random) const;
  std::size_t size() const { return keep_.size(); }

 private:
  std::vector<double> keep_;
  std::vector<std::uint32_t> alias_;
};

}  // namespace sim
