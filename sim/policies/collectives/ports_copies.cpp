#include "sim/policies/collectives/ports_copies.h"

#include <algorithm>
#include <string>

#include "sim/core/error.h"
#include "sim/policies/collectives/token_slots.h"
#include "traces/distinct_places.h"

namespace sim {
namespace {

// Counts of one source by rank or node, with a list of those that are not zero.
class SourceCounts {
 public:
  explicit SourceCounts(std::size_t size) : counts_(size, 0) {}
  void add(std::size_t i, std::int64_t count) {
    if (count == 0) return;
    if (counts_[i] == 0) touched_.push_back(i);
    counts_[i] += count;
  }
  // Visits (index, count) with ascending index, and starts afresh.
  template <class Visit>
  void take(Visit visit) {
    std::sort(touched_.begin(), touched_.end());
    for (const std::size_t i : touched_) {
      visit(i, counts_[i]);
      counts_[i] = 0;
    }
    touched_.clear();
  }

 private:
  std::vector<std::int64_t> counts_;
  std::vector<std::size_t> touched_;
};

void append(SparseCopies& table, std::size_t part, std::int64_t units) {
  if (table.entries.size() >= PortCopies::kMostPairs) {
    throw Error("an exchange in which more than " + std::to_string(PortCopies::kMostPairs) +
                    " pairs of ranks exchange tokens does not fit memory",
                "lower tokens_per_gpu or the number of GPUs");
  }
  SIM_CHECK(units <= 0xffffffffLL, "copies between two ranks fit 32 bits");
  table.entries.push_back({static_cast<std::int32_t>(part), static_cast<std::uint32_t>(units)});
}

void end_source(SparseCopies& table) {
  table.begin.push_back(static_cast<std::uint32_t>(table.entries.size()));
}

void start(PortForm form, std::span<const int> node_of_rank, PortCopies& out) {
  out = PortCopies{};
  out.form = form;
  out.ranks = static_cast<int>(node_of_rank.size());
  for (const int node : node_of_rank) out.nodes = std::max(out.nodes, node + 1);
  out.to_ranks.begin.push_back(0);
  out.to_nodes.begin.push_back(0);
}

// Appends a source whose copies per rank and node have been counted.
void finish_source(std::size_t source, int home, SourceCounts& by_rank, SourceCounts& by_node,
                   PortCopies& out) {
  std::int64_t own = 0;
  by_rank.take([&](std::size_t rank, std::int64_t count) {
    if (rank == source) {
      own = count;
    } else {
      append(out.to_ranks, rank, count);
    }
  });
  std::int64_t nodes = 0;
  by_node.take([&](std::size_t node, std::int64_t count) {
    nodes += count;
    if (out.form == PortForm::kPerNode && static_cast<int>(node) != home) {
      append(out.to_nodes, node, count);
    }
  });
  out.own.push_back(own);
  out.node_sum.push_back(nodes);
  end_source(out.to_ranks);
  end_source(out.to_nodes);
}

// Rank or node of each slot.
struct PlaceOfSlot {
  std::vector<std::int32_t> rank;
  std::vector<std::int32_t> node;

  PlaceOfSlot(const ExpertPlacement& placement, std::span<const int> node_of_rank,
              std::int32_t slots) {
    for (std::int32_t slot = 0; slot < slots; ++slot) {
      rank.push_back(placement.rank_of(slot));
      node.push_back(node_of_rank[static_cast<std::size_t>(rank.back())]);
    }
  }
};

// Each token of the source once per place that one of its choices lies on, the places not zero into
// `sum`. `counts` has an entry per place, all 0, and is left so.
void count_distinct(const LayerRouting& routing, const SlotAssignment& assignment,
                    std::size_t source, const std::vector<std::int32_t>& place_of_slot,
                    DistinctPlaces& distinct, std::vector<std::int64_t>& counts,
                    SourceCounts& sum) {
  const std::int64_t first = routing.rank_begin[source];
  const std::int64_t end = routing.rank_begin[source + 1];
  for (std::int64_t t = first; t < end; ++t) {
    distinct.add(slots_of_token(routing, assignment, t), place_of_slot.data(), counts.data());
  }
  const auto take = [&](std::size_t place) {
    sum.add(place, counts[place]);
    counts[place] = 0;
  };
  if (end - first >= static_cast<std::int64_t>(counts.size())) {
    for (std::size_t place = 0; place < counts.size(); ++place) take(place);
    return;
  }
  // Few tokens touch few of thousands of places: look where they went.
  for (std::int64_t t = first; t < end; ++t) {
    for (const std::int32_t slot : slots_of_token(routing, assignment, t)) {
      take(static_cast<std::size_t>(place_of_slot[static_cast<std::size_t>(slot)]));
    }
  }
}

}  // namespace

void count_port_copies(const LayerRouting& routing, const SlotAssignment& assignment,
                       const ExpertPlacement& placement, std::span<const int> node_of_rank,
                       int top_k, PortForm form, PortCopies& out) {
  start(form, node_of_rank, out);
  const std::size_t ranks = node_of_rank.size();
  const std::size_t nodes = static_cast<std::size_t>(out.nodes);
  const std::size_t slots = static_cast<std::size_t>(assignment.slots);
  const bool distinct = form != PortForm::kPerRow;
  out.estimated = distinct && !routing.per_token;
  SourceCounts rows(ranks), node_rows(nodes), by_rank(ranks), by_node(nodes);
  const PlaceOfSlot place_of(placement, node_of_rank, assignment.slots);
  DistinctPlaces distinct_ranks(ranks), distinct_nodes(nodes);
  std::vector<std::int64_t> rank_counts(ranks, 0), node_counts(nodes, 0);
  for (std::size_t s = 0; s < ranks; ++s) {
    if (distinct && routing.per_token) {
      count_distinct(routing, assignment, s, place_of.rank, distinct_ranks, rank_counts, by_rank);
      count_distinct(routing, assignment, s, place_of.node, distinct_nodes, node_counts, by_node);
      out.tokens.push_back(routing.tokens_of(static_cast<int>(s)));
      finish_source(s, node_of_rank[s], by_rank, by_node, out);
      continue;
    }
    std::int64_t total = 0;
    for (std::size_t slot = 0; slot < slots; ++slot) {
      const std::int64_t count = assignment.rows[s * slots + slot];
      if (count == 0) continue;
      rows.add(static_cast<std::size_t>(placement.rank_of(static_cast<std::int32_t>(slot))), count);
      total += count;
    }
    const std::int64_t tokens = !routing.rank_begin.empty() ? routing.tokens_of(static_cast<int>(s))
                                                            : (top_k > 0 ? total / top_k : 0);
    out.tokens.push_back(tokens);
    rows.take([&](std::size_t rank, std::int64_t count) {
      if (distinct) node_rows.add(static_cast<std::size_t>(node_of_rank[rank]), count);
      by_rank.add(rank, distinct ? expected_distinct(count, tokens, top_k) : count);
    });
    node_rows.take([&](std::size_t node, std::int64_t count) {
      by_node.add(node, expected_distinct(count, tokens, top_k));
    });
    finish_source(s, node_of_rank[s], by_rank, by_node, out);
  }
}

PortCopies port_copies(const CopyCounts& counts, std::span<const int> node_of_rank, PortForm form) {
  PortCopies out;
  start(form, node_of_rank, out);
  const std::size_t ranks = static_cast<std::size_t>(counts.ranks);
  const std::size_t nodes = static_cast<std::size_t>(counts.nodes);
  out.estimated = form != PortForm::kPerRow && counts.estimated;
  out.tokens = counts.tokens;
  SourceCounts by_rank(ranks), by_node(nodes);
  const std::vector<std::int64_t>& table =
      form == PortForm::kPerRow ? counts.rows : counts.rank_copies;
  for (std::size_t s = 0; s < ranks; ++s) {
    for (std::size_t d = 0; d < ranks; ++d) by_rank.add(d, table[s * ranks + d]);
    if (form != PortForm::kPerRow) {
      for (std::size_t n = 0; n < nodes; ++n) by_node.add(n, counts.node_copies[s * nodes + n]);
    }
    finish_source(s, node_of_rank[s], by_rank, by_node, out);
  }
  return out;
}

}  // namespace sim
