// A collective at port granularity: per part a send and a receive over its scale-up port and over
// its NIC, instead of a transfer per pair of parts. The solver sees four transfers per part; memory
// and work grow with the pairs that exchange anything, a few bytes and a few additions each.
//
// What is kept of a pair (s, d): d receives its bytes no earlier than s may send them, and neither
// of the two is done before the other's port has come to this pair:
//   - A port works on what is available. One-sided: a part's send when the part was reached, a
//     receive as its senders are. Rendezvous: both when both parts were reached.
//   - A port serves its pairs at equal rates, as max-min sharing does when nothing else limits
//   them:
//     a pair of b bytes is through when the port has moved the sum over its pairs of min(b, bytes).
//     That is looked at in kSizeClasses classes of pair sizes, each at the mean of its pairs.
//     Beside other traffic a port weighs as much as the pairs that are not through.
//   - A part ends when its own sends and receives have ended and each of its pairs is through at
//   the
//     other side's port too.
// What is lost: a receive does not slow down the sends that feed it (nor the other way round) while
// they run, only when they end. The error is measured: sim/policies/collectives/fidelity.md.
//
// So that many staggered senders do not restart every receive one by one, a receive that has run
// dry waits until 1/kWaves of its bytes are there, or all of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/core/collective_body.h"
#include "sim/core/event_loop.h"
#include "sim/core/fluid_network.h"
#include "sim/core/port_body.h"

namespace sim {

class PortRun {
 public:
  static constexpr int kWaves = 16;
  static constexpr int kSizeClasses = 8;

  // Keeps references. A transfer of port q is started with the tag `tag_base` + q.
  PortRun(const PortBody& body, StartRule start, EventLoop& loop, FluidNetwork& network,
          std::uint64_t tag_base);

  void reach(std::int32_t part);
  void transfer_ended(std::uint32_t port);

  // A part that is done, and the part whose arrival started what ended last.
  struct Served {
    std::int32_t part;
    std::int32_t initiator;
  };
  // Taken by the caller after each call above; in the order of their ends.
  std::vector<Served> take_served();

 private:
  struct Port {
    std::int64_t total = 0;
    std::int64_t available = 0;
    std::int64_t done = 0;
    std::int64_t flying = 0;
    std::int32_t initiator = -1;
    bool supplied = false;                        // in supplied_
    std::int32_t size_class = 0;                  // the first one that is not through
    std::uint32_t largest[kSizeClasses] = {};     // pair of a class, units
    float active[kSizeClasses + 1] = {};          // share of the pairs in this class and above
    std::int64_t through[kSizeClasses + 1] = {};  // bytes moved when a class is, and all
  };
  struct Part {
    std::int64_t outstanding = 0;  // its ports, and its pairs at the other side
    bool reached = false;
    bool open = false;  // reached, and its latency has passed
  };
  std::span<const PortPairs::Pair> pairs_of(std::size_t port) const {
    return (port % 2 == 0 ? body_.by_sender : body_.by_receiver).of(port / 2);
  }
  void prepare(std::size_t port);
  void set_classes(std::size_t port, std::int64_t units);
  void open(std::int32_t part);
  void open_endpoint(std::size_t endpoint, std::int32_t part);
  void supply(std::size_t port, std::int64_t bytes, std::int32_t initiator);
  void advance_supplied();
  void advance(std::size_t port);
  void pass_classes(std::size_t port);
  void count_down(std::int32_t part, std::int32_t initiator);

  const PortBody& body_;
  StartRule start_;
  EventLoop& loop_;
  FluidNetwork& network_;
  std::uint64_t tag_base_;
  std::vector<Port> ports_;
  std::vector<Part> parts_;
  // Ports with more to move, looked at when all that happens at this instant has supplied them.
  std::vector<std::size_t> supplied_;
  std::vector<Served> served_;
};

}  // namespace sim
