// What the dispatch algorithms share of the constants' form (topologies/cluster.h): serial starts
// and copying SMs.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/policies/collectives/exchange.h"

namespace sim {

// Fitted constants were fitted to whole operations: the latency of the links is inside them.
bool includes_latency(const StartupCost& cost);

// What one rank has to send, seen from the tokens it owns.
struct RankCopies {
  double sent = 0;      // copies, those for itself included
  double nodes = 0;     // distinct nodes touched, its own included, summed over tokens
  double messages = 0;  // other ranks that it sends to
  double tokens = 0;
};
double copy_seconds(const Exchange& exchange, const StartupCost& cost, int nodes,
                    const RankCopies& copies, bool per_row);
// The start-up of one rank; raises the body's floor where the form has one.
Duration startup_of_rank(const Exchange& exchange, const StartupCost& cost, int nodes,
                         const RankCopies& copies, CollectiveBody& body);

// SM time (seconds) that rank `source` spends on copying its tokens. `per_row`: one copy per
// (token, expert) on the SMs of the low-latency kernels, else one per rank and node.
double copy_seconds(const Exchange& exchange, const StartupCost& cost, int source, bool per_row);

// The start-up of every rank of an operation without stages: a message to every other rank that
// `copies` names, and in a dispatch the size exchange.
void set_startup(const Exchange& exchange, const StartupCost& cost,
                 const std::vector<std::int64_t>& copies, CollectiveBody& body);

// The start-up of every rank of an operation in stages: the size exchange of a dispatch. The stages
// have starts of their own.
void set_startup_of_stages(const Exchange& exchange, const StartupCost& cost, CollectiveBody& body);

// The serial start of one stage that is a kernel of its own, in which a rank sends `messages`
// messages to other ranks of `ranks` on `nodes` nodes; none for no messages.
Duration stage_start(const Exchange& exchange, const StartupCost& cost, int ranks, int nodes,
                     int messages);

}  // namespace sim
