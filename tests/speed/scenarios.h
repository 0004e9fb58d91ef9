// What the solver's speed is measured with: exchanges between all GPUs of a rail-optimised cluster.
//
// Nodes of 8 GPUs, NVLink of 450 GB/s inside a node, one NIC of 50 GB/s per GPU, leaves of 16 nodes
// per rail, a spine per uplink chosen by a hash of the pair (static ECMP) or, with ideal spraying,
// one fat link per leaf and direction. Inside a node: NVLink up and down. Same leaf: NIC up and
// down. Else four links.
#pragma once

#include <string>
#include <vector>

#include "sim/workloads/flows/flow_set.h"

namespace sim::speed {

struct Scenario {
  int gpus = 16;  // a multiple of 8
  // uniform: equal sizes. skew: Zipf(0.8) popularity of receivers times a log-normal factor, so no
  // two sizes are equal. tokens: whole tokens of 7168 bytes drawn from the same law. All: 4096
  // tokens x 8 experts x 7168 bytes per GPU.
  // staggered: skew, each GPU starting at its own time. slow-nic: skew, one NIC at a quarter.
  // decode: a DeepSeek-V3 decode step, 58 layers of dispatch (fp8) and combine (bf16), 128 tokens
  // per GPU, 8 of 256 experts, GPUs reaching each exchange at different times.
  std::string pattern = "uniform";
  bool ideal_spraying = false;
  double oversubscription = 1;  // node ports of a leaf over its uplinks
};

// The patterns by name.
const std::vector<std::string>& patterns();

FlowSet make(const Scenario& scenario);

}  // namespace sim::speed
