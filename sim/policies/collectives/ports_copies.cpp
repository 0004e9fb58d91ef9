#include "sim/policies/collectives/ports_copies.h"

#include <algorithm>
#include <string>

#include "sim/core/error.h"

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

// Each token once per rank and node that one of its choices lies on.
void count_distinct(const LayerRouting& routing, const SlotAssignment& assignment,
                    const ExpertPlacement& placement, std::span<const int> node_of_rank,
                    std::size_t source, std::vector<std::int64_t>& rank_seen,
                    std::vector<std::int64_t>& node_seen, SourceCounts& by_rank,
                    SourceCounts& by_node) {
  for (std::int64_t t = routing.rank_begin[source]; t < routing.rank_begin[source + 1]; ++t) {
    const auto token = static_cast<std::size_t>(t);
    for (std::int64_t c = routing.choice_begin[token]; c < routing.choice_begin[token + 1]; ++c) {
      const auto rank = static_cast<std::size_t>(
          placement.rank_of(assignment.slot_of_choice[static_cast<std::size_t>(c)]));
      if (rank_seen[rank] != t) {
        rank_seen[rank] = t;
        by_rank.add(rank, 1);
      }
      const auto node = static_cast<std::size_t>(node_of_rank[rank]);
      if (node_seen[node] != t) {
        node_seen[node] = t;
        by_node.add(node, 1);
      }
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
  std::vector<std::int64_t> rank_seen(ranks, -1), node_seen(nodes, -1);
  for (std::size_t s = 0; s < ranks; ++s) {
    if (distinct && routing.per_token) {
      count_distinct(routing, assignment, placement, node_of_rank, s, rank_seen, node_seen, by_rank,
                     by_node);
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
    const std::int64_t tokens = routing.per_token ? routing.tokens_of(static_cast<int>(s))
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
