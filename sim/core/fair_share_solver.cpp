#include "sim/core/fair_share_solver.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "sim/core/error.h"

namespace sim {
namespace {

// Ends closer together than a ten-thousandth of a tick and 1e-12 of the time are one batch.
constexpr double kSimultaneousPs = 1e-4;
constexpr double kSimultaneous = 1e-12;

}  // namespace

ResourceId FairShareSolver::add_resource(double capacity) {
  SIM_CHECK(capacity >= 0, "a capacity is not negative");
  const ResourceId id(static_cast<std::int64_t>(shares_.size()));
  resources_.emplace_back();
  shares_.emplace_back();
  shares_.back().capacity = capacity;
  set_alarm(shares_.back());
  reached_.resize(2 * shares_.size() + 1);
  spoke_of_.push_back(-1);
  return id;
}

void FairShareSolver::set_capacity(ResourceId resource, double capacity, double now) {
  SIM_CHECK(capacity >= 0, "a capacity is not negative");
  advance(resource.value(), now);
  share(resource.value()).capacity = capacity;
  set_alarm(share(resource.value()));
  mark_dirty(resource.value());
}

// A free index whose block in uses_ has room for exactly `count` uses.
FairShareSolver::FlowIndex FairShareSolver::new_flow(std::int32_t count) {
  if (static_cast<std::size_t>(count) >= free_flows_.size())
    free_flows_.resize(static_cast<std::size_t>(count) + 1);
  std::vector<FlowIndex>& free = free_flows_[static_cast<std::size_t>(count)];
  if (!free.empty()) {
    const FlowIndex f = free.back();
    free.pop_back();
    return f;
  }
  const FlowIndex f = static_cast<FlowIndex>(flows_.size());
  flows_.emplace_back();
  flows_.back().first = static_cast<std::int32_t>(uses_.size());
  flows_.back().count = count;
  uses_.resize(uses_.size() + static_cast<std::size_t>(count));
  holder_.push_back(-1);
  return f;
}

FairShareSolver::FlowIndex FairShareSolver::add(std::span<const ResourceUse> uses, double amount,
                                                double weight, double cap, double now) {
  SIM_CHECK(!uses.empty() && amount > 0 && weight > 0 && cap > 0,
            "a transfer needs uses, bytes, a weight and a cap");
  std::int32_t cap_resource = -1;
  if (std::isfinite(cap)) {
    if (free_cap_resources_.empty()) {
      cap_resource = add_resource(cap).value();
    } else {
      cap_resource = free_cap_resources_.back();
      free_cap_resources_.pop_back();
      share(cap_resource).capacity = cap;
      set_alarm(share(cap_resource));
    }
  }
  const std::size_t count = uses.size() + (cap_resource >= 0 ? 1 : 0);
  SIM_CHECK(count < 65536, "a transfer has fewer than 65536 uses");
  const FlowIndex f = new_flow(static_cast<std::int32_t>(count));
  Flow& added = flow(f);
  added.weight = weight;
  added.amount = amount;
  added.cap_resource = cap_resource;
  added.live = true;
  holder(f) = -1;
  bool full_somewhere = false;
  for (std::size_t i = 0; i < count; ++i) {
    const std::int32_t r = i < uses.size() ? uses[i].resource.value() : cap_resource;
    const double load = weight * (i < uses.size() ? uses[i].multiplier : 1);
    std::vector<Member>& members = resource(r).members;
    if (members.empty()) resource(r).busy_since = now;
    use(added.first + static_cast<std::int32_t>(i)) = {r, static_cast<std::int32_t>(members.size()),
                                                       load};
    members.push_back(
        {f, added.first, static_cast<std::uint16_t>(count), static_cast<std::uint16_t>(i)});
    Share& s = share(r);
    s.rising += load;
    ++s.loose;
    if (!std::isfinite(s.level)) continue;
    full_somewhere = true;
    mark_dirty(r);
  }
  if (!full_somewhere) {
    for (std::int32_t u = added.first; u < added.first + added.count; ++u)
      mark_dirty(use(u).resource);
  }
  ++active_;
  return f;
}

void FairShareSolver::mark_dirty(std::int32_t r) {
  if (resource(r).dirty) return;
  resource(r).dirty = true;
  dirty_.push_back(r);
}

void FairShareSolver::swap_members(std::int32_t r, std::size_t a, std::size_t b) {
  if (a == b) return;
  std::vector<Member>& members = resource(r).members;
  std::swap(members[a], members[b]);
  use(members[a].first + members[a].own).position = static_cast<std::int32_t>(a);
  use(members[b].first + members[b].own).position = static_cast<std::int32_t>(b);
}

// Moves the transfer to r's clock, keeping the bytes it has left. The sums of the resources are the
// caller's.
void FairShareSolver::hold(const Member& member, std::int32_t r, double now) {
  const FlowIndex f = member.flow;
  Flow& moved = flow(f);
  const std::int32_t before = holder(f);
  for (std::int32_t u = member.first; u < member.first + member.count; ++u) {
    const std::int32_t s = use(u).resource;
    const std::size_t position = static_cast<std::size_t>(use(u).position);
    if (s == before) {
      advance(s, now);
      moved.amount = std::max(0.0, (moved.tag - resource(s).clock) * moved.weight);
      swap_members(s, position, static_cast<std::size_t>(--share(s).held));
      edit_spokes(s, f, -1);
      touch(s);
    } else if (s == r) {
      advance(s, now);
      if (share(s).held == 0) {
        resource(s).clock = 0;  // keeps the clock small and therefore exact
        resource(s).finishes.clear();
      }
      swap_members(s, position, static_cast<std::size_t>(share(s).held++));
      edit_spokes(s, f, 1);
      touch(s);
    }
  }
  holder(f) = r;
  moved.tag = resource(r).clock + moved.amount / moved.weight;
  std::vector<Finish>& heap = resource(r).finishes;
  heap.push_back({moved.tag, f});
  std::push_heap(heap.begin(), heap.end(), std::greater<>{});
}

bool FairShareSolver::valid(std::int32_t r, const Finish& finish) const {
  const Flow& f = flows_[static_cast<std::size_t>(finish.flow)];
  return f.live && holder_[static_cast<std::size_t>(finish.flow)] == r && f.tag == finish.tag;
}

void FairShareSolver::refresh_finishes(double now) {
  for (const std::int32_t r : touched_) {
    share(r).on_touched = false;
    Resource& at = resource(r);
    std::vector<Finish>& heap = at.finishes;
    while (!heap.empty() && !valid(r, heap.front())) {
      std::pop_heap(heap.begin(), heap.end(), std::greater<>{});
      heap.pop_back();
    }
    if (heap.size() > 32 && heap.size() > 3 * static_cast<std::size_t>(share(r).held)) {
      std::erase_if(heap, [&](const Finish& finish) { return !valid(r, finish); });
      std::make_heap(heap.begin(), heap.end(), std::greater<>{});
    }
    const double level = share(r).level;
    if (heap.empty() || !(level > 0)) {
      next_.set(r, kNever);
      continue;
    }
    advance(r, now);
    next_.set(r, now + std::max(0.0, heap.front().tag - at.clock) / level);
  }
  touched_.clear();
}

double FairShareSolver::take_finished(double until, double window, std::vector<FlowIndex>& finished,
                                      std::vector<double>* ends) {
  const double first = next_finish();
  SIM_CHECK(first <= until, "a transfer is taken only when it has ended");
  const double batch_end =
      std::min(until, first + kSimultaneousPs + first * (kSimultaneous + window));
  double time = first;
  double last = first;
  while (next_finish() <= batch_end) {
    const std::int32_t r = next_.lowest();
    time = next_.lowest_key();
    next_.set(r, kNever);
    advance(r, time);
    std::vector<Finish>& heap = resource(r).finishes;
    const double limit =
        std::max(resource(r).clock, heap.front().tag) + share(r).level * (batch_end - time);
    while (!heap.empty()) {
      const Finish finish = heap.front();
      const bool live = valid(r, finish);
      if (live && finish.tag > limit) break;
      std::pop_heap(heap.begin(), heap.end(), std::greater<>{});
      heap.pop_back();
      if (!live) continue;
      finished.push_back(finish.flow);
      double end = time;
      if (window > 0) {
        const Resource& holder = resource(r);
        end = holder.clock_time + std::max(0.0, finish.tag - holder.clock) / share(r).level;
      }
      if (ends != nullptr) ends->push_back(end);
      last = std::max(last, end);
      remove(finish.flow, end);
    }
    touch(r);
  }
  return last;
}

void FairShareSolver::remove(FlowIndex f, double now) {
  Flow& removed = flow(f);
  const std::int32_t held_by = holder(f);
  const double level = share(held_by).level;
  for (std::int32_t u = removed.first; u < removed.first + removed.count; ++u) {
    const std::int32_t r = use(u).resource;
    const double load = use(u).load;
    Share& s = share(r);
    Resource& at = resource(r);
    if (r == held_by) {
      advance(r, now);
      edit_spokes(r, f, -1);
      swap_members(r, static_cast<std::size_t>(use(u).position),
                   static_cast<std::size_t>(--share(r).held));
      take_from_rising(s, load, s.held + s.loose);
    } else {
      s.frozen -= load * level;
      ++s.changes;
    }
    swap_members(r, static_cast<std::size_t>(use(u).position), at.members.size() - 1);
    at.members.pop_back();
    if (at.members.empty()) at.busy += now - at.busy_since;
    if (std::isfinite(s.level)) mark_dirty(r);
  }
  removed.live = false;
  if (removed.cap_resource >= 0) free_cap_resources_.push_back(removed.cap_resource);
  free_flows_[static_cast<std::size_t>(removed.count)].push_back(f);
  --active_;
}

double FairShareSolver::rate(FlowIndex flow) const {
  const std::int32_t held_by = holder_[static_cast<std::size_t>(flow)];
  SIM_CHECK(held_by >= 0, "a rate is asked only when settled");
  return shares_[static_cast<std::size_t>(held_by)].level *
         flows_[static_cast<std::size_t>(flow)].weight;
}

double FairShareSolver::remaining(FlowIndex f, double now) {
  const std::int32_t held_by = holder(f);
  if (held_by < 0) return flow(f).amount;
  advance(held_by, now);
  return std::max(0.0, (flow(f).tag - resource(held_by).clock) * flow(f).weight);
}

std::string FairShareSolver::violation(double relative_tolerance) const {
  std::vector<double> capacities;
  capacities.reserve(shares_.size());
  for (const Share& s : shares_) capacities.push_back(s.capacity);
  std::vector<Demand> demands;
  std::vector<double> rates;
  for (std::size_t f = 0; f < flows_.size(); ++f) {
    if (!flows_[f].live) continue;
    Demand demand;
    demand.weight = flows_[f].weight;
    for (std::int32_t i = 0; i < flows_[f].count; ++i) {
      const Use& use = uses_[static_cast<std::size_t>(flows_[f].first + i)];
      demand.uses.push_back({ResourceId(use.resource), use.load / flows_[f].weight});
    }
    demands.push_back(std::move(demand));
    rates.push_back(rate(static_cast<FlowIndex>(f)));
  }
  return max_min_violation(capacities, demands, rates, relative_tolerance);
}

}  // namespace sim
