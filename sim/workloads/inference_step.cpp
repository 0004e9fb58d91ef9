#include "sim/workloads/inference_step.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace sim {

InferenceStep::InferenceStep(const StepSetup& setup, TaskGraph& graph, ClusterNetwork& network,
                             RoutingSource& routing, CostLedger& ledger,
                             BlockTasks::Traffic traffic)
    : setup_(setup),
      routing_source_(routing),
      costs_(setup.model, setup.costs, ledger, setup.layout.ep == 1, setup.exchange,
             setup.host.gap),
      tasks_(setup, graph, network, ledger, std::move(traffic)),
      planner_(setup, network),
      lane_(0, setup.layout.world) {}

StepFacts InferenceStep::build(int step, int routing_step, Phase phase,
                               const std::vector<RankSequences>& sequences, TaskGraph::Done done) {
  step_ = step;
  costs_.clear();
  tasks_.graph().mark_step_begin();
  tasks_.launch_step(lane_, stamp(-1));
  const ParallelLayout& layout = setup_.layout;
  StepFacts facts;
  for (const RankSequences& rank : sequences) {
    facts.tokens +=
        std::accumulate(rank.new_tokens.begin(), rank.new_tokens.end(), std::int64_t{0});
  }
  if (setup_.part.ends) {
    for (int r = 0; r < layout.world; ++r) {
      const TokenBatch batch = batch_of(phase, sequences, r, 1);
      tasks_.kernels(r, lane_.of(r), costs_.input(batch, 1, device(r), device(r).sms), stamp(-1),
                     device(r).sms);
    }
  }
  const std::vector<BlockId> routed = routed_blocks(setup_.model);
  for (int l = setup_.part.first_layer; l < setup_.part.end_layer; ++l) {
    const Layer& layer = setup_.model.layers[static_cast<std::size_t>(l)];
    if (layer.stack == Stack::kEncoder && phase == Phase::kDecode)
      continue;  // it ran with the prompt
    for (int b = 0; b < static_cast<int>(layer.blocks.size()); ++b) {
      const auto at = std::find(routed.begin(), routed.end(), BlockId{l, b});
      if (at != routed.end()) {
        const auto index = static_cast<std::size_t>(at - routed.begin());
        routing_source_.fill(routing_step, static_cast<int>(index), routing_);
        routed_block(l, b, static_cast<int>(index), phase, sequences, facts);
      } else if (!setup_.part.only_routed_blocks) {
        plain_block(l, b, phase, sequences);
      }
    }
  }
  std::vector<TaskId> last;
  for (int r = 0; r < layout.world; ++r) {
    if (setup_.part.ends) {
      const TokenBatch batch = batch_of(phase, sequences, r, 1);
      tasks_.kernels(r, lane_.of(r), costs_.output(batch, 1, device(r)), stamp(-1), device(r).sms);
    }
    const Cursor& cursor = lane_.of(r);
    last.push_back(cursor.last);
    last.insert(last.end(), cursor.needs.begin(), cursor.needs.end());
    facts.least_compute_s = std::max(facts.least_compute_s, tasks_.least_s(r));
  }
  const std::vector<TaskId> loose = tasks_.take_loose();
  last.insert(last.end(), loose.begin(), loose.end());
  tasks_.graph().when_done(last, std::move(done));
  return facts;
}

// Attention or a dense FFN: tensor parallel over the TP group.
void InferenceStep::plain_block(int layer, int block, Phase phase,
                                const std::vector<RankSequences>& sequences) {
  const int tp = setup_.layout.tp;
  if (tp > 1) tp_collective(TaskKind::kAllGather, layer, sequences);
  for (int r = 0; r < setup_.layout.world; ++r) {
    const TokenBatch batch = batch_of(phase, sequences, setup_.layout.tp_group(r) * tp, tp);
    for (const BlockPart part :
         {BlockPart::kBeforeDispatch, BlockPart::kShared, BlockPart::kAfterCombine}) {
      tasks_.kernels(r, lane_.of(r),
                     costs_.block(layer, block, part, batch, tp, device(r), device(r).sms),
                     stamp(layer), device(r).sms);
    }
  }
  if (tp > 1) tp_collective(TaskKind::kReduceScatter, layer, sequences);
}

void InferenceStep::tp_collective(TaskKind kind, int layer,
                                  const std::vector<RankSequences>& sequences) {
  const int tp = setup_.layout.tp;
  const double row =
      static_cast<double>(setup_.model.hidden) * bytes_per_value(setup_.model.formats.activations);
  for (int group = 0; group < setup_.layout.world / tp; ++group) {
    std::int64_t tokens = 0;
    for (int r = group * tp; r < (group + 1) * tp; ++r) {
      const std::vector<std::int64_t>& added = sequences[static_cast<std::size_t>(r)].new_tokens;
      tokens += std::accumulate(added.begin(), added.end(), std::int64_t{0});
    }
    const Bytes total(static_cast<std::int64_t>(static_cast<double>(tokens) * row));
    tasks_.collective({kind, kind == TaskKind::kAllGather ? "all-gather" : "reduce-scatter",
                       setup_.layout.tp_devices(group), total},
                      lane_, stamp(layer));
  }
}

void InferenceStep::routed_block(int layer, int block, int routed_index, Phase phase,
                                 const std::vector<RankSequences>& sequences, StepFacts& facts) {
  const ParallelLayout& layout = setup_.layout;
  const BlockId id{layer, block};
  std::vector<TokenBatch> batches;
  for (int r = 0; r < layout.world; ++r) {
    batches.push_back(batch_of(phase, sequences, r, 1));
    tasks_.kernels(r, lane_.of(r),
                   costs_.block(layer, block, BlockPart::kBeforeDispatch, batches.back(), 1,
                                device(r), device(r).sms),
                   stamp(layer), device(r).sms);
  }
  RoutedPlan plan = planner_.plan(id, setup_.placements[static_cast<std::size_t>(routed_index)],
                                  routing_, 0, facts.tokens);
  const bool overlap = setup_.overlap == Overlap::kSharedExperts;
  for (const GroupPlan& group : plan.groups) {
    const std::vector<TaskId> dispatched =
        tasks_.exchange(group.exchange, TaskKind::kDispatch, lane_, stamp(layer));
    for (std::size_t i = 0; i < dispatched.size(); ++i) {
      const int r = static_cast<int>(group.exchange->ranks[i].index());
      // A kernel that communication leaves nearly no SMs waits for all of them.
      const bool beside = overlap && setup_.communication_waits &&
                          (setup_.receive_hook || !setup_.exchange->receive_hook);
      const int sms = beside ? device(r).sms - setup_.communication_sms : device(r).sms;
      if (!overlap) tasks_.wait(lane_.of(r), dispatched[i]);
      tasks_.kernels(r, lane_.of(r),
                     costs_.block(layer, block, BlockPart::kShared,
                                  batches[static_cast<std::size_t>(r)], 1, device(r), sms),
                     stamp(layer), sms);
      if (overlap) tasks_.wait(lane_.of(r), dispatched[i]);
    }
    group_experts(id, group, batches);
  }
  for (int r = 0; r < layout.world; ++r) {
    tasks_.kernels(r, lane_.of(r),
                   costs_.block(layer, block, BlockPart::kAfterCombine,
                                batches[static_cast<std::size_t>(r)], 1, device(r), device(r).sms),
                   stamp(layer), device(r).sms);
  }
  plan.facts.dropped = routing_source_.dropped(routed_index);
  plan.facts.capacity = routing_source_.factors(routed_index);
  facts.blocks.push_back(std::move(plan.facts));
}

// The experts of one EP group, then combine.
void InferenceStep::group_experts(BlockId block, const GroupPlan& group,
                                  const std::vector<TokenBatch>& batches) {
  const std::vector<DeviceId>& ranks = group.exchange->ranks;
  const std::size_t slots = group.rows_per_slot.size() / ranks.size();
  std::vector<PricedKernel> kernels;
  std::vector<std::int64_t> totals;
  std::vector<int> sms;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    const std::span<const std::int64_t> rows(group.rows_per_slot.data() + i * slots, slots);
    const int r = static_cast<int>(ranks[i].index());
    sms.push_back(device(r).sms);
    kernels.push_back(
        costs_.experts(block, rows, batches[ranks[i].index()].tokens, device(r), device(r).sms));
    totals.push_back(std::accumulate(rows.begin(), rows.end(), std::int64_t{0}));
  }
  tasks_.experts(ranks, lane_, kernels, totals, stamp(block.layer), sms);
  const std::vector<TaskId> combined =
      tasks_.exchange(group.exchange, TaskKind::kCombine, lane_, stamp(block.layer));
  for (std::size_t i = 0; i < ranks.size(); ++i)
    tasks_.wait(lane_.of(static_cast<int>(ranks[i].index())), combined[i]);
}

}  // namespace sim
