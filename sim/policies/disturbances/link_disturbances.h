// Lets disturbances happen to the links of one run.
//
// Where several capacities hold at once, the lowest counts. Capacities and failures are ordinary
// events, so that a run waits for a link that comes back; phases of background traffic are
// background events, because a load that goes on and off for ever is no reason to go on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "sim/core/event_loop.h"
#include "sim/policies/collectives/cluster_network.h"
#include "sim/policies/disturbances/link_disturbance.h"

namespace sim {

class LinkDisturbances {
 public:
  // Keeps references. REQUIRES: made before the clock has moved, and outlives the run.
  LinkDisturbances(std::vector<LinkDisturbance> disturbances, EventLoop& loop,
                   ClusterNetwork& network, std::uint64_t seed);
  ~LinkDisturbances();
  LinkDisturbances(const LinkDisturbances&) = delete;
  LinkDisturbances& operator=(const LinkDisturbances&) = delete;

  // The run is over: nothing more happens, and no event of a disturbance holds up the clock.
  void stop();

  // Capacity over the link's own, mean since the last mark() (or the start). 1 for a moment.
  double mean_share(LinkId link) const;
  void mark();

 private:
  struct Disturbed {
    LinkId link;
    std::vector<std::pair<std::size_t, double>> shares;  // (disturbance, share) that hold now
    double share = 1;
    double sum = 0;  // of share times picoseconds, from `marked` to `since`
    Time since;
    Time marked;
  };
  struct Jitter {
    const LatencyJitter* spec;
    RandomStream random;
  };

  void at(Time when, EventLoop::Handler handler);
  Disturbed& disturbed(LinkId link);
  void begin_capacity(std::size_t number);
  void set_share(std::size_t number, const CapacityStep& step);
  void detect_failure(std::size_t number);
  void begin_background(std::size_t number);
  void add_load(std::size_t number);
  void begin_phase(std::size_t number, bool on);
  void begin_jitter(std::size_t number);
  Duration delay_of(std::span<const ResourceUse> uses);

  std::vector<LinkDisturbance> disturbances_;
  EventLoop& loop_;
  ClusterNetwork& network_;
  std::uint64_t seed_;
  std::vector<EventLoop::Handle> events_;
  std::vector<std::int32_t> index_;  // by link: into disturbed_; -1: never disturbed
  std::vector<Disturbed> disturbed_;
  std::vector<std::vector<ResourceId>> gates_;  // by disturbance and its links: bounds the load
  std::vector<Jitter> jitters_;
  std::vector<std::vector<std::uint32_t>> jitters_of_;  // by resource: into jitters_
  std::vector<std::uint32_t> met_;                      // scratch of delay_of
  bool stopped_ = false;
};

}  // namespace sim
