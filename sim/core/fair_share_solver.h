// The running max-min solver: keeps the fair levels of all transfers in flight and re-solves only
// what a change reaches.
//
// Every transfer is held by one full resource, its bottleneck, and runs at that resource's level
// (rate per share weight). A change (a transfer starts or ends, a capacity moves) is solved by one
// upward sweep of a water level through the resources it reaches, lowest first:
//   - a resource that a change reaches becomes *pending*; its new level is the solution x of
//     sum over its transfers of load * min(x, level given by their other, settled resources) =
//     capacity;
//   - when the water reaches a pending resource's new level, it settles there and holds its rising
//   transfers;
//   - when the water reaches its old level first, the transfers it held go on rising, which reaches
//   their other resources.
// A change at water level x can only reach resources whose level is above x, so keys never fall.
// Termination: within one sweep a resource becomes pending at most once, passes its old level at
// most once and settles at most once; every other queue entry is paid for by one (transfer,
// resource) pair that was frozen or released. Levels are always computed from the transfers
// themselves, never by adding differences, so rounding does not accumulate.
//
// Service is counted per resource: a clock that advances by its level, so a change of level costs
// O(1) for the transfers it holds. Times are doubles (picoseconds since the caller's epoch), rates
// bytes per picosecond.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "sim/core/max_min_fair.h"

namespace sim {

class FairShareSolver {
 public:
  using FlowIndex = std::int32_t;
  static constexpr double kNever = std::numeric_limits<double>::infinity();
  static constexpr int kExactEvery = 1024;  // changes of a watched load before it is summed anew

  ResourceId add_resource(double capacity);
  void set_capacity(ResourceId resource, double capacity, double now);
  double capacity(ResourceId resource) const { return resources_[resource.index()].capacity; }
  std::size_t resource_count() const { return resources_.size(); }

  // Takes effect at the next settle(). REQUIRES: `uses` not empty, `amount` > 0 bytes, weight > 0,
  // cap > 0. The same resource may stand in `uses` once only.
  FlowIndex add(std::span<const ResourceUse> uses, double amount, double weight, double cap,
                double now);
  // Re-solves after additions, removals and capacity changes. Cheap when nothing changed.
  void settle(double now);
  // When the next transfer ends, at the present levels. REQUIRES: settled.
  double next_finish();
  // Removes every transfer that ends at or before `until` within one batch of simultaneous ends,
  // appends them to `finished`, and returns the time of the batch. REQUIRES: next_finish() <=
  // until.
  double take_finished(double until, std::vector<FlowIndex>& finished);

  double rate(FlowIndex flow) const;  // bytes/ps; REQUIRES: settled
  double remaining(FlowIndex flow, double now);
  std::size_t active() const { return active_; }
  std::uint64_t level_changes() const { return level_changes_; }
  // Time (ps) in which the resource had at least one transfer, up to the last end. REQUIRES: none
  // is on it now.
  double busy(ResourceId resource) const { return resources_[resource.index()].busy; }

  // For tests and debug builds: "" when the present rates are max-min fair to the tolerance.
  std::string violation(double relative_tolerance) const;

 private:
  struct Use {
    std::int32_t resource;
    std::int32_t position;  // in the resource's member list
    double load;            // multiplier * weight
  };
  struct Flow {
    std::vector<Use> uses;
    double weight = 1;
    double tag = 0;                  // value of the holder's clock at which this transfer ends
    double amount = 0;               // bytes left while nobody holds it
    std::int32_t cap_resource = -1;  // a private resource that stands for its own cap
    bool live = false;
  };
  struct Member {
    std::int32_t flow;
    std::int32_t use;
    double load;
  };
  struct Finish {
    double tag;
    std::int32_t flow;
    bool operator>(const Finish& o) const { return tag != o.tag ? tag > o.tag : flow > o.flow; }
  };
  struct Resource {
    double capacity = 0;
    double clock = 0;       // service per weight given to the transfers it holds
    double clock_time = 0;  // when `clock` was last brought up to date
    double old_level = kNever;
    double busy = 0;
    double busy_since = 0;
    double key = kNever;  // its place in the sweep while pending
    // Of the last solution: load of the frozen transfers, weight of the rising ones; adjusted since
    // by what came and went, so that (capacity - frozen) / rising bounds its level from below.
    double frozen = 0;
    double rising = 0;
    double load = 0;  // bytes/ps on it while it is not full
    std::int32_t load_changes = 0;
    std::uint32_t version = 0;
    std::int32_t held = 0;
    bool solved = false;  // `frozen` and `rising` mean something
    bool exact = false;   // while pending: `key` is its level if nothing more reaches it
    bool dirty = false;
    bool loaded = false;   // in loaded_
    bool touched = false;  // its next finish must be recomputed
    std::vector<Member> members;
    std::vector<Finish> finishes;  // heap; entries of transfers it no longer holds are skipped
  };
  struct QueueEntry {
    double key;
    std::int32_t resource;
    bool passes_old;  // the water reaches its old level (true) or its candidate level (false)
    bool operator>(const QueueEntry& o) const {
      if (key != o.key) return key > o.key;
      if (passes_old != o.passes_old) return passes_old && !o.passes_old;
      return resource > o.resource;
    }
  };
  struct NextFinish {
    double time;
    std::int32_t resource;
    std::uint32_t version;
    bool operator>(const NextFinish& o) const {
      return time != o.time ? time > o.time : resource > o.resource;
    }
  };

  void advance(std::int32_t r, double now);
  void make_pending(std::int32_t r, double now);
  void mark_dirty(std::int32_t r);
  void enqueue(std::int32_t r, double key);
  void released(std::int32_t r, double load, double water);
  void sweep(double now);
  void check_watched();
  void settle_not_full(std::int32_t r);
  double solve_level(std::int32_t r);
  void settle_resource(std::int32_t r, double level, double now);
  void pass_old_level(std::int32_t r, double now);
  void hold(std::int32_t flow, std::int32_t r, double now);
  void remove(FlowIndex flow, double now);
  void touch(std::int32_t r);
  void refresh_finishes(double now);
  bool valid(std::int32_t r, const Finish& finish) const;

  std::vector<Resource> resources_;
  std::vector<double> level_;               // per resource; kNever: not full
  std::vector<std::uint8_t> pending_flag_;  // per resource: its level is open in this sweep
  std::vector<Flow> flows_;
  std::vector<std::int32_t> holder_;  // per flow; -1: nobody yet
  std::vector<double> lambda_;        // per flow: its level when it was last settled
  std::vector<FlowIndex> free_flows_;
  std::vector<std::int32_t> free_cap_resources_;
  std::vector<std::int32_t> dirty_;  // to become pending at the next settle
  std::vector<std::int32_t> pending_;
  std::vector<std::int32_t> loaded_;  // not full, and the load has changed in this sweep
  bool eager_ = false;                // resources that are not full take part in the sweep
  std::vector<std::int32_t> touched_;
  std::vector<QueueEntry> queue_;
  std::vector<NextFinish> next_;
  std::vector<std::pair<double, double>>
      scratch_;  // (level elsewhere, load) of one resource's transfers
  std::size_t active_ = 0;
  std::uint64_t level_changes_ = 0;
};

}  // namespace sim
