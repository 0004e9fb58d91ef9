// Looks at the use of every link from time to time and keeps it for the step, so that the busiest
// can be told as counters.
//
// The period begins at a quarter of a microsecond and doubles whenever a step has given `kept`
// samples, every second of which then goes: memory is bounded and a step of any length has at least
// half as many.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "analysis/timeline.h"
#include "sim/core/event_loop.h"
#include "sim/policies/collectives/cluster_network.h"
#include "sim/policies/collectives/ports_network.h"

namespace sim {

class LinkSampler {
 public:
  static constexpr std::size_t kShown = 8;

  // Keeps references. `ports`: null without them; else its cuts count as links.
  LinkSampler(EventLoop& loop, ClusterNetwork& network, PortNetwork* ports);
  ~LinkSampler();
  LinkSampler(const LinkSampler&) = delete;
  LinkSampler& operator=(const LinkSampler&) = delete;

  // A counter for each of the links used most since the last clear(), in percent of capacity; zero
  // at `end`.
  void write(TimelineWriter& writer, int process, Time end);
  void clear(Time now);  // a new step begins

 private:
  struct Used {
    std::int32_t link;  // into links_
    float percent;
  };
  struct Sample {
    Time time;
    std::vector<Used> used;
  };
  void schedule(Time when);
  void sample();

  EventLoop& loop_;
  const FluidNetwork& network_;
  std::vector<std::pair<std::string, ResourceId>> links_;
  std::size_t kept_;
  Duration period_;
  std::vector<Sample> samples_;
  EventLoop::Handle next_;
  bool named_ = false;
};

}  // namespace sim
