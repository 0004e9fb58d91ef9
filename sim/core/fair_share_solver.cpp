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
  pending_flag_.push_back(0);
  return id;
}

void FairShareSolver::set_capacity(ResourceId resource, double capacity, double now) {
  SIM_CHECK(capacity >= 0, "a capacity is not negative");
  advance(resource.value(), now);
  resources_[resource.index()].capacity = capacity;
  mark_dirty(resource.value());
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
    lambda_.push_back(0);
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
  lambda_[static_cast<std::size_t>(f)] = 0;
  bool full_somewhere = false;
  const auto join = [&](std::int32_t r, double multiplier) {
    Resource& resource = resources_[static_cast<std::size_t>(r)];
    const double load = multiplier * weight;
    if (resource.members.empty()) resource.busy_since = now;
    flow.uses.push_back({r, static_cast<std::int32_t>(resource.members.size()), load});
    resource.members.push_back({f, static_cast<std::int32_t>(flow.uses.size() - 1), load});
    if (!std::isfinite(level_[static_cast<std::size_t>(r)])) return;
    full_somewhere = true;
    resource.rising += load;
    mark_dirty(r);
  };
  for (const ResourceUse& use : uses) join(use.resource.value(), use.multiplier);
  if (cap_resource >= 0) join(cap_resource, 1);
  if (!full_somewhere) {
    for (const Use& use : flow.uses) mark_dirty(use.resource);
  }
  ++active_;
  return f;
}

void FairShareSolver::mark_dirty(std::int32_t r) {
  Resource& resource = resources_[static_cast<std::size_t>(r)];
  if (resource.dirty) return;
  resource.dirty = true;
  dirty_.push_back(r);
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

// A change reaches r, which is not pending yet: its level is open from here on. The caller enqueues
// it.
void FairShareSolver::make_pending(std::int32_t r, double now) {
  Resource& resource = resources_[static_cast<std::size_t>(r)];
  advance(r, now);
  pending_flag_[static_cast<std::size_t>(r)] = 1;
  resource.key = kNever;
  resource.old_level = level_[static_cast<std::size_t>(r)];
  // What was found when it settled last, adjusted since by what came and went, still bounds its
  // level from below.
  resource.solved = std::isfinite(resource.old_level);
  resource.exact = false;
  pending_.push_back(r);
  if (resource.solved) {
    queue_.push_back({resource.old_level, r, true});
    std::push_heap(queue_.begin(), queue_.end(), std::greater<>{});
  }
}

// A transfer that r counted as frozen at `water` goes on rising: its candidate falls, to no less
// than this.
void FairShareSolver::released(std::int32_t r, double load, double water) {
  Resource& resource = resources_[static_cast<std::size_t>(r)];
  resource.exact = false;
  double least = water;
  if (resource.solved) {
    resource.frozen -= load * water;
    resource.rising += load;
    least = std::max(water, (resource.capacity - resource.frozen) / resource.rising);
  }
  if (least < resource.key) enqueue(r, least);
}

// The level at which r is full, given the settled levels of its transfers elsewhere; kNever when it
// never fills.
double FairShareSolver::solve_level(std::int32_t r) {
  Resource& resource = resources_[static_cast<std::size_t>(r)];
  // No level lies below the key, so what is settled below it elsewhere is frozen.
  const double least = std::isfinite(resource.key) ? resource.key * (1 - kSame) : 0;
  if (scratch_.size() < resource.members.size()) scratch_.resize(resource.members.size());
  double frozen = 0;
  double rising = 0;
  std::size_t count = 0;
  for (const Member& member : resource.members) {
    // A transfer whose holder is pending, or is r, may rise: until it is held again it counts as
    // rising.
    const std::size_t f = static_cast<std::size_t>(member.flow);
    const std::int32_t holder = holder_[f];
    const bool settled =
        holder >= 0 && holder != r && pending_flag_[static_cast<std::size_t>(holder)] == 0;
    const double elsewhere = settled ? lambda_[f] : kNever;
    if (elsewhere < least) {
      frozen += member.load * elsewhere;
    } else {
      rising += member.load;
      scratch_[count++] = {elsewhere, member.load};
    }
  }
  double level = kNever;
  while (count > 0) {
    const double x = std::max(0.0, resource.capacity - frozen) / rising;
    std::size_t kept = 0;
    double kept_rising = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (scratch_[i].first < x) {
        frozen += scratch_[i].second * scratch_[i].first;
      } else {
        kept_rising += scratch_[i].second;
        scratch_[kept++] = scratch_[i];
      }
    }
    if (kept == count) {
      level = x;
      break;
    }
    count = kept;
    rising = kept_rising;
  }
  resource.solved = true;
  resource.exact = true;
  resource.frozen = frozen;
  resource.rising = count == 0 ? 0 : rising;
  return level;
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

// r is full at `level`: what is not frozen lower stays there.
void FairShareSolver::settle_resource(std::int32_t r, double level, double now) {
  Resource& resource = resources_[static_cast<std::size_t>(r)];
  const double old = resource.old_level;
  pending_flag_[static_cast<std::size_t>(r)] = 0;
  resource.key = kNever;
  level_[static_cast<std::size_t>(r)] = level;
  ++level_changes_;
  touch(r);
  const double same = level * (1 + kSame);
  for (std::size_t i = 0; i < resource.members.size(); ++i) {
    const std::int32_t f = resource.members[i].flow;
    const std::size_t fi = static_cast<std::size_t>(f);
    const std::int32_t holder = holder_[fi];
    double was = kNever;  // the level at which its other resources last saw it freeze
    if (holder == r) {
      was = old;
    } else if (holder >= 0) {
      const Resource& other = resources_[static_cast<std::size_t>(holder)];
      if (!pending_flag_[static_cast<std::size_t>(holder)] &&
          level_[static_cast<std::size_t>(holder)] <= same)
        continue;
      was = pending_flag_[static_cast<std::size_t>(holder)]
                ? other.old_level
                : level_[static_cast<std::size_t>(holder)];
    }
    hold(f, r, now);
    const double change = level - lambda_[fi];
    lambda_[fi] = level;
    for (const Use& use : flows_[fi].uses) {
      const std::int32_t s = use.resource;
      if (s == r) continue;
      Resource& other = resources_[static_cast<std::size_t>(s)];
      if (pending_flag_[static_cast<std::size_t>(s)]) {
        other.exact = false;
        continue;
      }
      const double other_level = level_[static_cast<std::size_t>(s)];
      if (!std::isfinite(other_level)) {
        if (change == 0) continue;
        if (eager_) {
          make_pending(s, now);
          enqueue(s, level);
          continue;
        }
        other.load += use.load * change;
        if (!other.loaded) {
          other.loaded = true;
          loaded_.push_back(s);
        }
      } else if (was > same && other_level > same) {
        make_pending(s, now);  // it freezes earlier than s thought, so s can only be faster
        enqueue(s, other_level);
      }
    }
  }
}

// r is not full any more: from now on only its load is watched.
void FairShareSolver::settle_not_full(std::int32_t r) {
  Resource& resource = resources_[static_cast<std::size_t>(r)];
  pending_flag_[static_cast<std::size_t>(r)] = 0;
  resource.key = kNever;
  if (std::isfinite(resource.old_level)) ++level_changes_;
  level_[static_cast<std::size_t>(r)] = kNever;
  resource.load = 0;
  for (const Member& member : resource.members) {
    resource.load += member.load * lambda_[static_cast<std::size_t>(member.flow)];
  }
  touch(r);
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
      if (s == r || pending_flag_[static_cast<std::size_t>(s)]) continue;
      if (level_[static_cast<std::size_t>(s)] <= same) tied = s;
    }
    if (tied >= 0) {
      hold(f, tied, now);
      continue;
    }
    for (const Use& use : flows_[static_cast<std::size_t>(f)].uses) {
      const std::int32_t s = use.resource;
      if (s == r) continue;
      const bool pending = pending_flag_[static_cast<std::size_t>(s)] != 0;
      if (!pending && !eager_ && !std::isfinite(level_[static_cast<std::size_t>(s)])) continue;
      if (!pending) make_pending(s, now);
      released(s, use.load, water);
    }
  }
}

// One upward sweep from the dirty resources until nothing is pending.
void FairShareSolver::sweep(double now) {
  queue_.clear();
  for (const std::int32_t r : dirty_) {
    Resource& resource = resources_[static_cast<std::size_t>(r)];
    resource.dirty = false;
    if (pending_flag_[static_cast<std::size_t>(r)]) continue;
    make_pending(r, now);
    enqueue(r, resource.solved
                   ? std::max(0.0, (resource.capacity - resource.frozen) / resource.rising)
                   : 0.0);
  }
  dirty_.clear();
  while (!queue_.empty()) {
    std::pop_heap(queue_.begin(), queue_.end(), std::greater<>{});
    const QueueEntry entry = queue_.back();
    queue_.pop_back();
    Resource& resource = resources_[static_cast<std::size_t>(entry.resource)];
    if (!pending_flag_[static_cast<std::size_t>(entry.resource)]) continue;
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
    if (pending_flag_[static_cast<std::size_t>(r)]) settle_not_full(r);
  }
  pending_.clear();
}

void FairShareSolver::settle(double now) {
  if (dirty_.empty()) return;
  // Resources that are not full only have their load watched. Should one of them fill up, it takes
  // part in another sweep; in the rare case that this happens again and again, all of them take
  // part from the start.
  constexpr int kWatchedSweeps = 4;
  for (int round = 0; !dirty_.empty(); ++round) {
    eager_ = round >= kWatchedSweeps;
    sweep(now);
    check_watched();
  }
  eager_ = false;
  refresh_finishes(now);
}

// Marks the watched resources that have filled up as dirty.
void FairShareSolver::check_watched() {
  constexpr double kNear = 1e-9;  // closer to full than this, the load is summed anew
  for (const std::int32_t r : loaded_) {
    Resource& resource = resources_[static_cast<std::size_t>(r)];
    resource.loaded = false;
    if (std::isfinite(level_[static_cast<std::size_t>(r)])) continue;
    if (resource.load <= resource.capacity * (1 - kNear) && ++resource.load_changes < kExactEvery)
      continue;
    resource.load_changes = 0;
    resource.load = 0;
    for (const Member& member : resource.members) {
      resource.load += member.load * lambda_[static_cast<std::size_t>(member.flow)];
    }
    if (resource.load > resource.capacity * (1 + 1e-12)) mark_dirty(r);
  }
  loaded_.clear();
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
    if (std::isfinite(level_[static_cast<std::size_t>(use.resource)])) {
      // As if it had been frozen elsewhere: where r held it, r's level rises by more than this
      // bound says.
      resource.frozen -= use.load * lambda_[static_cast<std::size_t>(f)];
      mark_dirty(use.resource);
    } else {
      resource.load -= use.load * lambda_[static_cast<std::size_t>(f)];
    }
    flows_[static_cast<std::size_t>(moved.flow)]
        .uses[static_cast<std::size_t>(moved.use)]
        .position = use.position;
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
