// Pushes of the max-min solver: how a change of one resource's level reaches the loads of others.
#include <algorithm>

#include "sim/core/fair_share_solver.h"

namespace sim {
namespace {

constexpr double kNearlyFull = 1 - 1e-11;
constexpr std::uint32_t kLookAfter = 4096;  // changes; a power of two

}  // namespace

// What r holds moves to `level`: tells the other resources. Much of the solver's time is spent in
// this loop, so it has no branch; reached_ is one longer than all resources together.
void FairShareSolver::push_held(std::int32_t r, double difference, double level) {
  if (!resource(r).spokes_known) find_spokes(r);
  Share* const shares = shares_.data();
  std::int32_t* out = reached_.data() + reached_count_;
  for (const Spoke& spoke : resource(r).spokes) {
    Share& s = shares[spoke.resource];
    s.frozen += spoke.load * difference;
    s.top = std::max(s.top, level);
    ++s.changes;
    const bool look = ((s.frozen > s.alarm) | (s.changes % kLookAfter == 0)) & !s.reached;
    *out = spoke.resource;
    out += look ? 1 : 0;
    s.reached |= look;
  }
  reached_count_ = out - reached_.data();
}

void FairShareSolver::reach(std::int32_t t) {
  if (share(t).reached) return;
  share(t).reached = true;
  reached_[static_cast<std::size_t>(reached_count_++)] = t;
}

// Below it, a load changes nothing: s is not full, or is pending and its key still is a bound.
void FairShareSolver::set_alarm(Share& s) const {
  if (s.phase == Phase::kSettled) {
    s.alarm = s.level < kNever || eager_ ? -kNever : s.capacity * kNearlyFull;
  } else if (s.held + s.loose == 0) {
    s.alarm = s.capacity;
  } else {
    s.alarm = s.key < kNever ? s.capacity - s.key * s.rising : -kNever;
  }
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

}  // namespace sim
