// Experts dealt from shuffled decks: as random as drawing, but equally often, to a row.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/core/random.h"

namespace sim {

// A pack of experts that is dealt to its end, then shuffled again. A token's experts are distinct,
// also where one deck ends and the next begins inside it.
class Deck {
 public:
  explicit Deck(std::vector<std::uint16_t> cards)
      : cards_(std::move(cards)), next_(cards_.size()) {}
  std::size_t size() const { return cards_.size(); }

  // Writes `count` distinct cards. REQUIRES: count <= size().
  void deal(std::size_t count, RandomStream& random, std::uint16_t* out);

  // Deals `count` tokens of `each` cards without saying which token has which: adds to counts[card]
  // how many have it. REQUIRES: each <= size().
  void count(std::int64_t count, std::int64_t each, RandomStream& random, std::int64_t* counts);

 private:
  std::vector<std::uint16_t> cards_;
  std::size_t next_;  // size(): to be shuffled
};

}  // namespace sim
