// Sums of the max-min solver: when the load of a resource is summed anew from its transfers, and
// how resources that are not full are watched.
#include <algorithm>
#include <string>

#include "sim/core/error.h"
#include "sim/core/fair_share_solver.h"

namespace sim {
namespace {

constexpr double kRounding = 0x1p-52;
constexpr double kDrift = 5e-11;  // of a level, before its sums are made anew
constexpr double kOverfull = 1e-12;
constexpr std::uint32_t kSumNow = 1 << 30;

}  // namespace

// Its load is looked at when the sweep is over.
void FairShareSolver::watch(std::int32_t r) {
  if (share(r).on_watched) return;
  share(r).on_watched = true;
  watched_.push_back(r);
}

// Marks the watched resources that have filled up as dirty.
void FairShareSolver::check_watched() {
  // A push changes a load once, so no load misses this by more than as many changes again.
  if (pushes_ >= kManyChanges) {
    pushes_ = 0;
    for (std::size_t r = 0; r < shares_.size(); ++r) {
      if (!(shares_[r].level < kNever) && shares_[r].changes >= kManyChanges)
        watch(static_cast<std::int32_t>(r));
    }
  }
  for (const std::int32_t r : watched_) {
    Share& s = share(r);
    s.on_watched = false;
    if (s.level < kNever) continue;
    const double doubt = s.changes * kRounding;
    if (s.frozen <= s.capacity * (1 + kOverfull - doubt) && s.changes < kManyChanges) continue;
    sum_anew(r);
    if (s.frozen > s.capacity * (1 + kOverfull)) mark_dirty(r);
  }
  watched_.clear();
}

// One of the transfers that rise on s, of which `left` remain, does so no more.
void FairShareSolver::take_from_rising(Share& s, double load, std::int32_t left) {
  s.rising = left == 0 ? 0 : s.rising - load;
  if (left > 0 && s.rising < load * 1e-3) s.changes = kSumNow;  // what is left may be rounding
}

bool FairShareSolver::sum_is_due(const Share& s) {
  if (s.changes >= kSumNow) return true;
  return s.level < kNever &&
         s.changes * kRounding * s.capacity > kDrift * s.level * std::max(0.0, s.rising);
}

// REQUIRES: nothing is pending.
void FairShareSolver::sum_anew(std::int32_t r) {
  Share& s = share(r);
  s.frozen = s.rising = s.top = 0;
  s.changes = 0;
  const std::vector<Member>& members = resource(r).members;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::int32_t held_by = holder(members[i].flow);
    const double load = use(members[i].first + members[i].own).load;
    if (held_by < 0 || held_by == r) {
      s.rising += load;
    } else {
      s.frozen += load * share(held_by).level;
      s.top = std::max(s.top, share(held_by).level);
    }
  }
}

// Checks that the rates are max-min fair: after every settle of a few transfers, and so seldom with
// many that a settle pays for the check of some dozen.
void FairShareSolver::certify() {
  constexpr std::size_t kChecked = 16;
  if (++uncertified_ * kChecked < active_) return;
  uncertified_ = 0;
  const std::string wrong = violation(1e-9);
  SIM_CHECK(wrong.empty(), wrong);
}

}  // namespace sim
