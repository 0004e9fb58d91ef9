#include "topologies/cluster.h"

#include <utility>

namespace sim {
namespace {

bool holds(ConstantsScope scope, int nodes) {
  if (scope == ConstantsScope::kAny) return true;
  return (scope == ConstantsScope::kOneNode) == (nodes <= 1);
}

// The first entry that `fits`, one made for this scope before one made for any.
template <class Constants, class Fits>
const Constants* best(const std::vector<Constants>& list, int nodes, Fits fits) {
  const Constants* found = nullptr;
  for (const Constants& entry : list) {
    if (!holds(entry.scope, nodes) || !fits(entry)) continue;
    if (entry.scope != ConstantsScope::kAny) return &entry;
    if (found == nullptr) found = &entry;
  }
  return found;
}

}  // namespace

std::string_view to_text(LinkKind kind) {
  switch (kind) {
    case LinkKind::kNvlink:
      return "nvlink";
    case LinkKind::kPcie:
      return "pcie";
    case LinkKind::kNic:
      return "nic";
    case LinkKind::kFabric:
      return "fabric";
    case LinkKind::kHost:
      return "host";
  }
  return "?";
}

std::string_view to_text(ConstantsScope scope) {
  switch (scope) {
    case ConstantsScope::kAny:
      return "any";
    case ConstantsScope::kOneNode:
      return "one-node";
    case ConstantsScope::kSeveralNodes:
      return "several-nodes";
  }
  return "?";
}

const AlgorithmConstants* find_constants(const Cluster& cluster, std::string_view algorithm,
                                         int nodes, std::string_view library) {
  if (!library.empty()) {
    const AlgorithmConstants* own =
        best(cluster.communication, nodes, [&](const AlgorithmConstants& entry) {
          return entry.algorithm == algorithm && entry.library == library;
        });
    if (own != nullptr) return own;
  }
  return best(cluster.communication, nodes,
              [&](const AlgorithmConstants& entry) { return entry.algorithm == algorithm; });
}

const CollectiveConstants* find_collective(const Cluster& cluster, std::string_view algorithm,
                                           std::string_view operation, int nodes, int ranks,
                                           Bytes bytes) {
  const CollectiveConstants* found = nullptr;
  const auto rank_of = [](const CollectiveConstants& entry) {
    return std::pair(entry.scope != ConstantsScope::kAny, entry.from_bytes_per_rank);
  };
  for (const CollectiveConstants& entry : cluster.collectives) {
    if (entry.algorithm != algorithm || entry.operation != operation) continue;
    if (!holds(entry.scope, nodes) || ranks < entry.least_ranks) continue;
    if (bytes.count() / ranks < entry.from_bytes_per_rank.count()) continue;
    if (found == nullptr || rank_of(entry) > rank_of(*found)) found = &entry;
  }
  return found;
}

double serial_seconds(const CollectiveConstants& constants, double steps, Bytes bytes, int ranks) {
  const double size = static_cast<double>(bytes.count());
  double seconds = to_seconds(constants.base) + to_seconds(constants.per_step) * steps;
  if (constants.local_copy) seconds += size / ranks / constants.local_copy->count();
  if (constants.ramp > Duration(0)) {
    seconds += to_seconds(constants.ramp) * size /
               (size + static_cast<double>(constants.ramp_bytes.count()));
  }
  return seconds;
}

}  // namespace sim
