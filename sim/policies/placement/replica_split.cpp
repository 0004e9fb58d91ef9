#include "sim/policies/placement/replica_split.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string>

#include "sim/core/error.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace {

std::size_t size_of(std::int64_t n) { return static_cast<std::size_t>(n); }

using Copies = std::span<const std::int32_t>;

// Calls pick(rank, token index in the rank, expert, copies) for every choice of an expert with
// several copies.
template <class Pick>
void split_tokens(const SplitInput& input, SlotAssignment& out, Pick pick) {
  const LayerRouting& routing = input.routing;
  out.slot_of_choice.resize(routing.choices.size());
  std::vector<std::int32_t> only_slot(size_of(routing.experts), -1);  // -1: several copies
  for (int e = 0; e < routing.experts; ++e) {
    const Copies copies = input.placement.copies(e);
    if (copies.size() == 1) only_slot[size_of(e)] = copies[0];
  }
  std::int32_t* slot_of_choice = out.slot_of_choice.data();
  const std::uint16_t* choices = routing.choices.data();
  for (int rank = 0; rank < routing.ranks; ++rank) {
    std::int64_t* rows = out.rows.data() + size_of(rank) * size_of(out.slots);
    const std::int64_t first = routing.rank_begin[size_of(rank)];
    for (std::int64_t t = first; t < routing.rank_begin[size_of(rank) + 1]; ++t) {
      const std::int64_t end = routing.choice_begin[size_of(t) + 1];
      for (std::int64_t c = routing.choice_begin[size_of(t)]; c < end; ++c) {
        const int expert = choices[c];
        SIM_CHECK(expert < routing.experts, "a choice names an expert of this layer");
        std::int32_t slot = only_slot[size_of(expert)];
        if (slot < 0) slot = pick(rank, t - first, expert, input.placement.copies(expert));
        slot_of_choice[c] = slot;
        ++rows[slot];
      }
    }
  }
}

// Calls spread(rank, rows, copies, rows of this source rank) for every count above zero.
template <class Spread>
void split_counts(const SplitInput& input, SlotAssignment& out, Spread spread) {
  const LayerRouting& routing = input.routing;
  for (int rank = 0; rank < routing.ranks; ++rank) {
    std::int64_t* rows = out.rows.data() + size_of(rank) * size_of(out.slots);
    for (int expert = 0; expert < routing.experts; ++expert) {
      const std::int64_t count =
          routing.counts[size_of(rank) * size_of(routing.experts) + size_of(expert)];
      if (count > 0) spread(rank, count, input.placement.copies(expert), rows);
    }
  }
}

std::int32_t copy_number(Copies copies, std::int64_t number) {
  return copies[size_of(number) % copies.size()];
}

// Equal shares; the rows that do not divide go to the copies from number `rank` on.
void spread_evenly(int rank, std::int64_t count, Copies copies, std::int64_t* rows) {
  const auto n = static_cast<std::int64_t>(copies.size());
  for (std::int64_t k = 0; k < n; ++k) {
    rows[copy_number(copies, rank + k)] += count / n + (k < count % n ? 1 : 0);
  }
}

// The copies in source rank's own rank, else in its node, else all. They are consecutive, because
// copies ascend by rank.
Copies nearest_copies(const SplitInput& input, int source_rank, Copies copies) {
  const int rank = source_rank % input.placement.ranks;
  const auto within = [&](int first_rank, int ranks) {
    const std::int64_t per_rank = input.placement.slots_per_rank;
    const auto begin = std::lower_bound(copies.begin(), copies.end(), first_rank * per_rank);
    const auto end = std::lower_bound(begin, copies.end(), (first_rank + ranks) * per_rank);
    return Copies(begin, end);
  };
  const Copies own = within(rank, 1);
  if (!own.empty()) return own;
  const Copies node = within(rank - rank % input.ranks_per_node, input.ranks_per_node);
  return node.empty() ? copies : node;
}

// Rows per destination rank so far, for least-loaded.
class RunningLoad {
 public:
  explicit RunningLoad(const ExpertPlacement& placement)
      : placement_(placement), load_(size_of(placement.ranks), 0) {}

  std::int64_t of(std::int32_t slot) const { return load_[size_of(placement_.rank_of(slot))]; }
  void add(std::int32_t slot, std::int64_t rows) {
    load_[size_of(placement_.rank_of(slot))] += rows;
  }
  std::int32_t least(Copies copies) const {
    return *std::min_element(copies.begin(), copies.end(),
                             [&](std::int32_t a, std::int32_t b) { return of(a) < of(b); });
  }

 private:
  const ExpertPlacement& placement_;
  std::vector<std::int64_t> load_;
};

// `count` rows to the least loaded copy, one after the other, without the loop over rows: fill the
// ranks of the copies up to the highest common level, then one row each from the first copy on.
void fill_to_level(std::int64_t count, Copies copies, RunningLoad& load, std::int64_t* rows) {
  const auto needed = [&](std::int64_t level) {
    std::int64_t sum = 0;
    for (const std::int32_t slot : copies) sum += std::max<std::int64_t>(0, level - load.of(slot));
    return sum;
  };
  std::int64_t low = load.of(load.least(copies));  // needs 0 rows
  std::int64_t high = low + count;                 // needs at least `count`
  while (low < high) {
    const std::int64_t middle = low + (high - low + 1) / 2;
    if (needed(middle) <= count) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  std::int64_t left = count - needed(low);
  for (const std::int32_t slot : copies) {
    if (load.of(slot) > low) continue;
    const std::int64_t extra = left > 0 ? 1 : 0;
    const std::int64_t give = low - load.of(slot) + extra;
    left -= extra;
    rows[slot] += give;
    load.add(slot, give);
  }
}

// One copy per rank: a second one on the same rank never has less load than the first.
std::vector<std::int32_t> first_copy_per_rank(const ExpertPlacement& placement, Copies copies) {
  std::vector<std::int32_t> first;
  for (const std::int32_t slot : copies) {
    if (first.empty() || placement.rank_of(first.back()) != placement.rank_of(slot)) {
      first.push_back(slot);
    }
  }
  return first;
}

}  // namespace

std::vector<std::int64_t> SlotAssignment::rows_per_slot() const {
  std::vector<std::int64_t> sum(size_of(slots), 0);
  for (std::size_t i = 0; i < rows.size(); ++i) sum[i % size_of(slots)] += rows[i];
  return sum;
}

std::vector<std::int64_t> SlotAssignment::rows_per_rank(int slots_per_rank) const {
  const std::vector<std::int64_t> per_slot = rows_per_slot();
  std::vector<std::int64_t> sum(per_slot.size() / size_of(slots_per_rank), 0);
  for (std::size_t slot = 0; slot < per_slot.size(); ++slot) {
    sum[slot / size_of(slots_per_rank)] += per_slot[slot];
  }
  return sum;
}

void split_modulo(const SplitInput& input, SlotAssignment& out) {
  if (!input.routing.per_token) return split_even(input, out);
  split_tokens(input, out, [](int rank, std::int64_t token, int, Copies copies) {
    return copy_number(copies, token + rank);
  });
}

void split_even(const SplitInput& input, SlotAssignment& out) {
  if (!input.routing.per_token) return split_counts(input, out, spread_evenly);
  std::vector<std::int64_t> turn(size_of(input.routing.experts), 0);
  int turn_of_rank = -1;
  split_tokens(input, out, [&](int rank, std::int64_t, int expert, Copies copies) {
    if (rank != turn_of_rank) std::fill(turn.begin(), turn.end(), rank);
    turn_of_rank = rank;
    return copy_number(copies, turn[size_of(expert)]++);
  });
}

void split_nearest(const SplitInput& input, SlotAssignment& out) {
  if (input.routing.per_token) {
    split_tokens(input, out, [&](int rank, std::int64_t token, int, Copies copies) {
      return copy_number(nearest_copies(input, rank, copies), token + rank);
    });
    return;
  }
  split_counts(input, out, [&](int rank, std::int64_t count, Copies copies, std::int64_t* rows) {
    spread_evenly(rank, count, nearest_copies(input, rank, copies), rows);
  });
}

void split_least_loaded(const SplitInput& input, SlotAssignment& out) {
  RunningLoad load(input.placement);
  if (input.routing.per_token) {
    // Rows of experts with one copy load their rank too, so they are counted as they come.
    const LayerRouting& routing = input.routing;
    out.slot_of_choice.resize(routing.choices.size());
    for (int rank = 0; rank < routing.ranks; ++rank) {
      const std::int64_t first = routing.choice_begin[size_of(routing.rank_begin[size_of(rank)])];
      const std::int64_t end = routing.choice_begin[size_of(routing.rank_begin[size_of(rank) + 1])];
      for (std::int64_t c = first; c < end; ++c) {
        SIM_CHECK(routing.choices[size_of(c)] < routing.experts,
                  "a choice names an expert of this layer");
        const std::int32_t slot = load.least(input.placement.copies(routing.choices[size_of(c)]));
        load.add(slot, 1);
        out.slot_of_choice[size_of(c)] = slot;
        ++out.rows[size_of(rank) * size_of(out.slots) + size_of(slot)];
      }
    }
    return;
  }
  split_counts(input, out, [&](int, std::int64_t count, Copies copies, std::int64_t* rows) {
    fill_to_level(count, first_copy_per_rank(input.placement, copies), load, rows);
  });
}

const ReplicaSplit& find_replica_split(std::string_view name) {
  std::vector<std::string> names;
  for (const ReplicaSplit& split : kReplicaSplits) {
    if (split.name == name) return split;
    names.emplace_back(split.name);
  }
  throw Error(fmt::format("unknown replica split '{}'", name), suggest(name, names));
}

void assign_slots(const ReplicaSplit& split, const SplitInput& input, SlotAssignment& out) {
  SIM_CHECK(input.routing.experts == input.placement.experts, "routing and placement agree");
  SIM_CHECK(input.ranks_per_node > 0, "a node has ranks");
  out.source_ranks = input.routing.ranks;
  out.slots = input.placement.slot_count();
  out.slot_of_choice.clear();
  out.rows.assign(size_of(out.source_ranks) * size_of(out.slots), 0);
  split.assign(input, out);
}

}  // namespace sim
