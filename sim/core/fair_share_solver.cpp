#include "sim/core/fair_share_solver.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "sim/core/error.h"

namespace sim {
namespace {

// Levels that differ by less are the same level: far below the 1e-9 we promise, far above rounding
// of one sum.
constexpr double kSame = 1e-13;
// Ends closer together than this (in ps) are one batch; a ten-thousandth of a tick.
constexpr double kSimultaneous = 1e-4;

}  // namespace

ResourceId FairShareSolver::add_resource(double capacity) {
  SIM_CHECK(capacity >= 0, "a capacity is not negative");
  const ResourceId id(static_cast<std::int64_t>(resources_.size()));
  resources_.emplace_back();
  resources_.back().capacity = capacity;
  level_.push_back(kNever);
  return id;
}

void FairShareSolver::set_capacity(ResourceId resource, double capacity, double now) {
  SIM_CHECK(capacity >= 0, "a capacity is not negative");
  advance(resource.value(), now);
  resources_[resource.index()].capacity = capacity;
  dirty_.push_back(resource.value());
}

FairShareSolver::FlowIndex FairShareSolver::add(std::span<const ResourceUse> uses, double amount,
                                                double weight, double cap, double now) {
  SIM_CHECK(!uses.empty() && amount > 0 && weight > 0 && cap > 0,
            "a transfer needs uses, bytes, a weight and a cap");
  FlowIndex f = 0;
  if (free_flows_.empty()) {
    f = static_cast<FlowIndex>(flows_.size());
    flows_.emplace_back();
    holder_.push_back(-1);
  } else {
    f = free_flows_.back();
    free_flows_.pop_back();
  }
  std::int32_t cap_resource = -1;
  if (std::isfinite(cap)) {
    if (free_cap_resources_.empty()) {
      cap_resource = add_resource(cap).value();
    } else {
      cap_resource = free_cap_resources_.back();
      free_cap_resources_.pop_back();
      resources_[static_cast<std::size_t>(cap_resource)].capacity = cap;
    }
  }
  Flow& flow = flows_[static_cast<std::size_t>(f)];
  flow.uses.clear();
  flow.weight = weight;
  flow.amount = amount;
  flow.cap_resource = cap_resource;
  flow.live = true;
  holder_[static_cast<std::size_t>(f)] = -1;
  const auto join = [&](std::int32_t r, double multiplier) {
    Resource& resource = resources_[static_cast<std::size_t>(r)];
    const double load = multiplier * weight;
    if (resource.members.empty()) resource.busy_since = now;
    flow.uses.push_back({r, static_cast<std::int32_t>(resource.members.size()), load});
    resource.members.push_back({f, static_cast<std::int32_t>(flow.uses.size() - 1), load});
    dirty_.push_back(r);
  };
  for (const ResourceUse& use : uses) join(use.resource.value(), use.multiplier);
  if (cap_resource >= 0) join(cap_resource, 1);
  ++active_;
  return f;
}

void FairShareSolver::advance(std::int32_t r, double now) {
  Resource& resource = resources_[static_cast<std::size_t>(r)];
  const double level = level_[static_cast<std::size_t>(r)];
  if (resource.held > 0 && std::isfinite(level))
    resource.clock += level * (now - resource.clock_time);
  resource.clock_time = now;
}

void FairShareSolver::touch(std::int32_t r) {
  Resource& resource = resources_[static_cast<std::size_t>(r)];
  if (resource.touched) return;
  resource.touched = true;
  touched_.push_back(r);
}

void FairShareSolver::enqueue(std::int32_t r, double key) {
  resources_[static_cast<std::size_t>(r)].key = key;
  if (!std::isfinite(key)) return;
  queue_.push_back({key, r, false});
  std::push_heap(queue_.begin(), queue_.end(), std::greater<>{});
}

// A change at `water` reaches r: its level is open from there on.
void FairShareSolver::make_pending(std::int32_t r, double water, double now) {
  Resource& resource = resources_[static_cast<std::size_t>(r)];
  if (resource.pending) {
    if (resource.key > water)
      enqueue(r, water);  // its candidate may have fallen: look again at once
    return;
  }
  advance(r, now);
  resource.pending = true;
  resource.old_level = level_[static_cast<std::size_t>(r)];
  pending_.push_back(r);
  if (std::isfinite(resource.old_level)) {
    queue_.push_back({resource.old_level, r, true});
    std::push_heap(queue_.begin(), queue_.end(), std::greater<>{});
  }
  enqueue(r, water);
}

double FairShareSolver::settled_level_elsewhere(std::int32_t flow, std::int32_t except) const {
  const std::int32_t holder = holder_[static_cast<std::size_t>(flow)];
  if (holder >= 0 && holder != except && !resources_[static_cast<std::size_t>(holder)].pending) {
    return level_[static_cast<std::size_t>(holder)];
  }
  double lowest = kNever;
  for (const Use& use : flows_[static_cast<std::size_t>(flow)].uses) {
    if (use.resource == except || resources_[static_cast<std::size_t>(use.resource)].pending)
      continue;
    lowest = std::min(lowest, level_[static_cast<std::size_t>(use.resource)]);
  }
  return lowest;
}

// The level at which r is full, given the settled levels of its transfers elsewhere; kNever when it
// never fills.
double FairShareSolver::solve_level(std::int32_t r) {
  const Resource& resource = resources_[static_cast<std::size_t>(r)];
  scratch_.clear();
  double rising = 0;
  for (const Member& member : resource.members) {
    scratch_.emplace_back(settled_level_elsewhere(member.flow, r), member.load);
    rising += member.load;
  }
  double free = resource.capacity;
  std::size_t count = scratch_.size();
  while (count > 0) {
    const double x = std::max(0.0, free) / rising;
    std::size_t kept = 0;
    double kept_rising = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (scratch_[i].first < x) {
        free -= scratch_[i].second * scratch_[i].first;
      } else {
        kept_rising += scratch_[i].second;
        scratch_[kept++] = scratch_[i];
      }
    }
    if (kept == count) return x;
    count = kept;
    rising = kept_rising;
  }
  return kNever;
}

// Moves the transfer to r's clock, keeping the bytes it has left.
void FairShareSolver::hold(std::int32_t f, std::int32_t r, double now) {
  Flow& flow = flows_[static_cast<std::size_t>(f)];
  const std::int32_t before = holder_[static_cast<std::size_t>(f)];
  if (before == r) return;
  if (before >= 0) {
    advance(before, now);
    Resource& old = resources_[static_cast<std::size_t>(before)];
    flow.amount = std::max(0.0, (flow.tag - old.clock) * flow.weight);
    --old.held;
    touch(before);
  }
  advance(r, now);
  Resource& resource = resources_[static_cast<std::size_t>(r)];
  if (resource.held == 0) {
    resource.clock = 0;  // keeps the clock small and therefore exact
    resource.finishes.clear();
  }
  ++resource.held;
  holder_[static_cast<std::size_t>(f)] = r;
  flow.tag = resource.clock + flow.amount / flow.weight;
  resource.finishes.push_back({flow.tag, f});
  std::push_heap(resource.finishes.begin(), resource.finishes.end(), std::greater<>{});
  touch(r);
}

void FairShareSolver::settle_resource(std::int32_t r, double level, double now) {
  Resource& resource = resources_[static_cast<std::size_t>(r)];
  const double old = resource.old_level;
  resource.pending = false;
  resource.key = kNever;
  level_[static_cast<std::size_t>(r)] = level;
  ++level_changes_;
  touch(r);
  if (!std::isfinite(level)) return;
  const double same = level * (1 + kSame);
  for (std::size_t i = 0; i < resource.members.size(); ++i) {
    const std::int32_t f = resource.members[i].flow;
    const std::int32_t holder = holder_[static_cast<std::size_t>(f)];
    double was = kNever;  // the level it had, or has, through its present holder
    if (holder == r) {
      was = old;
    } else if (holder >= 0) {
      const Resource& other = resources_[static_cast<std::size_t>(holder)];
      if (!other.pending && level_[static_cast<std::size_t>(holder)] <= same) continue;
      was = other.pending ? other.old_level : level_[static_cast<std::size_t>(holder)];
    }
    hold(f, r, now);
    if (was <= same)
      continue;  // it rose past its old level, which reached its other resources then
    for (const Use& use : flows_[static_cast<std::size_t>(f)].uses) {
      const std::int32_t s = use.resource;
      if (s == r || resources_[static_cast<std::size_t>(s)].pending) continue;
      if (level_[static_cast<std::size_t>(s)] > same) make_pending(s, level, now);
    }
  }
}

// The water passes r's old level and r is not full: what it held goes on rising.
void FairShareSolver::pass_old_level(std::int32_t r, double now) {
  Resource& resource = resources_[static_cast<std::size_t>(r)];
  const double water = resource.old_level;
  const double same = water * (1 + kSame);
  for (std::size_t i = 0; i < resource.members.size(); ++i) {
    const std::int32_t f = resource.members[i].flow;
    if (holder_[static_cast<std::size_t>(f)] != r) continue;
    std::int32_t tied = -1;
    for (const Use& use : flows_[static_cast<std::size_t>(f)].uses) {
      const std::int32_t s = use.resource;
      if (s == r || resources_[static_cast<std::size_t>(s)].pending) continue;
      if (level_[static_cast<std::size_t>(s)] <= same) tied = s;
    }
    if (tied >= 0) {
      hold(f, tied, now);
      continue;
    }
    for (const Use& use : flows_[static_cast<std::size_t>(f)].uses) {
      if (use.resource != r) make_pending(use.resource, water, now);
    }
  }
}

void FairShareSolver::settle(double now) {
  if (dirty_.empty()) return;
  queue_.clear();
  for (const std::int32_t r : dirty_) {
    if (!resources_[static_cast<std::size_t>(r)].pending) make_pending(r, 0, now);
  }
  dirty_.clear();
  while (!queue_.empty()) {
    std::pop_heap(queue_.begin(), queue_.end(), std::greater<>{});
    const QueueEntry entry = queue_.back();
    queue_.pop_back();
    Resource& resource = resources_[static_cast<std::size_t>(entry.resource)];
    if (!resource.pending) continue;
    if (entry.passes_old) {
      // A candidate at the same level, up to rounding, settles here: nothing is released then.
      const double same = resource.old_level * (1 + kSame);
      const double level = resource.key <= same ? solve_level(entry.resource) : kNever;
      if (level <= same) {
        settle_resource(entry.resource, level, now);
      } else {
        pass_old_level(entry.resource, now);
      }
      continue;
    }
    if (entry.key != resource.key) continue;  // replaced by a later entry
    const double level = solve_level(entry.resource);
    if (level <= entry.key * (1 + kSame)) {
      settle_resource(entry.resource, level, now);
    } else {
      enqueue(entry.resource, level);
    }
  }
  for (const std::int32_t r : pending_) {
    if (resources_[static_cast<std::size_t>(r)].pending) settle_resource(r, kNever, now);
  }
  pending_.clear();
  refresh_finishes(now);
}

bool FairShareSolver::valid(std::int32_t r, const Finish& finish) const {
  const Flow& flow = flows_[static_cast<std::size_t>(finish.flow)];
  return flow.live && holder_[static_cast<std::size_t>(finish.flow)] == r && flow.tag == finish.tag;
}

void FairShareSolver::refresh_finishes(double now) {
  for (const std::int32_t r : touched_) {
    Resource& resource = resources_[static_cast<std::size_t>(r)];
    resource.touched = false;
    ++resource.version;
    std::vector<Finish>& heap = resource.finishes;
    while (!heap.empty() && !valid(r, heap.front())) {
      std::pop_heap(heap.begin(), heap.end(), std::greater<>{});
      heap.pop_back();
    }
    if (heap.size() > 32 && heap.size() > 3 * static_cast<std::size_t>(resource.held)) {
      std::erase_if(heap, [&](const Finish& finish) { return !valid(r, finish); });
      std::make_heap(heap.begin(), heap.end(), std::greater<>{});
    }
    const double level = level_[static_cast<std::size_t>(r)];
    if (heap.empty() || !(level > 0)) continue;
    advance(r, now);
    const double time = now + std::max(0.0, heap.front().tag - resource.clock) / level;
    next_.push_back({time, r, resource.version});
    std::push_heap(next_.begin(), next_.end(), std::greater<>{});
  }
  touched_.clear();
  if (next_.size() > 4 * resources_.size() + 64) {
    std::erase_if(next_, [&](const NextFinish& n) {
      return n.version != resources_[static_cast<std::size_t>(n.resource)].version;
    });
    std::make_heap(next_.begin(), next_.end(), std::greater<>{});
  }
}

double FairShareSolver::next_finish() {
  while (!next_.empty() &&
         next_.front().version !=
             resources_[static_cast<std::size_t>(next_.front().resource)].version) {
    std::pop_heap(next_.begin(), next_.end(), std::greater<>{});
    next_.pop_back();
  }
  return next_.empty() ? kNever : next_.front().time;
}

double FairShareSolver::take_finished(double until, std::vector<FlowIndex>& finished) {
  const double first = next_finish();
  SIM_CHECK(first <= until, "a transfer is taken only when it has ended");
  const double batch_end = std::min(until, first + kSimultaneous);
  double time = first;
  while (next_finish() <= batch_end) {
    const std::int32_t r = next_.front().resource;
    time = next_.front().time;
    std::pop_heap(next_.begin(), next_.end(), std::greater<>{});
    next_.pop_back();
    advance(r, time);
    Resource& resource = resources_[static_cast<std::size_t>(r)];
    const double level = level_[static_cast<std::size_t>(r)];
    const double limit =
        std::max(resource.clock, resource.finishes.front().tag) + level * (batch_end - time);
    while (!resource.finishes.empty()) {
      const Finish finish = resource.finishes.front();
      const bool live = valid(r, finish);
      if (live && finish.tag > limit) break;
      std::pop_heap(resource.finishes.begin(), resource.finishes.end(), std::greater<>{});
      resource.finishes.pop_back();
      if (!live) continue;
      finished.push_back(finish.flow);
      remove(finish.flow, time);
    }
    touch(r);
  }
  return time;
}

void FairShareSolver::remove(FlowIndex f, double now) {
  Flow& flow = flows_[static_cast<std::size_t>(f)];
  const std::int32_t holder = holder_[static_cast<std::size_t>(f)];
  if (holder >= 0) {
    advance(holder, now);
    --resources_[static_cast<std::size_t>(holder)].held;
  }
  holder_[static_cast<std::size_t>(f)] = -1;
  flow.live = false;
  for (const Use& use : flow.uses) {
    Resource& resource = resources_[static_cast<std::size_t>(use.resource)];
    const std::size_t position = static_cast<std::size_t>(use.position);
    const Member moved = resource.members.back();
    resource.members[position] = moved;
    resource.members.pop_back();
    if (resource.members.empty()) resource.busy += now - resource.busy_since;
    flows_[static_cast<std::size_t>(moved.flow)]
        .uses[static_cast<std::size_t>(moved.use)]
        .position = use.position;
    dirty_.push_back(use.resource);
  }
  if (flow.cap_resource >= 0) free_cap_resources_.push_back(flow.cap_resource);
  free_flows_.push_back(f);
  --active_;
}

double FairShareSolver::rate(FlowIndex flow) const {
  const std::int32_t holder = holder_[static_cast<std::size_t>(flow)];
  SIM_CHECK(holder >= 0, "a rate is asked only when settled");
  return level_[static_cast<std::size_t>(holder)] * flows_[static_cast<std::size_t>(flow)].weight;
}

double FairShareSolver::remaining(FlowIndex flow, double now) {
  const std::int32_t holder = holder_[static_cast<std::size_t>(flow)];
  const Flow& f = flows_[static_cast<std::size_t>(flow)];
  if (holder < 0) return f.amount;
  advance(holder, now);
  return std::max(0.0, (f.tag - resources_[static_cast<std::size_t>(holder)].clock) * f.weight);
}

std::string FairShareSolver::violation(double relative_tolerance) const {
  std::vector<double> capacities;
  capacities.reserve(resources_.size());
  for (const Resource& resource : resources_) capacities.push_back(resource.capacity);
  std::vector<Demand> demands;
  std::vector<double> rates;
  for (std::size_t f = 0; f < flows_.size(); ++f) {
    if (!flows_[f].live) continue;
    Demand demand;
    demand.weight = flows_[f].weight;
    for (const Use& use : flows_[f].uses) {
      demand.uses.push_back({ResourceId(use.resource), use.load / flows_[f].weight});
    }
    demands.push_back(std::move(demand));
    rates.push_back(rate(static_cast<FlowIndex>(f)));
  }
  return max_min_violation(capacities, demands, rates, relative_tolerance);
}

}  // namespace sim
