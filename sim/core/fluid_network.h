// Transfers in flight over shared resources, on the event loop.
//
// A transfer's rate is max-min fair at every instant (fair_share_solver.h). Ends are kept as
// unrounded times and settled in time order inside a tick; only the end told to the listener is
// rounded up to a tick.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "sim/core/event_loop.h"
#include "sim/core/fair_share_solver.h"
#include "sim/core/id.h"
#include "sim/core/units.h"

namespace sim {

class FluidNetwork {
 public:
  // Called on the event loop when a transfer has ended, with the tag given at its start.
  using Listener = std::function<void(std::uint64_t tag)>;

  FluidNetwork(EventLoop& loop, Listener listener);
  FluidNetwork(const FluidNetwork&) = delete;
  FluidNetwork& operator=(const FluidNetwork&) = delete;

  ResourceId add_resource(Bandwidth capacity);
  void set_capacity(ResourceId resource, Bandwidth capacity);  // from now on; zero starves
  Bandwidth capacity(ResourceId resource) const;
  std::uint64_t capacity_changes() const { return capacity_changes_; }
  std::size_t resource_count() const { return solver_.resource_count(); }

  struct Options {
    double weight = 1;                                     // share weight
    double cap = std::numeric_limits<double>::infinity();  // bytes/s
  };
  // Starts now. REQUIRES: bytes > 0 and `uses` not empty.
  void start(std::span<const ResourceUse> uses, Bytes bytes, std::uint64_t tag, Options options);
  void start(std::span<const ResourceUse> uses, Bytes bytes, std::uint64_t tag) {
    start(uses, bytes, tag, Options{});
  }

  // A load without end that takes its max-min share from now on; it is no transfer to active(). To
  // bound it or to switch it off, let it use a resource of its own too and set its capacity.
  void start_endless(std::span<const ResourceUse> uses, double weight);
  // Asked at every start(): how much later the bytes begin to flow. One at a time; null: not at
  // all.
  using StartDelay = std::function<Duration(std::span<const ResourceUse> uses)>;
  void set_start_delay(StartDelay delay) { start_delay_ = std::move(delay); }

  // Seconds the transfer would take with every resource to itself: max over uses of bytes *
  // multiplier / capacity.
  double seconds_alone(std::span<const ResourceUse> uses, Bytes bytes) const;

  std::size_t active() const { return solver_.active() - endless_ + deliveries_.size() + delayed_; }
  // True when transfers are on a resource without capacity.
  bool starves(ResourceId resource) const {
    return solver_.capacity(resource) == 0 && solver_.transfers_on(resource) > 0;
  }
  // Bytes that flow through it now, of what it could carry: 0 to 1; 0 without capacity. Between two
  // events of the network; at the instant of one it may still be that of before.
  double utilisation(ResourceId resource) const {
    const double most = solver_.capacity(resource);
    return most > 0 ? solver_.load(resource) / most : 0;
  }
  std::uint64_t transfers_started() const { return started_; }
  std::uint64_t level_changes() const { return solver_.level_changes(); }
  // Time in which it had at least one transfer, an endless load included. REQUIRES: no transfer is
  // in flight.
  double busy_seconds(ResourceId resource) const {
    return solver_.busy(resource, offset()) * 1e-12;
  }
  std::string violation(double relative_tolerance) const {
    return solver_.violation(relative_tolerance);
  }

 private:
  void start_now(std::span<const ResourceUse> uses, Bytes bytes, std::uint64_t tag,
                 Options options);
  double offset() const;  // ps since the epoch
  void advance_to_now();
  void request_settle();
  void settle();
  void on_finish();
  void deliver();
  void schedule_next();

  EventLoop& loop_;
  Listener listener_;
  FairShareSolver solver_;
  Time
      epoch_{};  // moves to now whenever nothing is in flight, so that offsets stay small and exact
  std::vector<std::uint64_t> tags_;  // per flow index of the solver
  std::vector<FairShareSolver::FlowIndex> finished_;
  std::vector<std::uint64_t> deliveries_;
  EventLoop::Handle next_event_;
  Time next_time_{};
  bool next_scheduled_ = false;
  bool settle_requested_ = false;
  bool delivery_requested_ = false;
  std::uint64_t started_ = 0;
  std::uint64_t capacity_changes_ = 0;
  std::size_t endless_ = 0;
  std::size_t delayed_ = 0;  // asked for and not begun
  StartDelay start_delay_;
};

}  // namespace sim
