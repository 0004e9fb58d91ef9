#include "sim/policies/disturbances/link_disturbances.h"

#include <algorithm>
#include <string>
#include <utility>

#include "sim/core/error.h"

namespace sim {

LinkDisturbances::LinkDisturbances(std::vector<LinkDisturbance> disturbances, EventLoop& loop,
                                   ClusterNetwork& network, std::uint64_t seed)
    : disturbances_(std::move(disturbances)),
      loop_(loop),
      network_(network),
      seed_(seed),
      index_(network.cluster().links.size(), -1),
      gates_(disturbances_.size()) {
  for (std::size_t i = 0; i < disturbances_.size(); ++i) {
    const auto& effect = disturbances_[i].effect;
    if (std::holds_alternative<CapacitySchedule>(effect)) begin_capacity(i);
    if (std::holds_alternative<BackgroundTraffic>(effect)) begin_background(i);
    if (std::holds_alternative<LatencyJitter>(effect)) begin_jitter(i);
  }
  if (!jitters_.empty()) {
    network_.fluid().set_start_delay(
        [this](std::span<const ResourceUse> uses) { return delay_of(uses); });
  }
}

LinkDisturbances::~LinkDisturbances() { stop(); }

void LinkDisturbances::stop() {
  if (stopped_) return;
  stopped_ = true;
  for (const EventLoop::Handle& event : events_) loop_.cancel(event);
  if (!jitters_.empty()) network_.fluid().set_start_delay(nullptr);
}

// At once, when that is the time: a link that is slow from the start never was fast.
void LinkDisturbances::at(Time when, EventLoop::Handler handler) {
  if (when <= loop_.now()) {
    handler();
  } else {
    events_.push_back(loop_.at(when, std::move(handler)));
  }
}

LinkDisturbances::Disturbed& LinkDisturbances::disturbed(LinkId link) {
  std::int32_t& index = index_[link.index()];
  if (index < 0) {
    index = static_cast<std::int32_t>(disturbed_.size());
    disturbed_.push_back({link, {}, 1, 0, loop_.now(), loop_.now()});
  }
  return disturbed_[static_cast<std::size_t>(index)];
}

void LinkDisturbances::begin_capacity(std::size_t number) {
  const auto& schedule = std::get<CapacitySchedule>(disturbances_[number].effect);
  SIM_CHECK(!schedule.steps.empty(), "a schedule of capacities has a step");
  for (const LinkId link : disturbances_[number].links) disturbed(link);
  for (const CapacityStep& step : schedule.steps) {
    at(step.at, [this, number, &step] { set_share(number, step); });
  }
}

void LinkDisturbances::set_share(std::size_t number, const CapacityStep& step) {
  const LinkDisturbance& disturbance = disturbances_[number];
  const auto& schedule = std::get<CapacitySchedule>(disturbance.effect);
  bool failed = false;
  for (const LinkId link : disturbance.links) {
    const double own = network_.cluster().links[link.index()].capacity.count();
    const double share = step.rate ? std::min(1.0, step.rate->count() / own) : step.share;
    Disturbed& state = disturbed(link);
    std::erase_if(state.shares, [number](const auto& each) { return each.first == number; });
    state.shares.emplace_back(number, share);
    state.sum += state.share * static_cast<double>((loop_.now() - state.since).count());
    state.since = loop_.now();
    state.share = 1;
    for (const auto& each : state.shares) state.share = std::min(state.share, each.second);
    network_.fluid().set_capacity(network_.link(link), Bandwidth(own * state.share));
    if (state.share > 0) network_.avoid(link, false);
    failed = failed || share == 0;
  }
  if (failed && schedule.reroute) {
    at(loop_.now() + *schedule.reroute, [this, number] { detect_failure(number); });
  }
}

// A link that came back and failed again in between is noticed a little early: it is down.
void LinkDisturbances::detect_failure(std::size_t number) {
  for (const LinkId link : disturbances_[number].links) {
    if (disturbed(link).share == 0) network_.avoid(link, true);
  }
}

void LinkDisturbances::begin_background(std::size_t number) {
  const auto& traffic = std::get<BackgroundTraffic>(disturbances_[number].effect);
  if (traffic.from <= loop_.now()) {
    add_load(number);
  } else {
    events_.push_back(loop_.at_background(traffic.from, [this, number] { add_load(number); }));
  }
  if (!traffic.until) return;
  events_.push_back(
      loop_.at_background(*traffic.until, [this, number] { begin_phase(number, false); }));
}

// The load uses the link and a gate of its own, whose capacity is its cap, or zero while it is off.
void LinkDisturbances::add_load(std::size_t number) {
  const LinkDisturbance& disturbance = disturbances_[number];
  for (const LinkId link : disturbance.links) {
    const ResourceId gate = network_.fluid().add_resource(Bandwidth(0));
    gates_[number].push_back(gate);
    const ResourceUse uses[] = {{network_.link(link), 1}, {gate, 1}};
    network_.fluid().start_endless(uses, std::get<BackgroundTraffic>(disturbance.effect).weight);
  }
  begin_phase(number, true);
}

void LinkDisturbances::begin_phase(std::size_t number, bool on) {
  const LinkDisturbance& disturbance = disturbances_[number];
  const auto& traffic = std::get<BackgroundTraffic>(disturbance.effect);
  const bool over = traffic.until && loop_.now() >= *traffic.until;
  for (std::size_t i = 0; i < disturbance.links.size(); ++i) {
    const Bandwidth own = network_.cluster().links[disturbance.links[i].index()].capacity;
    const Bandwidth bound = traffic.cap.value_or(own);
    network_.fluid().set_capacity(gates_[number][i], on && !over ? bound : Bandwidth(0));
  }
  if (over || !traffic.on || stopped_) return;
  loop_.at_background(loop_.now() + (on ? *traffic.on : *traffic.off), [this, number, on] {
    if (!stopped_) begin_phase(number, !on);
  });
}

void LinkDisturbances::begin_jitter(std::size_t number) {
  const LinkDisturbance& disturbance = disturbances_[number];
  const auto which = static_cast<std::uint32_t>(jitters_.size());
  jitters_.push_back({&std::get<LatencyJitter>(disturbance.effect),
                      RandomStream(seed_, "disturbance/" + std::to_string(number) + "/jitter")});
  for (const LinkId link : disturbance.links) {
    const std::size_t resource = network_.link(link).index();
    if (resource >= jitters_of_.size()) jitters_of_.resize(resource + 1);
    jitters_of_[resource].push_back(which);
  }
}

Duration LinkDisturbances::delay_of(std::span<const ResourceUse> uses) {
  met_.clear();
  for (const ResourceUse& use : uses) {
    if (use.resource.index() >= jitters_of_.size()) continue;
    for (const std::uint32_t which : jitters_of_[use.resource.index()]) {
      if (std::find(met_.begin(), met_.end(), which) == met_.end()) met_.push_back(which);
    }
  }
  std::sort(met_.begin(), met_.end());
  Duration delay{0};
  for (const std::uint32_t which : met_) {
    Jitter& jitter = jitters_[which];
    if (loop_.now() < jitter.spec->from) continue;
    if (jitter.spec->until && loop_.now() >= *jitter.spec->until) continue;
    delay += jitter.spec->delay.draw(jitter.random);
  }
  return delay;
}

double LinkDisturbances::mean_share(LinkId link) const {
  const std::int32_t index = index_[link.index()];
  if (index < 0) return 1;
  const Disturbed& state = disturbed_[static_cast<std::size_t>(index)];
  const auto span = static_cast<double>((loop_.now() - state.marked).count());
  if (span <= 0) return 1;
  return (state.sum + state.share * static_cast<double>((loop_.now() - state.since).count())) /
         span;
}

void LinkDisturbances::mark() {
  for (Disturbed& state : disturbed_) {
    state.sum = 0;
    state.since = state.marked = loop_.now();
  }
}

}  // namespace sim
