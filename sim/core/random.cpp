#include "sim/core/random.h"

#include <cmath>
#include <numbers>

#include "sim/core/error.h"

namespace sim {
namespace {

std::uint64_t splitmix64(std::uint64_t& x) {
  x += 0x9e3779b97f4a7c15ULL;
  std::uint64_t z = x;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

std::uint64_t rotate_left(std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

}  // namespace

RandomStream::RandomStream(std::uint64_t seed, std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  std::uint64_t x = seed;
  x = splitmix64(x) ^ hash;
  for (std::uint64_t& word : state_) word = splitmix64(x);
}

std::uint64_t RandomStream::bits() {
  const std::uint64_t result = rotate_left(state_[1] * 5, 7) * 9;
  const std::uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = rotate_left(state_[3], 45);
  return result;
}

double RandomStream::uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }

std::uint64_t RandomStream::below(std::uint64_t bound) {
  // Lemire's multiply-and-reject ("Fast random integer generation in an interval", 2019).
  unsigned __int128 product = static_cast<unsigned __int128>(bits()) * bound;
  if (static_cast<std::uint64_t>(product) < bound) {
    const std::uint64_t threshold = (0 - bound) % bound;
    while (static_cast<std::uint64_t>(product) < threshold) {
      product = static_cast<unsigned __int128>(bits()) * bound;
    }
  }
  return static_cast<std::uint64_t>(product >> 64);
}

double RandomStream::normal() {
  const double radius = std::sqrt(2 * exponential());
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

double RandomStream::exponential() { return -std::log1p(-uniform()); }

AliasTable::AliasTable(std::span<const double> weights)
    : keep_(weights.size(), 1.0), alias_(weights.size(), 0) {
  double sum = 0;
  for (const double w : weights) {
    SIM_CHECK(w >= 0, "a weight must not be negative");
    sum += w;
  }
  SIM_CHECK(sum > 0 && std::isfinite(sum), "weights need a positive, finite sum");
  const double n = static_cast<double>(weights.size());
  std::vector<double> scaled(weights.size());
  std::vector<std::uint32_t> small;
  std::vector<std::uint32_t> large;
  for (std::uint32_t i = 0; i < weights.size(); ++i) {
    scaled[i] = weights[i] * n / sum;
    (scaled[i] < 1 ? small : large).push_back(i);
  }
  while (!small.empty() && !large.empty()) {
    const std::uint32_t s = small.back();
    const std::uint32_t l = large.back();
    small.pop_back();
    keep_[s] = scaled[s];
    alias_[s] = l;
    scaled[l] -= 1 - scaled[s];
    if (scaled[l] < 1) {
      large.pop_back();
      small.push_back(l);
    }
  }
  // What is left over is 1 up to rounding; a zero weight can never be left in `large`.
  for (const std::uint32_t s : small) alias_[s] = large.empty() ? s : large.front();
}

std::size_t AliasTable::draw(RandomStream& random) const {
  const std::size_t column = random.below(keep_.size());
  return random.uniform() < keep_[column] ? column : alias_[column];
}

}  // namespace sim
