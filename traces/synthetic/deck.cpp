#include "traces/synthetic/deck.h"

#include <algorithm>
#include <utility>

#include "sim/core/error.h"

namespace sim {

void Deck::deal(std::size_t count, RandomStream& random, std::uint16_t* out) {
  SIM_CHECK(count <= cards_.size(), "a token's experts are distinct");
  std::size_t from_before = 0;  // cards of this token from the deck that ended
  for (std::size_t i = 0; i < count; ++i) {
    if (next_ == cards_.size()) {
      random.shuffle(cards_);
      next_ = 0;
      from_before = i;
    }
    for (std::size_t j = next_; from_before > 0 && j < cards_.size(); ++j) {
      if (std::find(out, out + from_before, cards_[j]) != out + from_before) continue;
      std::swap(cards_[next_], cards_[j]);
      break;
    }
    out[i] = cards_[next_++];
  }
}

void Deck::count(std::int64_t count, std::int64_t each, RandomStream& random,
                 std::int64_t* counts) {
  if (count == 0 || each == 0) return;
  SIM_CHECK(static_cast<std::size_t>(each) <= cards_.size(), "a token's experts are distinct");
  const auto size = static_cast<std::int64_t>(cards_.size());
  if (next_ == cards_.size()) {
    random.shuffle(cards_);
    next_ = 0;
  }
  // The same order again and again: `each` neighbours of a ring are distinct.
  const std::int64_t rounds = count * each / size;
  for (const std::uint16_t card : cards_) counts[card] += rounds;
  for (std::int64_t left = count * each % size; left > 0; --left) {
    ++counts[cards_[next_]];
    next_ = (next_ + 1) % cards_.size();
  }
}

}  // namespace sim
