// The `network:` key: at which fidelity dispatch and combine run.
#pragma once

#include <string>

#include "sim/input/yaml_reader.h"
#include "sim/policies/collectives/exchange.h"
#include "topologies/cluster.h"

namespace sim {

enum class Fidelity {
  kFlows,  // a transfer for every pair of ranks
  kPorts,  // sends and receives per rank (sim/core/port_run.h)
};
enum class FidelityWish { kAuto, kFlows, kPorts };

struct NetworkChoice {
  FidelityWish wish = FidelityWish::kAuto;
  Fidelity fidelity = Fidelity::kFlows;
  std::string why;  // of auto, for people: "auto: 256 ranks exchange, more than 128"
};

// The largest expert-parallel group that `auto` runs as flows: one skewed exchange of 128 ranks
// costs about 0.2 s of CPU, and twice the ranks cost 16 times that.
inline constexpr int kMostRanksOfAutoFlows = 128;

// Reads `network` of the scenario.
FidelityWish read_network(YamlMap& root, Mistakes& mistakes);

// What the wish comes to. A wish for ports that cannot be is a mistake that says why. `disturbed`:
// links change while it runs.
NetworkChoice choose_fidelity(FidelityWish wish, const Cluster& cluster,
                              const ExchangeAlgorithm& exchange, bool disturbed, int ranks,
                              const Place& place, Mistakes& mistakes);

// Refuses tables of ranks that would not fit memory, before they are made.
void check_exchange_size(const NetworkChoice& choice, int ranks, std::int64_t slots,
                         const Place& place, Mistakes& mistakes);

std::string fidelity_text(const NetworkChoice& choice);

}  // namespace sim
