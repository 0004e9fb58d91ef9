// One number for a whole run: two runs with the same events in the same order have the same one.
//
// h' = mix(h xor word) for each word of (time_ps, sequence, kind), mix being the finaliser of
// splitmix64, a bijection; so the order counts, and one changed word always changes h at once.
#pragma once

#include <cstdint>
#include <string>

#include "sim/core/units.h"

namespace sim {

class Fingerprint {
 public:
  void add(Time time, std::uint64_t sequence, std::uint32_t kind) {
    fold(static_cast<std::uint64_t>(to_ps(time)));
    fold(sequence);
    fold(kind);
  }
  std::uint64_t value() const { return hash_; }
  std::string text() const {  // 16 hexadecimal digits
    std::string digits(16, '0');
    for (int i = 0; i < 16; ++i) {
      digits[static_cast<std::size_t>(i)] = "0123456789abcdef"[(hash_ >> (60 - 4 * i)) & 15];
    }
    return digits;
  }

 private:
  void fold(std::uint64_t word) {
    std::uint64_t z = (hash_ ^ word) + 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    hash_ = z ^ (z >> 31);
  }

  std::uint64_t hash_ = 0;
};

}  // namespace sim
