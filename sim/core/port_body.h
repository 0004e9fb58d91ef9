// What a collective moves at port granularity, as a value: per part a send and a receive over each
// of its two kinds of port, and who exchanges with whom. How it runs: port_run.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sim/core/max_min_fair.h"
#include "sim/core/units.h"

namespace sim {

// A part's place in the network: endpoint 2p is its scale-up side (and its own memory), 2p + 1 its
// NICs.
struct PortPairs {
  struct Pair {
    std::int32_t other;         // endpoint at the other side
    std::uint32_t units;        // of PortBody::unit bytes, at this side
    std::uint32_t units_there;  // at the other side; differs where what is sent is passed on
  };
  std::vector<std::uint32_t> begin;  // endpoints + 1
  std::vector<Pair> pairs;

  std::span<const Pair> of(std::size_t endpoint) const {
    return {pairs.data() + begin[endpoint], pairs.data() + begin[endpoint + 1]};
  }
};

// The same pairs seen from the other side, in O(pairs). Endpoints of a group ascend.
PortPairs transposed(const PortPairs& pairs);

struct PortBody {
  // REQUIRES: bytes are unit * the units of its pairs and, of a send, what stays inside the part.
  // No part is paired with itself.
  struct Port {
    Bytes bytes;       // zero: nothing to do
    double flows = 0;  // transfers between single pairs that it stands for: its share weight
    std::uint32_t uses_begin = 0;
    std::uint32_t uses_end = 0;
  };
  std::vector<Port> ports;        // endpoint e: its send 2e, its receive 2e + 1
  std::vector<Duration> latency;  // per part: from when it was reached to its first byte
  std::vector<ResourceUse> uses;
  Bytes unit;
  PortPairs by_sender;
  PortPairs by_receiver;  // the same pairs
  // A part also waits for this port of another one, which passes its bytes on.
  struct Hold {
    std::uint32_t port;
    std::int32_t part;
  };
  std::vector<Hold> holds;  // by port, ascending

  std::size_t parts() const { return ports.size() / 4; }
};

}  // namespace sim
