#include "sim/workloads/training_step.h"

#include <algorithm>

#include "sim/core/error.h"
#include "sim/workloads/training_rank_memory.h"

namespace sim {

TrainingStep::TrainingStep(const StepSetup& setup, const TrainingWorkload& workload,
                           TaskGraph& graph, ClusterNetwork& network, RoutingSource& routing,
                           CostLedger& ledger, BlockTasks::Traffic traffic)
    : setup_(setup),
      workload_(workload),
      routing_source_(routing),
      costs_(setup.model, setup.costs, ledger, setup.layout.ep == 1, setup.exchange, setup.host.gap,
             true),
      tasks_(setup, graph, network, ledger, std::move(traffic)),
      planner_(setup, network),
      blocks_(setup, workload, tasks_, costs_),
      gradients_(setup, workload, tasks_, costs_),
      routed_(routed_blocks(setup.model)) {
  sent_bytes_ = Bytes(static_cast<std::int64_t>(
      static_cast<double>(tokens_per_rank(workload, setup.layout)) *
      static_cast<double>(setup.model.hidden) * bytes_per_value(setup.model.formats.activations)));
  const PipelineSchedule& schedule = workload.schedule;
  for (const std::vector<Slot>& slots : schedule.order) {
    std::vector<std::size_t> last(static_cast<std::size_t>(schedule.chunks), 0);
    for (std::size_t k = 0; k < slots.size(); ++k) {
      const auto look = [&](const Pass& pass) {
        if (pass.kind == PassOf::kBackward || pass.kind == PassOf::kWeightGradient)
          last[static_cast<std::size_t>(pass.chunk)] = k;
      };
      look(slots[k].first);
      if (slots[k].beside) look(*slots[k].beside);
    }
    last_weight_slot_.push_back(std::move(last));
  }
}

void TrainingStep::tell_memory(int rank, std::string_view item, Bytes bytes, int sign) {
  if (bytes == Bytes(0)) return;
  setup_.memory_changes({DeviceId(rank), tasks_.graph().now(), item, sign * bytes.count()});
}

void TrainingStep::tell_memory(int rank, int stage, const Slot& slot) {
  if (kept_.empty()) return;
  for (const std::optional<Pass>& pass : {std::optional<Pass>(slot.first), slot.beside}) {
    if (!pass || pass->kind == PassOf::kInputGradient) continue;
    const Bytes kept =
        kept_[static_cast<std::size_t>(stage)][static_cast<std::size_t>(pass->chunk)];
    tell_memory(rank, "activations", kept, pass->kind == PassOf::kForward ? 1 : -1);
  }
}

void TrainingStep::begin(int step, int routing_step, TaskGraph::Done done) {
  step_ = step;
  routing_step_ = routing_step;
  done_ = std::move(done);
  costs_.clear();
  tasks_.graph().mark_step_begin();
  stages_.assign(static_cast<std::size_t>(setup_.layout.pp), Stage{});
  arrivals_.clear();
  plans_.clear();
  planned_ = 0;
  finished_stages_ = 0;
  facts_ = {};
  weights_of_facts_.clear();
  facts_.tokens = workload_.sequences(setup_.layout) * workload_.sequence_length;
  Lane world(0, setup_.layout.world);
  tasks_.launch_step(world, {step, -1, -1, PassKind::kForward});
  launched_.clear();
  for (const Cursor& cursor : world.cursors) launched_.push_back(cursor.last);
  gradients_.begin_step(step, world);
  if (setup_.memory_changes && kept_.empty()) {
    for (int stage = 0; stage < setup_.layout.pp; ++stage) {
      const int slots = stage_share(setup_, 0, 0, false, false).expert_slots;
      const StageMemory memory =
          stage_memory(setup_, workload_, stage, slots, setup_.framework_reserve);
      kept_.emplace_back();
      for (const std::vector<MemoryItem>& chunk : memory.kept) kept_.back().push_back(total(chunk));
      const int first = setup_.layout.first_rank(stage);
      for (int r = first; r < first + setup_.layout.stage_ranks(); ++r) {
        for (const MemoryItem& item : memory.always) tell_memory(r, item.name, item.bytes, 1);
      }
    }
  }
  build_what_can_be();
}

StepFacts TrainingStep::take_facts() {
  for (std::size_t b = 0; b < facts_.blocks.size(); ++b) {
    facts_.blocks[b].imbalance_max_over_mean /= weights_of_facts_[b];
    facts_.blocks[b].expert_imbalance_max_over_mean = max_over_mean(facts_.blocks[b].expert_rows);
  }
  for (int r = 0; r < setup_.layout.world; ++r)
    facts_.least_compute_s = std::max(facts_.least_compute_s, tasks_.least_s(r));
  return std::move(facts_);
}

// Building a slot may make others possible; slots ask again while one is being built.
void TrainingStep::build_what_can_be() {
  again_ = true;
  if (building_) return;
  building_ = true;
  while (again_) {
    again_ = false;
    for (int s = 0; s < setup_.layout.pp; ++s) {
      while (can_build(s)) {
        build_slot(s);
        again_ = true;
      }
    }
  }
  building_ = false;
}

// Two slots ahead: while a slot runs on the first of the stage's ranks, the next one is built.
bool TrainingStep::can_build(int stage) const {
  const Stage& at = stages_[static_cast<std::size_t>(stage)];
  const std::vector<Slot>& slots = workload_.schedule.order[static_cast<std::size_t>(stage)];
  if (at.next >= slots.size() || at.next > at.ended + 1) return false;
  const Slot& slot = slots[at.next];
  return inputs_built(stage, slot.first) && (!slot.beside || inputs_built(stage, *slot.beside));
}

int TrainingStep::part_of(int stage, const Pass& pass) const {
  return part_at(workload_.schedule, pass.micro_batch, {stage, pass.chunk}).value();
}

bool TrainingStep::inputs_built(int stage, const Pass& pass) const {
  const int part = part_of(stage, pass);
  const bool forward = pass.kind == PassOf::kForward;
  // The loss follows the last forward on the same rank; weight gradients follow input gradients.
  if (forward && part == 0) return true;
  if (pass.kind == PassOf::kWeightGradient) return true;
  if (!forward && part + 1 == workload_.schedule.parts()) return true;
  const auto found = arrivals_.find({pass.micro_batch, part});
  return found != arrivals_.end() && found->second[forward ? kForwards : kBackwards].built;
}

TrainingBlocks::PassPlace TrainingStep::place_of(int stage, const Pass& pass, bool beside) const {
  return {step_, pass.micro_batch, stage, part_of(stage, pass), beside};
}

std::vector<TrainingBlocks::Segment> TrainingStep::segments_of(int stage, std::size_t slot,
                                                               const Pass& pass, bool beside) {
  const TrainingBlocks::PassPlace place = place_of(stage, pass, beside);
  const std::vector<RoutedPlan>& plans = plans_of(pass.micro_batch);
  const auto begins = [this, place](int layer, PassKind kind, Lane& lane) {
    gradients_.before_layer(place, layer, kind, lane);
  };
  if (pass.kind == PassOf::kForward) return blocks_.forward(place, plans, begins);
  const bool last =
      last_weight_slot_[static_cast<std::size_t>(stage)][static_cast<std::size_t>(pass.chunk)] ==
      slot;
  return blocks_.backward(place, pass.kind, plans, begins,
                          [this, place, last](int layer, Lane& lane) {
                            gradients_.after_layer(place, layer, last, lane);
                          });
}

void TrainingStep::begin_lane(int stage, const Pass& pass, Lane& lane) {
  const int part = part_of(stage, pass);
  const auto found = arrivals_.find({pass.micro_batch, part});
  for (int r = lane.first; r < lane.end(); ++r) {
    Cursor& cursor = lane.of(r);
    cursor.last = launched_[static_cast<std::size_t>(r)];
    cursor.needs.push_back(cursor.last);
    if (found == arrivals_.end() || pass.kind == PassOf::kWeightGradient) continue;
    const Arrival& arrival = found->second[pass.kind == PassOf::kForward ? kForwards : kBackwards];
    if (!arrival.built) continue;
    const std::vector<TaskId>& after = arrival.after[static_cast<std::size_t>(r - lane.first)];
    cursor.needs.insert(cursor.needs.end(), after.begin(), after.end());
  }
}

namespace {

// Launches segments from `at` on until one waits for what it has sent; returns that one.
std::size_t launch_up_to_wait(const std::vector<TrainingBlocks::Segment>& segments, std::size_t at,
                              Lane& lane) {
  const std::size_t begin = at;
  for (; at < segments.size(); ++at) {
    if (at > begin && segments[at].waits) break;
    segments[at].launch(lane);
  }
  return at;
}

}  // namespace

void TrainingStep::build_slot(int stage) {
  Stage& at = stages_[static_cast<std::size_t>(stage)];
  const std::size_t index = at.next++;
  const Slot slot = workload_.schedule.order[static_cast<std::size_t>(stage)][index];
  const int first = setup_.layout.first_rank(stage);
  const int ranks = setup_.layout.stage_ranks();
  Lane lane(first, ranks);
  begin_lane(stage, slot.first, lane);
  const bool two = slot.beside.has_value();
  const std::vector<TrainingBlocks::Segment> segments = segments_of(stage, index, slot.first, two);
  std::optional<Lane> other;
  std::vector<TrainingBlocks::Segment> other_segments;
  if (two) {
    other.emplace(first, ranks);
    begin_lane(stage, *slot.beside, *other);
    other_segments = segments_of(stage, index, *slot.beside, true);
  }
  // In turn, each up to where it waits for what it has sent. A backward pass goes second: what it
  // sends first comes after little of its own.
  std::size_t at_first = 0;
  std::size_t at_other = 0;
  while (at_first < segments.size() || at_other < other_segments.size()) {
    at_first = launch_up_to_wait(segments, at_first, lane);
    if (two) at_other = launch_up_to_wait(other_segments, at_other, *other);
  }
  end_pass(stage, slot.first, lane);
  if (two) end_pass(stage, *slot.beside, *other);
  for (int r = first; r < first + ranks; ++r) {
    std::vector<TaskId> last = lane.of(r).needs;
    last.push_back(lane.of(r).last);
    if (two) last.push_back(other->of(r).last);
    tasks_.graph().when_done(last, [this, stage, index, r](Time, const CauseVector&) {
      tell_memory(r, stage, workload_.schedule.order[static_cast<std::size_t>(stage)][index]);
      Stage& here = stages_[static_cast<std::size_t>(stage)];
      if (here.ended > index) return;  // another rank was first
      here.ended = index + 1;
      build_what_can_be();
    });
  }
  if (at.next < workload_.schedule.order[static_cast<std::size_t>(stage)].size()) return;
  if (two) {
    for (int r = first; r < first + ranks; ++r) {
      for (const TaskId need : other->of(r).needs) lane.of(r).needs.push_back(need);
      lane.of(r).needs.push_back(other->of(r).last);
    }
  }
  gradients_.finish_stage(stage, lane);
  if (++finished_stages_ < stages_.size()) return;
  std::vector<TaskId> finals = gradients_.take_finals();
  const std::vector<TaskId> loose = tasks_.take_loose();
  finals.insert(finals.end(), loose.begin(), loose.end());
  tasks_.graph().when_done(finals, [this](Time end, const CauseVector& causes) {
    plans_.clear();
    done_(end, causes);
  });
}

void TrainingStep::end_pass(int stage, const Pass& pass, Lane& lane) {
  const int part = part_of(stage, pass);
  const int parts = workload_.schedule.parts();
  if (pass.kind == PassOf::kForward && part + 1 < parts)
    send_on(stage, pass, part, part + 1, kForwards, lane);
  const bool gradient = pass.kind == PassOf::kBackward || pass.kind == PassOf::kInputGradient;
  if (gradient && part > 0) send_on(stage, pass, part, part - 1, kBackwards, lane);
  if (pass.kind == PassOf::kBackward || pass.kind == PassOf::kWeightGradient)
    forget_plans(pass.micro_batch, part);
}

void TrainingStep::send_on(int stage, const Pass& pass, int from_part, int to_part,
                           Direction direction, Lane& lane) {
  const auto& path = workload_.schedule.paths[static_cast<std::size_t>(
      workload_.schedule.path_of[static_cast<std::size_t>(pass.micro_batch)])];
  const int to_stage = path[static_cast<std::size_t>(to_part)].stage;
  Arrival& arrival = arrivals_[{pass.micro_batch, to_part}][direction];
  arrival.built = true;
  const auto [first, end] = workload_.parts[static_cast<std::size_t>(from_part)];
  const Stamp stamp{step_, direction == kForwards ? end - 1 : first, pass.micro_batch,
                    direction == kForwards ? PassKind::kForward : PassKind::kInputGradient};
  const int to_first = setup_.layout.first_rank(to_stage);
  for (int r = lane.first; r < lane.end(); ++r) {
    std::vector<TaskId> after = lane.of(r).needs;
    after.push_back(lane.of(r).last);
    if (to_stage == stage) {  // it stays where it is
      arrival.after.push_back(std::move(after));
      continue;
    }
    const BlockTasks::Send send =
        tasks_.send(DeviceId(r), DeviceId(to_first + r - lane.first), sent_bytes_, after, stamp);
    if (setup_.communication_waits) {
      arrival.after.push_back({send.received});
    } else {
      tasks_.let_end(send.received);
      arrival.after.push_back({lane.of(r).last});
    }
  }
}

// Routing sources are asked in rising order, whichever micro-batch comes first.
const std::vector<RoutedPlan>& TrainingStep::plans_of(int micro_batch) {
  while (planned_ <= micro_batch) {
    const int m = planned_++;
    std::vector<RoutedPlan>& plans = plans_[m];
    plans.resize(routed_.size());
    const auto& path = workload_.schedule.paths[static_cast<std::size_t>(
        workload_.schedule.path_of[static_cast<std::size_t>(m)])];
    for (std::size_t part = 0; part < path.size(); ++part) {
      const auto [first, end] = workload_.parts[part];
      for (std::size_t i = 0; i < routed_.size(); ++i) {
        if (routed_[i].layer < first || routed_[i].layer >= end) continue;
        routing_source_.fill(routing_step_ + m, static_cast<int>(i), routing_);
        const std::int64_t tokens =
            tokens_per_rank(workload_, setup_.layout) * setup_.layout.stage_ranks();
        plans[i] =
            planner_.plan(routed_[i], setup_.placements[i], routing_, path[part].stage, tokens);
        plans[i].facts.dropped = routing_source_.dropped(static_cast<int>(i));
        plans[i].facts.capacity = routing_source_.factors(static_cast<int>(i));
      }
    }
    add_facts(plans);
  }
  return plans_.at(micro_batch);
}

void TrainingStep::add_facts(std::vector<RoutedPlan>& plans) {
  if (facts_.blocks.empty()) {
    for (RoutedPlan& plan : plans) facts_.blocks.push_back(std::move(plan.facts));
    weights_of_facts_.assign(facts_.blocks.size(), 1);
    return;
  }
  for (std::size_t b = 0; b < plans.size(); ++b) {
    RoutedBlockFacts& sum = facts_.blocks[b];
    const RoutedBlockFacts& more = plans[b].facts;
    sum.imbalance_max_over_mean += more.imbalance_max_over_mean;
    weights_of_facts_[b] += 1;
    sum.tokens += more.tokens;
    sum.rows += more.rows;
    sum.dropped += more.dropped;
    sum.capacity.add(more.capacity);
    for (std::size_t e = 0; e < sum.expert_rows.size(); ++e)
      sum.expert_rows[e] += more.expert_rows[e];
  }
}

void TrainingStep::forget_plans(int micro_batch, int part) {
  const auto [first, end] = workload_.parts[static_cast<std::size_t>(part)];
  std::vector<RoutedPlan>& plans = plans_.at(micro_batch);
  for (std::size_t i = 0; i < routed_.size(); ++i) {
    if (routed_[i].layer >= first && routed_[i].layer < end) plans[i] = RoutedPlan{};
  }
  arrivals_.erase({micro_batch, part});
}

}  // namespace sim
