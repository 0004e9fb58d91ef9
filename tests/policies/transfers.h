// A network over a small cluster, and the transfers of a collective as lines of text.
#pragma once

#include <fmt/format.h>

#include <map>
#include <string>
#include <vector>

#include "sim/core/event_loop.h"
#include "sim/policies/collectives/cluster_network.h"
#include "sim/policies/collectives/exchange.h"
#include "tests/support/rail_cluster.h"
#include "topologies/routes.h"

namespace sim::testing {

struct Fabric {
  explicit Fabric(Cluster given)
      : cluster(std::move(given)),
        routes(cluster),
        fluid(loop, [](std::uint64_t) {}),
        network(cluster, routes, fluid,
                std::vector<Bandwidth>(cluster.devices.size(), Bandwidth(1e12))) {}

  std::string name_of(ResourceId resource) const {
    for (std::size_t l = 0; l < cluster.links.size(); ++l) {
      if (network.link(LinkId(static_cast<std::int64_t>(l))) == resource) {
        return cluster.links[l].name;
      }
    }
    for (int d = 0; d < cluster.device_count(); ++d) {
      if (network.memory(DeviceId(d)) == resource) return fmt::format("memory{}", d);
      if (network.copy(DeviceId(d)) == resource) return fmt::format("copy{}", d);
    }
    return "?";
  }
  // "n0/gpu0/nic-up x1, memory0 x2", rounded to 6 digits.
  std::string text_of(std::span<const ResourceUse> uses) const {
    std::string text;
    for (const ResourceUse& use : uses) {
      text += fmt::format("{}{} x{:.6g}", text.empty() ? "" : ", ", name_of(use.resource),
                          use.multiplier);
    }
    return text;
  }
  // "0 > 2 3: 768 B after 2000 ns over n0/gpu0/nic-up x1, ...": senders > receivers.
  std::vector<std::string> lines_of(const CollectiveBody& body) const {
    std::vector<std::string> lines;
    for (const CollectiveBody::Transfer& t : body.transfers) {
      std::string line;
      for (std::uint32_t i = t.parties_begin; i < t.parties_end; ++i) {
        if (i == t.senders_end) line += "> ";
        line += std::to_string(body.parties[i]) + " ";
      }
      line.back() = ':';
      const auto uses = std::span(body.uses).subspan(t.uses_begin, t.uses_end - t.uses_begin);
      lines.push_back(fmt::format("{} {} B after {} ns over {}", line, t.bytes.count(),
                                  t.latency.count() / 1000, text_of(uses)));
    }
    return lines;
  }
  // "1: 0 > 2: 768": stage, sender > receiver, bytes; "1: 0: 256" inside a rank. Stage by stage.
  static std::vector<std::string> moves_of(const CollectiveBody& body) {
    std::vector<std::string> moves;
    for (std::size_t stage = 0; stage < body.stage_count(); ++stage) {
      for (const CollectiveBody::Transfer& t : body.transfers) {
        if (static_cast<std::size_t>(t.stage) != stage) continue;
        const bool local = t.senders_end == t.parties_end;
        moves.push_back(fmt::format("{}: {}{}: {}", stage, body.parties[t.parties_begin],
                                    local ? "" : fmt::format(" > {}", body.parties[t.senders_end]),
                                    t.bytes.count()));
      }
    }
    return moves;
  }
  // Bytes that the transfers put on each link that carries any.
  std::map<std::string, double> carried(const CollectiveBody& body) const {
    std::map<std::string, double> bytes;
    for (const CollectiveBody::Transfer& t : body.transfers) {
      for (std::uint32_t u = t.uses_begin; u < t.uses_end; ++u) {
        bytes[name_of(body.uses[u].resource)] +=
            body.uses[u].multiplier * static_cast<double>(t.bytes.count());
      }
    }
    return bytes;
  }

  Cluster cluster;
  Routes routes;
  EventLoop loop;
  FluidNetwork fluid;
  ClusterNetwork network;
};

// tokens[rank] = the experts of each of its tokens.
inline LayerRouting routing_of(const std::vector<std::vector<std::vector<int>>>& tokens,
                               int experts) {
  LayerRouting routing;
  routing.ranks = static_cast<int>(tokens.size());
  routing.experts = experts;
  routing.rank_begin = {0};
  routing.choice_begin = {0};
  routing.counts.assign(tokens.size() * static_cast<std::size_t>(experts), 0);
  for (std::size_t r = 0; r < tokens.size(); ++r) {
    for (const std::vector<int>& choices : tokens[r]) {
      for (const int expert : choices) {
        routing.choices.push_back(static_cast<std::uint16_t>(expert));
        ++routing.counts[r * static_cast<std::size_t>(experts) + static_cast<std::size_t>(expert)];
      }
      routing.choice_begin.push_back(static_cast<std::int64_t>(routing.choices.size()));
    }
    routing.rank_begin.push_back(static_cast<std::int64_t>(routing.choice_begin.size()) - 1);
  }
  return routing;
}

// Experts in order, `per_rank` on each rank.
inline ExpertPlacement in_order(int ranks, int per_rank) {
  std::vector<ExpertId> slots;
  for (int e = 0; e < ranks * per_rank; ++e) slots.emplace_back(e);
  return make_placement(ranks * per_rank, ranks, std::move(slots));
}

inline CopyCounts copies_of(const LayerRouting& routing, const ExpertPlacement& placement,
                            const std::vector<int>& node_of_rank, int top_k) {
  SlotAssignment assignment;
  assign_slots(find_replica_split("modulo"), {routing, placement, 1}, assignment);
  CopyCounts copies;
  count_copies(routing, assignment, placement, node_of_rank, top_k, copies);
  return copies;
}

}  // namespace sim::testing
