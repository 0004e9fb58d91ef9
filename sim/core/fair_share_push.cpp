// Pushes of the max-min solver: how a change of one resource's level reaches the loads of others.
#include <algorithm>
#include <cmath>

#include "sim/core/fair_share_solver.h"

namespace sim {
namespace {

constexpr int kSpokeEdits = 8;  // with so many and no push, spokes are better found anew

}  // namespace

// What r holds moves to `level`: tells the other resources. Much of the solver's time is spent in
// this loop, so it has no branch and looks at nothing it need not; reached_ has room for all
// resources twice and one more.
void FairShareSolver::push_held(std::int32_t r, double difference, double level) {
  ++pushes_;
  Share* const shares = shares_.data();
  std::int32_t* out = reached_.data() + reached_count_;
  for (const Spoke& spoke : known_spokes(r)) {
    Share& s = shares[spoke.resource];
    const double frozen = s.frozen + spoke.load * difference;
    s.frozen = frozen;
    s.top = s.top < level ? level : s.top;
    ++s.changes;
    *out = spoke.resource;
    out += frozen > s.alarm ? 1 : 0;
  }
  reached_count_ = out - reached_.data();
}

// What r holds, which rose from `water` until now, freezes at `level`: tells the other resources.
void FairShareSolver::push_let_go(std::int32_t r, double level) {
  ++pushes_;
  const double water = share(r).level;
  for (const Spoke& spoke : known_spokes(r)) {
    Share& s = share(spoke.resource);
    ++s.changes;
    if (takes_part(s)) {
      s.loose -= spoke.count;
      s.frozen += spoke.load * level;
      take_from_rising(s, spoke.load, s.held + s.loose);
    } else {
      s.frozen += spoke.load * (level - water);
    }
    reach(spoke.resource);
  }
}

const std::vector<FairShareSolver::Spoke>& FairShareSolver::known_spokes(std::int32_t r) {
  if (!resource(r).spokes_known) find_spokes(r);
  resource(r).spoke_edits = 0;
  return resource(r).spokes;
}

void FairShareSolver::find_spokes(std::int32_t r) {
  std::vector<Spoke>& spokes = resource(r).spokes;
  spokes.clear();
  const Member* member = resource(r).members.data();
  const Member* const end = member + share(r).held;
  for (; member != end; ++member) {
    for (std::int32_t u = member->first; u < member->first + member->count; ++u) {
      const std::int32_t t = use(u).resource;
      if (t == r) continue;
      std::int32_t& place = spoke_of_[static_cast<std::size_t>(t)];
      if (place < 0) {
        place = static_cast<std::int32_t>(spokes.size());
        spokes.push_back({t, 0, 0});
      }
      Spoke& spoke = spokes[static_cast<std::size_t>(place)];
      ++spoke.count;
      spoke.load += use(u).load;
    }
  }
  for (const Spoke& spoke : spokes) spoke_of_[static_cast<std::size_t>(spoke.resource)] = -1;
  resource(r).spokes_known = true;
}

// r holds the transfer from now on (count 1), or no longer (-1).
void FairShareSolver::edit_spokes(std::int32_t r, FlowIndex f, std::int32_t count) {
  Resource& at = resource(r);
  if (at.spoke_edits++ == kSpokeEdits) at.spokes_known = false;
  if (!at.spokes_known) return;
  for (std::int32_t u = flow(f).first; u < flow(f).first + flow(f).count; ++u) {
    const std::int32_t t = use(u).resource;
    if (t == r) continue;
    auto spoke = std::find_if(at.spokes.begin(), at.spokes.end(),
                              [t](const Spoke& s) { return s.resource == t; });
    if (spoke == at.spokes.end()) spoke = at.spokes.insert(spoke, {t, 0, 0});
    spoke->count += count;
    spoke->load += count * use(u).load;
    if (spoke->count > 0) continue;
    *spoke = at.spokes.back();
    at.spokes.pop_back();
  }
}

// A transfer that rose, or was frozen above `level`, freezes at r's level: tells its resources.
void FairShareSolver::freeze(const Member& member, std::int32_t r, double level) {
  const std::int32_t held_by = holder(member.flow);
  const bool loose = is_loose(member.flow);
  ++pushes_;
  const double was = held_by < 0 ? 0 : share(held_by).level;
  for (std::int32_t u = member.first; u < member.first + member.count; ++u) {
    const std::int32_t t = use(u).resource;
    const double load = use(u).load;
    Share& s = share(t);
    if (t == r) {
      if (t == held_by) continue;
      if (loose) {
        --s.loose;
      } else {
        s.frozen -= load * was;
        s.rising += load;
        ++s.changes;
      }
      continue;
    }
    ++s.changes;
    if (t == held_by) {
      s.frozen += load * level;
      take_from_rising(s, load, s.held + s.loose - 1);
    } else if (loose && (held_by < 0 || takes_part(s))) {
      --s.loose;
      s.frozen += load * level;
      take_from_rising(s, load, s.held + s.loose);
    } else {
      s.frozen += load * (level - was);
    }
    reach(t);
  }
}

// What a push at this water level means for the resources it reached.
void FairShareSolver::after_push(double level, double now) {
  for (std::ptrdiff_t i = 0; i < reached_count_; ++i) {
    const std::int32_t t = reached_[static_cast<std::size_t>(i)];
    Share& s = share(t);
    s.reached = false;
    if (!takes_part(s) && !eager_) {
      if (s.frozen > s.alarm) watch(t);
      continue;
    }
    s.top = std::max(s.top, level);
    const double key = queue_.key(t);
    if (s.phase == Phase::kSettled) {
      if (s.level < kNever) {
        if (s.level <= above(level)) continue;
        const double rising = s.level * s.rising;
        if (std::fabs(s.capacity - s.frozen - rising) <= kSame * rising) continue;
      }
      make_pending(t, now);
    } else if (key <= level || !is_overfull(s, key)) {
      set_alarm(s, key);
      continue;  // its key is still a bound
    }
    const double next = candidate(s);
    const double old = s.phase == Phase::kLetGo ? kNever : s.level;
    const double lower = next < kNever ? std::min(std::max(level, next), old) : kNever;
    if (lower < key) {
      enqueue(t, lower);
    } else {
      set_alarm(s, key);
    }
  }
  reached_count_ = 0;
}

}  // namespace sim
