#include "sim/workloads/flows/one_solve.h"

#include <algorithm>
#include <cstddef>

#include "sim/core/lowest_first.h"

namespace sim {
namespace {

constexpr double kSame = 1e-12;  // relative; ends closer together are one

class OneSolve {
 public:
  explicit OneSolve(const FlowSet& set) : set_(set), links_(set.capacities.size()) {}

  std::optional<FlowTimes> solve() {
    if (!set_.weights.empty() || !set_.caps_bytes_per_s.empty() || !set_.route_multipliers.empty())
      return std::nullopt;
    if (!begin_together()) return std::nullopt;
    list_flows_of_links();
    fill();
    return proved() ? std::optional(times()) : std::nullopt;
  }

 private:
  struct LinkState {
    double room = 0;              // bytes/s not yet given away
    double level = 0;             // rate of the flows that it limits
    double first_end = 0;         // of all flows on it, in seconds after the begin
    double last_end = 0;          // of those that it limits
    std::uint32_t rising = 0;     // flows on it whose rate is open
    std::uint32_t first_use = 0;  // its flows are flows_on_[first_use, next link's)
    bool changed = false;
  };

  bool begin_together() {
    bool any = false;
    for (const Flow& flow : set_.flows) {
      if (flow.bytes == 0) continue;
      if (any && set_.begin_s(flow) != begin_s_) return false;
      begin_s_ = set_.begin_s(flow);
      any = true;
    }
    return any;
  }

  void list_flows_of_links() {
    for (const Flow& flow : set_.flows) {
      if (flow.bytes == 0) continue;
      for (const std::int32_t link : set_.links(flow.route)) ++at(link).rising;
    }
    std::uint32_t uses = 0;
    for (LinkState& link : links_) {
      link.first_use = uses;
      uses += link.rising;
    }
    flows_on_.resize(uses);
    std::vector<std::uint32_t> next(links_.size());
    for (std::size_t l = 0; l < links_.size(); ++l) next[l] = links_[l].first_use;
    for (std::uint32_t f = 0; f < set_.flows.size(); ++f) {
      if (set_.flows[f].bytes == 0) continue;
      for (const std::int32_t link : set_.links(set_.flows[f].route))
        flows_on_[next[static_cast<std::size_t>(link)]++] = f;
    }
    limit_.assign(set_.flows.size(), -1);
  }

  // Progressive filling: the link with the least room per open flow sets the rate of those.
  void fill() {
    for (std::size_t l = 0; l < links_.size(); ++l) {
      links_[l].room = set_.capacities[l];
      if (links_[l].rising > 0)
        queue_.set(static_cast<std::int32_t>(l), links_[l].room / links_[l].rising);
    }
    while (!queue_.empty()) {
      const std::int32_t link = queue_.lowest();
      at(link).level = queue_.lowest_key();
      queue_.set(link, LowestFirst::kNever);
      limit_flows_of(link);
    }
  }

  void limit_flows_of(std::int32_t link) {
    const double level = at(link).level;
    changed_.clear();
    for (const std::uint32_t f : flows_on(static_cast<std::size_t>(link))) {
      if (limit_[f] >= 0) continue;
      limit_[f] = link;
      for (const std::int32_t other : set_.links(set_.flows[f].route)) {
        LinkState& state = at(other);
        state.room -= level;
        --state.rising;
        if (other == link || state.changed) continue;
        state.changed = true;
        changed_.push_back(other);
      }
    }
    for (const std::int32_t other : changed_) {
      LinkState& state = at(other);
      state.changed = false;
      // No lower than the level of this one, whatever rounding says.
      queue_.set(other, state.rising == 0 ? LowestFirst::kNever
                                          : std::max(level, state.room / state.rising));
    }
  }

  bool proved() {
    for (LinkState& link : links_) link.first_end = LowestFirst::kNever;
    for (std::size_t f = 0; f < set_.flows.size(); ++f) {
      if (limit_[f] < 0) continue;
      const double end = duration_s(f);
      at(limit_[f]).last_end = std::max(at(limit_[f]).last_end, end);
      for (const std::int32_t link : set_.links(set_.flows[f].route))
        at(link).first_end = std::min(at(link).first_end, end);
    }
    return std::all_of(links_.begin(), links_.end(), [](const LinkState& link) {
      return link.first_end >= link.last_end * (1 - kSame);
    });
  }

  FlowTimes times() const {
    FlowTimes result;
    result.finish_s.resize(set_.flows.size());
    for (std::size_t f = 0; f < set_.flows.size(); ++f) {
      result.finish_s[f] = limit_[f] < 0 ? set_.begin_s(set_.flows[f]) : begin_s_ + duration_s(f);
      result.makespan_s = std::max(result.makespan_s, result.finish_s[f]);
    }
    return result;
  }

  double duration_s(std::size_t f) const {
    return set_.flows[f].bytes / links_[static_cast<std::size_t>(limit_[f])].level;
  }
  LinkState& at(std::int32_t link) { return links_[static_cast<std::size_t>(link)]; }
  std::span<const std::uint32_t> flows_on(std::size_t link) const {
    const std::size_t end =
        link + 1 < links_.size() ? links_[link + 1].first_use : flows_on_.size();
    return {flows_on_.data() + links_[link].first_use, flows_on_.data() + end};
  }

  const FlowSet& set_;
  std::vector<LinkState> links_;
  std::vector<std::uint32_t> flows_on_;
  std::vector<std::int32_t> limit_;  // per flow: the link that sets its rate; -1: no bytes
  std::vector<std::int32_t> changed_;
  LowestFirst queue_;
  double begin_s_ = 0;
};

}  // namespace

std::optional<FlowTimes> solve_once(const FlowSet& set) { return OneSolve(set).solve(); }

}  // namespace sim
