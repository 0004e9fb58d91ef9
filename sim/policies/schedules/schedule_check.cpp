// What the slots of a schedule wait for: every pass once, nobody waiting in a circle.
#include <fmt/format.h>

#include <algorithm>

#include "sim/core/error.h"
#include "sim/policies/schedules/pipeline_schedule.h"

namespace sim {
namespace {

constexpr std::int32_t kNowhere = -1;
constexpr int kMostOfACycle = 12;  // waits that a message prints

const char* name_of(PassOf kind) {
  constexpr std::array<const char*, 4> kNames = {"forward", "backward", "input gradient",
                                                 "weight gradient"};
  return kNames[static_cast<std::size_t>(kind)];
}

// The slots as one list, stage by stage, and which slot holds which pass.
class SlotGraph {
 public:
  explicit SlotGraph(const PipelineSchedule& schedule);
  std::vector<SlotPlace> order() const;

 private:
  struct Passes {  // of one micro-batch in one part of the model: the slots they stand in
    std::int32_t forward = kNowhere;
    std::int32_t backward = kNowhere;  // or the input gradient
    std::int32_t weight = kNowhere;
    bool split = false;
  };

  void check_paths();
  void enter(const Pass& pass, int stage, std::int32_t slot);
  void check_passes() const;
  Passes& passes(int micro_batch, int part) {
    return passes_[static_cast<std::size_t>(micro_batch) * parts_ + static_cast<std::size_t>(part)];
  }
  const Passes& passes(int micro_batch, int part) const {
    return passes_[static_cast<std::size_t>(micro_batch) * parts_ + static_cast<std::size_t>(part)];
  }
  SlotPlace place(std::int32_t slot) const;
  const Slot& slot(std::int32_t number) const;
  int part(const Pass& pass, int stage) const {
    return part_[static_cast<std::size_t>(stage * schedule_.chunks + pass.chunk)];
  }
  // Calls visit(slot) for each slot that this one waits for: passes first, then its predecessor.
  template <class Visit>
  void waits(std::int32_t number, Visit visit) const;
  std::string cycle(const std::vector<std::int32_t>& left) const;
  std::string at_stage(std::int32_t number) const;

  const PipelineSchedule& schedule_;
  std::size_t parts_ = 0;
  std::vector<std::int32_t> begin_;  // first slot of a stage
  std::vector<int> part_;            // per stage and chunk: the part of the model that lies there
  std::vector<int> path_;            // likewise: the path that crosses
  std::vector<Passes> passes_;
};

SlotGraph::SlotGraph(const PipelineSchedule& schedule) : schedule_(schedule) {
  check_paths();
  passes_.resize(static_cast<std::size_t>(schedule.micro_batches) * parts_);
  std::int32_t number = 0;
  for (int stage = 0; stage < schedule.stages; ++stage) {
    begin_.push_back(number);
    for (const Slot& slot : schedule.order[static_cast<std::size_t>(stage)]) {
      enter(slot.first, stage, number);
      if (slot.beside) enter(*slot.beside, stage, number);
      ++number;
    }
  }
  begin_.push_back(number);
  check_passes();
}

void SlotGraph::check_paths() {
  const std::size_t places =
      static_cast<std::size_t>(schedule_.stages) * static_cast<std::size_t>(schedule_.chunks);
  SIM_CHECK(schedule_.order.size() == static_cast<std::size_t>(schedule_.stages),
            "a schedule has an order for every stage");
  SIM_CHECK(schedule_.path_of.size() == static_cast<std::size_t>(schedule_.micro_batches),
            "a schedule has a path for every micro-batch");
  part_.assign(places, kNowhere);
  path_.assign(places, kNowhere);
  parts_ = static_cast<std::size_t>(schedule_.parts());
  for (std::size_t path = 0; path < schedule_.paths.size(); ++path) {
    SIM_CHECK(schedule_.paths[path].size() == parts_, "all paths have as many parts");
    for (std::size_t part = 0; part < parts_; ++part) {
      const Position at = schedule_.paths[path][part];
      const auto index = static_cast<std::size_t>(at.stage * schedule_.chunks + at.chunk);
      SIM_CHECK(index < places && part_[index] == kNowhere, "one part lies at a position");
      part_[index] = static_cast<int>(part);
      path_[index] = static_cast<int>(path);
    }
  }
}

void SlotGraph::enter(const Pass& pass, int stage, std::int32_t slot) {
  const auto complain = [&](const std::string& what) {
    throw Error(fmt::format("stage {} runs {}, {}", stage, to_text(schedule_, pass), what));
  };
  if (pass.micro_batch < 0 || pass.micro_batch >= schedule_.micro_batches) {
    complain(schedule_.micro_batches == 1 ? "but there is only micro-batch 0"
                                          : fmt::format("but there are only micro-batches 0 to {}",
                                                        schedule_.micro_batches - 1));
  }
  if (pass.chunk < 0 || pass.chunk >= schedule_.chunks)
    complain(fmt::format("but a stage has {} chunk(s), counted from 0", schedule_.chunks));
  const auto index = static_cast<std::size_t>(stage * schedule_.chunks + pass.chunk);
  if (path_[index] != schedule_.path_of[static_cast<std::size_t>(pass.micro_batch)])
    complain("but that micro-batch takes the other copy of the model");
  Passes& of = passes(pass.micro_batch, part_[index]);
  std::int32_t& seat = pass.kind == PassOf::kForward          ? of.forward
                       : pass.kind == PassOf::kWeightGradient ? of.weight
                                                              : of.backward;
  if (seat != kNowhere) {
    const Slot& before = this->slot(seat);
    const bool same = before.first == pass || before.beside == pass;
    complain(same ? "which it ran before" : "whose input gradient it computed before");
  }
  seat = slot;
  if (pass.kind == PassOf::kInputGradient) of.split = true;
}

void SlotGraph::check_passes() const {
  for (int path = 0; path < static_cast<int>(schedule_.paths.size()); ++path) {
    for (int part = 0; part < static_cast<int>(parts_); ++part) {
      const Position at =
          schedule_.paths[static_cast<std::size_t>(path)][static_cast<std::size_t>(part)];
      for (int m = 0; m < schedule_.micro_batches; ++m) {
        if (schedule_.path_of[static_cast<std::size_t>(m)] != path) continue;
        const Passes& of = passes(m, part);
        const auto complain = [&](PassOf kind, const char* what) {
          throw Error(fmt::format("stage {} {} {} ({})", at.stage, what, name_of(kind),
                                  to_text(schedule_, Pass{kind, m, at.chunk})));
        };
        if (of.forward == kNowhere) complain(PassOf::kForward, "never runs the");
        if (of.backward == kNowhere) complain(PassOf::kBackward, "never runs the");
        if (of.split && of.weight == kNowhere) complain(PassOf::kWeightGradient, "never runs the");
        if (!of.split && of.weight != kNowhere) {
          complain(PassOf::kWeightGradient,
                   "runs a whole backward pass and then again computes the");
        }
        if (of.backward <= of.forward)
          complain(PassOf::kForward, "computes gradients before, or beside, the");
        if (of.split && of.weight <= of.backward)
          complain(PassOf::kWeightGradient, "has no input gradient yet when it computes the");
      }
    }
  }
}

SlotPlace SlotGraph::place(std::int32_t slot) const {
  const auto after = std::upper_bound(begin_.begin(), begin_.end(), slot);
  const int stage = static_cast<int>(after - begin_.begin()) - 1;
  return {stage, slot - begin_[static_cast<std::size_t>(stage)]};
}

const Slot& SlotGraph::slot(std::int32_t number) const {
  const SlotPlace at = place(number);
  return schedule_.order[static_cast<std::size_t>(at.stage)][static_cast<std::size_t>(at.index)];
}

template <class Visit>
void SlotGraph::waits(std::int32_t number, Visit visit) const {
  const SlotPlace at = place(number);
  const auto visit_pass = [&](const Pass& pass) {
    const int here = part(pass, at.stage);
    if (pass.kind == PassOf::kForward) {
      if (here > 0) visit(passes(pass.micro_batch, here - 1).forward);
    } else if (pass.kind != PassOf::kWeightGradient) {
      if (here + 1 < static_cast<int>(parts_)) visit(passes(pass.micro_batch, here + 1).backward);
    }  // what its own stage computed stands earlier in the order of the stage
  };
  const Slot& slot = this->slot(number);
  visit_pass(slot.first);
  if (slot.beside) visit_pass(*slot.beside);
  if (at.index > 0) visit(number - 1);
}

std::string SlotGraph::at_stage(std::int32_t number) const {
  return fmt::format("stage {} {}", place(number).stage, to_text(schedule_, slot(number)));
}

// Follows waits among the slots that are left until one comes again.
std::string SlotGraph::cycle(const std::vector<std::int32_t>& left) const {
  std::int32_t at = kNowhere;
  for (std::size_t i = 0; i < left.size() && at == kNowhere; ++i)
    if (left[i] > 0) at = static_cast<std::int32_t>(i);
  std::vector<std::int32_t> walk;
  std::vector<bool> seen(left.size(), false);
  while (!seen[static_cast<std::size_t>(at)]) {
    seen[static_cast<std::size_t>(at)] = true;
    walk.push_back(at);
    std::int32_t next = kNowhere;
    waits(at, [&](std::int32_t other) {
      if (next == kNowhere && left[static_cast<std::size_t>(other)] > 0) next = other;
    });
    at = next;
  }
  walk.erase(walk.begin(), std::find(walk.begin(), walk.end(), at));
  walk.push_back(at);
  std::string text = at_stage(at);
  const std::size_t shown = std::min<std::size_t>(walk.size() - 1, kMostOfACycle);
  for (std::size_t i = 1; i <= shown; ++i) {
    text += i == 1 ? " waits for " : ", which waits for ";
    text += at_stage(walk[i]);
  }
  if (shown + 1 < walk.size())
    text +=
        fmt::format(", and so on over {} more back to {}", walk.size() - 1 - shown, at_stage(at));
  return text;
}

std::vector<SlotPlace> SlotGraph::order() const {
  const auto count = static_cast<std::size_t>(begin_.back());
  std::vector<std::int32_t> left(count, 0);       // waits not yet fulfilled
  std::vector<std::int32_t> first(count + 1, 0);  // of the slots that wait for one
  for (std::size_t i = 0; i < count; ++i) {
    waits(static_cast<std::int32_t>(i), [&](std::int32_t other) {
      ++left[i];
      ++first[static_cast<std::size_t>(other) + 1];
    });
  }
  for (std::size_t i = 0; i < count; ++i) first[i + 1] += first[i];
  std::vector<std::int32_t> waiting(static_cast<std::size_t>(first.back()));
  std::vector<std::int32_t> next = first;
  for (std::size_t i = 0; i < count; ++i) {
    waits(static_cast<std::int32_t>(i), [&](std::int32_t other) {
      waiting[static_cast<std::size_t>(next[static_cast<std::size_t>(other)]++)] =
          static_cast<std::int32_t>(i);
    });
  }
  std::vector<std::int32_t> ready;
  for (std::size_t i = 0; i < count; ++i)
    if (left[i] == 0) ready.push_back(static_cast<std::int32_t>(i));
  for (std::size_t i = 0; i < ready.size(); ++i) {
    const auto done = static_cast<std::size_t>(ready[i]);
    for (auto w = first[done]; w < first[done + 1]; ++w) {
      const std::int32_t after = waiting[static_cast<std::size_t>(w)];
      if (--left[static_cast<std::size_t>(after)] == 0) ready.push_back(after);
    }
  }
  if (ready.size() < count)
    throw Error("the schedule never ends: " + cycle(left),
                "change the order of one of these stages");
  std::vector<SlotPlace> places;
  places.reserve(count);
  for (const std::int32_t slot : ready) places.push_back(place(slot));
  return places;
}

}  // namespace

void check_schedule(const PipelineSchedule& schedule) { dependency_order(schedule); }

std::vector<SlotPlace> dependency_order(const PipelineSchedule& schedule) {
  return SlotGraph(schedule).order();
}

}  // namespace sim
