// The upward sweep of the max-min solver; fair_share_solver.h says how it works and why it ends.
#include <algorithm>
#include <cmath>
#include <functional>

#include "sim/core/error.h"
#include "sim/core/fair_share_solver.h"

namespace sim {
void FairShareSolver::settle(double now) {
  if (dirty_.empty()) return;
  // Resources that are not full only have their load watched. Should one of them fill up, it takes
  // part in another sweep; in the rare case that this happens again and again, all of them take
  // part from the start.
  constexpr int kWatchedSweeps = 4;
  for (int round = 0; !dirty_.empty(); ++round) {
    SIM_CHECK(round < 64, "with every resource in the sweep none is overfull after it");
    if (round >= kWatchedSweeps) set_eager(true);
    sweep(now);
    check_watched();
  }
  if (eager_) set_eager(false);
  refresh_finishes(now);
#ifndef NDEBUG
  certify();
#endif
}

void FairShareSolver::set_eager(bool eager) {
  eager_ = eager;
  for (Share& s : shares_) set_alarm(s);
}

// One upward sweep from the dirty resources until nothing is pending.
void FairShareSolver::sweep(double now) {
  for (const std::int32_t r : dirty_) {
    if (sum_is_due(share(r))) sum_anew(r);
  }
  for (const std::int32_t r : dirty_) {
    resource(r).dirty = false;
    make_pending(r, now);
    enqueue(r, std::min(candidate(share(r)), share(r).level));
  }
  dirty_.clear();
  while (!queue_.empty()) {
    const std::int32_t r = queue_.lowest();
    const double water = queue_.lowest_key();
    queue_.set(r, kNever);
    visit(r, water, now);
  }
  finish_sweep();
}

// A change reaches r: its level is open from here on. The caller enqueues it.
void FairShareSolver::make_pending(std::int32_t r, double now) {
  advance(r, now);
  share(r).phase = Phase::kPending;
  share(r).alarm = -kNever;
  if (share(r).level == kNever) share(r).top = kNever;  // not kept while it is not full
  pending_.push_back(r);
}

// The water has reached r's key: its candidate, its old level, or a bound below both.
void FairShareSolver::visit(std::int32_t r, double water, double now) {
  Share& s = share(r);
  set_alarm(s);
  double level = candidate(s);
  if (level == kNever) return;  // not full, unless something more reaches it
  const double old = s.phase == Phase::kLetGo ? kNever : s.level;
  if (level > above(old)) {
    if (water < old && old > queue_.lowest_key()) {
      enqueue(r, old);
    } else if (!jump(r, level, now)) {
      let_go(r, now);
      enqueue(r, candidate(s));
    }
    return;
  }
  if (s.top > above(level)) level = solve_captures(r);
  if (level > above(water) && level > queue_.lowest_key()) {
    enqueue(r, std::min(level, old));
  } else {
    settle_resource(r, level, now);
  }
}

// r's level rises over its old one. When neither another pending resource nor one that r's own rise
// slows down has anything to do below the new level, r goes there at once.
bool FairShareSolver::jump(std::int32_t r, double level, double now) {
  if (queue_.lowest_key() < level) return false;
  const double difference = level - share(r).level;
  push_held(r, difference, level);
  const bool conflict =
      std::any_of(reached_.begin(), reached_.begin() + reached_count_, [&](std::int32_t t) {
        const Share& s = share(t);
        if (!takes_part(s) && !eager_) return false;
        if (s.phase == Phase::kSettled && s.level <= above(level)) return true;
        return is_overfull(s, level);
      });
  if (conflict) {
    push_held(r, -difference, level);
    for (std::ptrdiff_t i = 0; i < reached_count_; ++i)
      share(reached_[static_cast<std::size_t>(i)]).reached = false;
    reached_count_ = 0;
    return false;
  }
  take_rising(r, level, now);
  return true;
}

// The water passes r's old level and r is not full: what it held goes on rising.
void FairShareSolver::let_go(std::int32_t r, double now) {
  const double water = share(r).level;
  const auto is_tied = [&](const Spoke& spoke) {
    const Share& s = share(spoke.resource);
    return s.phase == Phase::kSettled && s.level <= above(water);
  };
  const std::vector<Spoke>& spokes = known_spokes(r);
  if (std::any_of(spokes.begin(), spokes.end(), is_tied)) {
    for (std::int32_t i = share(r).held - 1; i >= 0; --i)
      hand_over_tie(resource(r).members[static_cast<std::size_t>(i)], r, now);
  }
  ++pushes_;
  for (const Spoke& spoke : known_spokes(r)) {
    Share& s = share(spoke.resource);
    if (!takes_part(s) && !eager_) continue;
    if (s.phase == Phase::kSettled) make_pending(spoke.resource, now);
    s.frozen -= spoke.load * water;
    s.rising += spoke.load;
    s.loose += spoke.count;
    ++s.changes;
    reach(spoke.resource);
  }
  share(r).phase = Phase::kLetGo;
  after_push(water, now);
}

// A transfer that stops at r's old level elsewhere too is held there from now on.
void FairShareSolver::hand_over_tie(const Member member, std::int32_t r, double now) {
  const double water = share(r).level;
  std::int32_t tied = -1;
  for (std::int32_t u = member.first; u < member.first + member.count; ++u) {
    const Share& s = share(use(u).resource);
    if (s.phase == Phase::kSettled && s.level <= above(water)) tied = use(u).resource;
  }
  if (tied < 0) return;
  const double level = share(tied).level;
  for (std::int32_t u = member.first; u < member.first + member.count; ++u) {
    const double load = use(u).load;
    Share& s = share(use(u).resource);
    ++s.changes;
    if (use(u).resource == tied) {
      s.frozen -= load * water;
      s.rising += load;
    } else if (use(u).resource == r) {
      s.frozen += load * level;
      take_from_rising(s, load, s.held + s.loose - 1);
    } else {
      s.frozen += load * (level - water);
    }
    if (use(u).resource != tied) s.top = std::max(s.top, level);
  }
  hold(member, tied, now);
}

// The level at which r is full when it captures what is frozen above it.
double FairShareSolver::solve_captures(std::int32_t r) {
  Share& s = share(r);
  const double least = candidate(s);
  const std::vector<Member>& members = resource(r).members;
  double frozen = s.frozen;
  double rising = s.rising;
  scratch_.clear();
  for (std::size_t i = static_cast<std::size_t>(s.held); i < members.size(); ++i) {
    if (holder(members[i].flow) < 0) continue;
    const Share& at = share(holder(members[i].flow));
    if (at.level <= least || at.phase == Phase::kLetGo) continue;
    const double load = use(members[i].first + members[i].own).load;
    scratch_.push_back({at.level, load});
    frozen -= load * at.level;
    rising += load;
    ++s.changes;
  }
  while (s.held + s.loose > 0 || !scratch_.empty()) {
    const double level = s.capacity == 0 ? 0 : std::max(0.0, s.capacity - frozen) / rising;
    const std::size_t before = scratch_.size();
    std::erase_if(scratch_, [&](const std::pair<double, double>& m) {
      if (m.first >= level) return false;
      frozen += m.second * m.first;
      rising -= m.second;
      return true;
    });
    if (scratch_.size() == before) return level;
  }
  return kNever;
}

// r is full at `level`: what is not frozen lower stays there.
void FairShareSolver::settle_resource(std::int32_t r, double level, double now) {
  Share& s = share(r);
  if (!(level < kNever)) return;
  if (s.phase == Phase::kPending) {
    push_held(r, level - s.level, level);
  } else {
    push_let_go(r, level);
  }
  take_rising(r, level, now);
}

// Holds at r what is loose on it or frozen above `level`, and settles r.
void FairShareSolver::take_rising(std::int32_t r, double level, double now) {
  Share& s = share(r);
  if (s.loose > 0 || s.top > above(level)) {
    double top = 0;
    const std::vector<Member>& members = resource(r).members;
    for (std::size_t i = static_cast<std::size_t>(s.held); i < members.size(); ++i) {
      const Member member = members[i];
      if (!is_loose(member.flow)) {
        const double elsewhere = share(holder(member.flow)).level;
        if (elsewhere <= above(level)) {
          top = std::max(top, elsewhere);
          continue;
        }
      }
      freeze(member, r, level);
      hold(member, r, now);
    }
    s.top = top;
  }
  s.level = level;
  s.phase = Phase::kSettled;
  set_alarm(s);
  ++level_changes_;
  touch(r);
  after_push(level, now);
}

// What is still pending is not full any more: from now on only its load is watched.
void FairShareSolver::finish_sweep() {
  for (const std::int32_t r : pending_) {
    Share& s = share(r);
    if (s.phase == Phase::kSettled) continue;
    SIM_CHECK(s.held == 0, "a resource that is not full holds nothing");
    if (s.level < kNever) ++level_changes_;
    s.level = kNever;
    s.phase = Phase::kSettled;
    set_alarm(s);
    touch(r);
    watch(r);
  }
  for (const std::int32_t r : pending_) {
    if (sum_is_due(share(r))) sum_anew(r);
  }
  pending_.clear();
}

}  // namespace sim
