// The running max-min solver: keeps the fair levels of all transfers in flight and re-solves only
// what a change reaches. Transfers, clocks and ends are in fair_share_solver.cpp, the sweep in
// fair_share_sweep.cpp, what it tells other resources in fair_share_push.cpp, and when loads are
// summed anew in fair_share_sums.cpp.
//
// Every transfer is held by one full resource, its bottleneck, and runs at that resource's level
// (rate per share weight). With F the load of the transfers held elsewhere (frozen) and R the load
// per level of those it holds (rising), the level of a full resource is (capacity - F) / R.
//
// A change (a transfer starts or ends, a capacity moves) is solved by one upward sweep of a water
// level through the resources it reaches, lowest first:
//   - a resource that a change reaches becomes *pending*; its candidate is (capacity - F) / R, less
//     what it would take from resources whose level is higher (capture);
//   - when the water reaches the candidate, the resource settles there and holds what still rises;
//     the difference is pushed to the other resources of what it holds, F += load * difference;
//   - when the water reaches its old level first, it lets its transfers go on rising (they are
//     *loose*), which reaches their other resources. If nothing else can happen between its old
//     level and its candidate, it jumps there without letting go.
// A change at water level x reaches only resources whose level is above x, so keys never fall.
// Termination: within one sweep a resource becomes pending at most once, lets go at most once and
// settles at most once; every other queue entry is paid for by one (transfer, resource) pair that
// was frozen, let go or captured.
//
// What a resource holds is kept summed per other resource (its spokes), so a push costs one
// addition per resource that it concerns. Most of them are not full, or are pending with a key far
// above: the push finds their load below an `alarm` and goes on.
//
// Error: a push rounds F by at most 2^-52 of it. F and R are summed anew from the transfers before
// the pushes since the last sum could move the level by 5e-11 of itself. A level that would move by
// less than 1e-12 of itself stays; as F goes on counting, such differences do not add up.
//
// Service is counted per resource: a clock that advances by its level, so a change of level costs
// O(1) for the transfers it holds. Times are doubles (picoseconds since the caller's epoch), rates
// bytes per picosecond.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "sim/core/lowest_first.h"
#include "sim/core/max_min_fair.h"

namespace sim {

class FairShareSolver {
 public:
  using FlowIndex = std::int32_t;
  static constexpr double kNever = std::numeric_limits<double>::infinity();

  ResourceId add_resource(double capacity);
  void set_capacity(ResourceId resource, double capacity, double now);
  double capacity(ResourceId resource) const { return shares_[resource.index()].capacity; }
  std::size_t resource_count() const { return shares_.size(); }

  // Takes effect at the next settle(). REQUIRES: `uses` not empty, `amount` > 0 bytes, weight > 0,
  // cap > 0. The same resource may stand in `uses` once only.
  FlowIndex add(std::span<const ResourceUse> uses, double amount, double weight, double cap,
                double now);
  // Re-solves after additions, removals and capacity changes. Cheap when nothing changed.
  void settle(double now);
  // When the next transfer ends, at the present levels. REQUIRES: settled.
  double next_finish() { return next_.lowest_key(); }
  // Removes every transfer that ends at or before `until` within one batch of simultaneous ends,
  // appends them to `finished`, and returns the time of the batch. REQUIRES: next_finish() <=
  // until.
  double take_finished(double until, std::vector<FlowIndex>& finished) {
    return take_finished(until, 0, finished, nullptr);
  }
  // The same for every transfer that ends within `window` of the first end, relative to its time:
  // approximate, for each of them runs to its end, appended to `ends`, at the present levels, and
  // what it frees is shared out only afterwards. The result is the last of these ends; 0: exact.
  double take_finished(double until, double window, std::vector<FlowIndex>& finished,
                       std::vector<double>* ends);

  double rate(FlowIndex flow) const;  // bytes/ps; REQUIRES: settled
  double remaining(FlowIndex flow, double now);
  std::size_t active() const { return active_; }
  std::uint64_t level_changes() const { return level_changes_; }
  std::size_t transfers_on(ResourceId resource) const {
    return resources_[resource.index()].members.size();
  }
  // Bytes per ps that flow through it. REQUIRES: settled.
  double load(ResourceId resource) const {
    const Share& s = shares_[resource.index()];
    if (transfers_on(resource) == 0) return 0;  // without the residue of rounding
    return s.level < kNever ? s.capacity : s.frozen;
  }
  // Time (ps) in which the resource had at least one transfer, up to `now`.
  double busy(ResourceId resource, double now) const {
    const Resource& at = resources_[resource.index()];
    return at.busy + (at.members.empty() ? 0 : now - at.busy_since);
  }

  // For tests and debug builds: "" when the present rates are max-min fair to the tolerance.
  std::string violation(double relative_tolerance) const;

 private:
  // Levels that differ by less are the same level: far below the 1e-9 we promise, far above
  // rounding of one sum.
  static constexpr double kSame = 1e-12;
  static constexpr double kNearlyFull = 1 - 1e-11;
  static constexpr std::uint32_t kManyChanges = 4096;  // of the load of a resource that is not full
  static double above(double level) { return level * (1 + kSame); }

  struct Use {
    std::int32_t resource;
    std::int32_t position;  // in the resource's member list
    double load;            // multiplier * weight
  };
  struct Flow {
    std::int32_t first = 0;  // its uses are uses_[first, first + count)
    std::int32_t count = 0;
    double weight = 1;
    double tag = 0;                  // value of the holder's clock at which this transfer ends
    double amount = 0;               // bytes left while nobody holds it
    std::int32_t cap_resource = -1;  // a private resource that stands for its own cap
    bool live = false;
  };
  struct Member {
    std::int32_t flow;
    std::int32_t first;   // of the flow's uses
    std::uint16_t count;  // of them
    std::uint16_t own;    // which of them is this one
  };
  struct Finish {
    double tag;
    std::int32_t flow;
    bool operator>(const Finish& o) const { return tag != o.tag ? tag > o.tag : flow > o.flow; }
  };
  enum class Phase : std::uint8_t {
    kSettled,
    kPending,  // its level is open in this sweep
    kLetGo,    // and the water has passed its old level
  };
  // What the sweep needs of a resource, in one cache line.
  struct alignas(64) Share {
    double frozen = 0;          // F
    double alarm = 0;           // a push must be looked into when F is above this
    double top = 0;             // while full: no frozen transfer has a higher level
    std::uint32_t changes = 0;  // roundings of `frozen` since it was summed
    Phase phase = Phase::kSettled;
    bool reached = false;     // in reached_
    bool on_touched = false;  // in touched_: its next end must be computed anew
    bool on_watched = false;  // in watched_
    double level = kNever;    // kNever: not full. While pending: the old one
    double rising = 0;        // R: what it holds and what is loose
    double capacity = 0;
    std::int32_t loose = 0;  // transfers on it that rise and that it does not hold
    std::int32_t held = 0;
  };
  // All transfers that a resource holds and that also use another one.
  struct Spoke {
    std::int32_t resource;
    std::int32_t count;
    double load;
  };
  struct Resource {
    double clock = 0;       // service per weight given to the transfers it holds
    double clock_time = 0;  // when `clock` was last brought up to date
    double busy = 0;
    double busy_since = 0;
    bool dirty = false;
    bool spokes_known = false;
    int spoke_edits = 0;  // since the last push
    std::vector<Spoke> spokes;
    std::vector<Member> members;   // the first `held` of them are held here
    std::vector<Finish> finishes;  // heap; entries of transfers it no longer holds are skipped
  };
  Share& share(std::int32_t r) { return shares_[static_cast<std::size_t>(r)]; }
  Resource& resource(std::int32_t r) { return resources_[static_cast<std::size_t>(r)]; }
  Flow& flow(FlowIndex f) { return flows_[static_cast<std::size_t>(f)]; }
  std::int32_t& holder(FlowIndex f) { return holder_[static_cast<std::size_t>(f)]; }
  Use& use(std::int32_t u) { return uses_[static_cast<std::size_t>(u)]; }

  // Transfers, clocks and ends.
  FlowIndex new_flow(std::int32_t count);
  void remove(FlowIndex flow, double now);
  void advance(std::int32_t r, double now);
  void mark_dirty(std::int32_t r);
  void swap_members(std::int32_t r, std::size_t a, std::size_t b);
  void hold(const Member& member, std::int32_t r, double now);
  void touch(std::int32_t r);
  void refresh_finishes(double now);
  bool valid(std::int32_t r, const Finish& finish) const;

  // The sweep.
  static double candidate(const Share& s);
  static bool takes_part(const Share& s) { return s.phase != Phase::kSettled || s.level < kNever; }
  static bool is_overfull(const Share& s, double level);
  static bool sum_is_due(const Share& s);
  static void take_from_rising(Share& s, double load, std::int32_t left);
  void set_eager(bool eager);
  void sweep(double now);
  void make_pending(std::int32_t r, double now);
  void enqueue(std::int32_t r, double key);
  void visit(std::int32_t r, double water, double now);
  bool jump(std::int32_t r, double level, double now);
  void let_go(std::int32_t r, double now);
  void hand_over_tie(Member member, std::int32_t r, double now);
  double solve_captures(std::int32_t r);
  void settle_resource(std::int32_t r, double level, double now);
  bool is_loose(FlowIndex f);
  void push_held(std::int32_t r, double difference, double level);
  void push_let_go(std::int32_t r, double level);
  const std::vector<Spoke>& known_spokes(std::int32_t r);
  void freeze(const Member& member, std::int32_t r, double level);
  void take_rising(std::int32_t r, double level, double now);
  void find_spokes(std::int32_t r);
  void edit_spokes(std::int32_t r, FlowIndex f, std::int32_t count);
  void reach(std::int32_t s);
  void set_alarm(Share& s, double key = kNever) const;  // `key`: its place in queue_
  void after_push(double level, double now);
  void finish_sweep();
  void watch(std::int32_t r);
  void check_watched();
  void sum_anew(std::int32_t r);
  void certify();

  std::vector<Share> shares_;
  std::vector<Resource> resources_;
  std::vector<Flow> flows_;
  std::vector<Use> uses_;
  std::vector<std::int32_t> holder_;                // per flow; -1: nobody yet
  std::vector<std::vector<FlowIndex>> free_flows_;  // by the number of their uses
  std::vector<std::int32_t> free_cap_resources_;
  std::vector<std::int32_t> dirty_;  // to become pending at the next settle
  std::vector<std::int32_t> pending_;
  std::vector<std::int32_t> reached_;  // by the push that goes on: the first reached_count_
  std::ptrdiff_t reached_count_ = 0;
  std::vector<std::int32_t> watched_;  // not full, and perhaps about to be
  std::vector<std::int32_t> touched_;
  LowestFirst queue_;                               // pending resources by key
  LowestFirst next_;                                // resources by the time of their next end
  std::vector<std::int32_t> spoke_of_;              // per resource, while spokes are found
  std::vector<std::pair<double, double>> scratch_;  // (level elsewhere, load) of one resource
  bool eager_ = false;  // resources that are not full take part in the sweep
  std::size_t active_ = 0;
  std::uint64_t level_changes_ = 0;
  std::size_t uncertified_ = 0;  // settles since the last certificate
  std::uint32_t pushes_ = 0;     // since the last look at all resources that are not full
};

// Small and on every path: in the header, so that they are compiled into their callers.

// The level at which s is full with the transfers that rise on it now; captures could only raise
// it.
inline double FairShareSolver::candidate(const Share& s) {
  if (s.held + s.loose == 0) return s.frozen > above(s.capacity) ? 0 : kNever;
  if (s.capacity == 0) return 0;  // no residue of rounding lets anything through
  return std::max(0.0, (s.capacity - s.frozen) / s.rising);
}

// Whether s, with what rises on it, cannot reach `level`.
inline bool FairShareSolver::is_overfull(const Share& s, double level) {
  if (s.held + s.loose == 0) return s.frozen > above(s.capacity);
  if (level == kNever) return true;
  return above(s.capacity - s.frozen) < level * s.rising;
}

// Below it, a load changes nothing: s is not full, or is pending and its key still is a bound.
inline void FairShareSolver::set_alarm(Share& s, double key) const {
  if (s.phase == Phase::kSettled) {
    s.alarm = s.level < kNever || eager_ ? -kNever : s.capacity * kNearlyFull;
  } else if (s.held + s.loose == 0) {
    s.alarm = s.capacity;
  } else {
    s.alarm = key < kNever ? s.capacity - key * s.rising : -kNever;
  }
}

inline void FairShareSolver::enqueue(std::int32_t r, double key) {
  queue_.set(r, key);
  set_alarm(share(r), key);
}

inline void FairShareSolver::advance(std::int32_t r, double now) {
  Resource& at = resource(r);
  const double level = share(r).level;
  if (share(r).held > 0 && level < kNever) at.clock += level * (now - at.clock_time);
  at.clock_time = now;
}

inline void FairShareSolver::touch(std::int32_t r) {
  if (share(r).on_touched) return;
  share(r).on_touched = true;
  touched_.push_back(r);
}

inline void FairShareSolver::reach(std::int32_t t) {
  if (share(t).reached) return;
  share(t).reached = true;
  reached_[static_cast<std::size_t>(reached_count_++)] = t;
}

inline bool FairShareSolver::is_loose(FlowIndex f) {
  return holder(f) < 0 || share(holder(f)).phase == Phase::kLetGo;
}

}  // namespace sim
