#include "sim/workloads/training_blocks.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr BlockPart kParts[] = {BlockPart::kBeforeDispatch, BlockPart::kShared,
                                BlockPart::kAfterCombine};

bool has_input(PassOf pass) { return pass != PassOf::kWeightGradient; }
bool has_weight(PassOf pass) { return pass != PassOf::kInputGradient; }

}  // namespace

TrainingBlocks::TrainingBlocks(const StepSetup& setup, const TrainingWorkload& workload,
                               BlockTasks& tasks, BlockCosts& costs)
    : setup_(setup),
      workload_(workload),
      tasks_(tasks),
      costs_(costs),
      group_batch_(group_batch(workload, setup.layout)),
      rank_batch_(rank_batch(workload, setup.layout)) {
  const std::vector<BlockId> routed = routed_blocks(setup.model);
  for (std::size_t i = 0; i < routed.size(); ++i)
    routed_index_[{routed[i].layer, routed[i].block}] = i;
}

int TrainingBlocks::sms_of(const Work& work, const Device& device) const {
  const bool shared = work.place.beside && setup_.communication_waits;
  return shared ? device.sms - setup_.communication_sms : device.sms;
}

const RoutedPlan& TrainingBlocks::plan_of(const Work& work, BlockId block) const {
  return (*work.plans)[routed_index_.at({block.layer, block.block})];
}

void TrainingBlocks::run(Lane& lane, const Work& work, const Stamp& stamp, const Price& price) {
  const Device* priced = nullptr;
  const PricedBlock* kernels = nullptr;
  for (int r = lane.first; r < lane.end(); ++r) {
    const Device& here = device(r);
    const int sms = sms_of(work, here);
    if (&here != priced) {
      priced = &here;
      kernels = &price(here, sms);
    }
    tasks_.kernels(r, lane.of(r), *kernels, stamp, sms);
  }
}

void TrainingBlocks::wait(Lane& lane, const Parts& parts) {
  for (std::size_t i = 0; i < parts->size(); ++i) {
    if ((*parts)[i].valid()) tasks_.wait(lane.cursors[i], (*parts)[i]);
  }
}

TrainingBlocks::Parts TrainingBlocks::exchange(Lane& lane, const RoutedPlan& plan, TaskKind kind,
                                               const Stamp& stamp) {
  auto parts = std::make_shared<std::vector<TaskId>>(lane.cursors.size());
  for (const GroupPlan& group : plan.groups) {
    const std::vector<TaskId> ids = tasks_.exchange(group.exchange, kind, lane, stamp);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      (*parts)[group.exchange->ranks[i].index() - static_cast<std::size_t>(lane.first)] = ids[i];
    }
  }
  return parts;
}

// The gathered or reduced buffer is what the TP group's tokens are in the activations' format.
void TrainingBlocks::tensor_collective(Lane& lane, TaskKind kind, const Stamp& stamp) {
  const int tp = setup_.layout.tp;
  if (tp == 1) return;
  const double bytes = static_cast<double>(group_batch_.tokens) *
                       static_cast<double>(setup_.model.hidden) *
                       bytes_per_value(setup_.model.formats.activations);
  for (int r = lane.first; r < lane.end(); r += tp) {
    tasks_.collective({kind, kind == TaskKind::kAllGather ? "all-gather" : "reduce-scatter",
                       setup_.layout.tp_devices(setup_.layout.tp_group(r)),
                       Bytes(static_cast<std::int64_t>(bytes))},
                      lane, stamp);
  }
}

// Rows of the experts that a rank holds a part of: what all ranks of its ETP group received.
std::vector<std::int64_t> TrainingBlocks::rows_of(const RoutedPlan& plan, int rank) const {
  const ParallelLayout& layout = setup_.layout;
  const std::size_t first =
      static_cast<std::size_t>(layout.ep_group(rank / layout.etp * layout.etp) -
                               layout.stage(rank) * (layout.ep_groups() / layout.pp));
  const std::size_t position = static_cast<std::size_t>(layout.ep_position(rank));
  const std::size_t slots =
      plan.groups[first].rows_per_slot.size() / static_cast<std::size_t>(layout.ep);
  std::vector<std::int64_t> rows(slots, 0);
  for (std::size_t g = first; g < first + static_cast<std::size_t>(layout.etp); ++g) {
    for (std::size_t s = 0; s < slots; ++s)
      rows[s] += plan.groups[g].rows_per_slot[position * slots + s];
  }
  return rows;
}

void TrainingBlocks::expert_tensor_collective(Lane& lane, const RoutedPlan& plan, TaskKind kind,
                                              const Stamp& stamp) {
  const int etp = setup_.layout.etp;
  if (etp == 1) return;
  for (int r = lane.first; r < lane.end(); r += etp) {
    const std::vector<std::int64_t> rows = rows_of(plan, r);
    const double bytes =
        static_cast<double>(std::accumulate(rows.begin(), rows.end(), std::int64_t{0})) *
        static_cast<double>(setup_.model.hidden) *
        bytes_per_value(setup_.model.formats.activations);
    if (bytes == 0) continue;
    tasks_.collective({kind, kind == TaskKind::kAllGather ? "all-gather" : "reduce-scatter",
                       setup_.layout.etp_devices(r), Bytes(static_cast<std::int64_t>(bytes))},
                      lane, stamp);
  }
}

TrainingBlocks::Parts TrainingBlocks::context_exchange(Lane& lane, BlockId block,
                                                       const Stamp& stamp) {
  auto parts = std::make_shared<std::vector<TaskId>>(lane.cursors.size());
  const ParallelLayout& layout = setup_.layout;
  if (layout.cp == 1) return parts;
  const Block& here = block_at(setup_.model, block);
  if (here.kind() != BlockKind::kAttention) return parts;
  const AttentionBlock& attention = here.attention();
  if (attention.kind != AttentionKind::kGrouped && attention.kind != AttentionKind::kLatent)
    return parts;
  // Keys and values of the context group's tokens, of the rank's heads; backward also brings their
  // gradients home.
  const double heads = std::max(1.0, static_cast<double>(attention.kv_heads) / layout.tp);
  const double width =
      heads * static_cast<double>(attention.head_dim +
                                  (attention.values_are_keys ? 0 : attention.value_dim));
  const double bytes = static_cast<double>(group_batch_.tokens) * layout.cp * width *
                       bytes_per_value(setup_.model.formats.activations);
  const bool forward = stamp.pass == PassKind::kForward || stamp.pass == PassKind::kRecompute;
  for (int r = lane.first; r < lane.end(); ++r) {
    if (r / layout.tp % layout.cp != 0) continue;  // the first of its group
    const GroupCollective call{TaskKind::kContextExchange, "all-gather", layout.cp_devices(r),
                               Bytes(static_cast<std::int64_t>(bytes * (forward ? 1 : 2)))};
    const std::vector<TaskId> ids = tasks_.beside(call, lane, stamp);
    for (std::size_t i = 0; i < ids.size(); ++i)
      (*parts)[call.devices[i].index() - static_cast<std::size_t>(lane.first)] = ids[i];
  }
  return parts;
}

void TrainingBlocks::plain_forward(const Work& work, BlockId block, PassKind pass, Lane& lane) {
  const Stamp tag = stamp(work, block.layer, pass);
  const int tp = setup_.layout.tp;
  tensor_collective(lane, TaskKind::kAllGather, tag);
  const Parts context = context_exchange(lane, block, tag);
  for (const BlockPart part : kParts) {
    run(lane, work, tag, [&](const Device& here, int sms) -> const PricedBlock& {
      return costs_.block(block.layer, block.block, part, group_batch_, tp, here, sms);
    });
  }
  wait(lane, context);
  tensor_collective(lane, TaskKind::kReduceScatter, tag);
}

void TrainingBlocks::plain_recompute(const Work& work, BlockId block, Lane& lane) {
  const Stamp tag = stamp(work, block.layer, PassKind::kRecompute);
  for (const BlockPart part : kParts) {
    run(lane, work, tag, [&](const Device& here, int sms) -> const PricedBlock& {
      return costs_.recomputed(block.layer, block.block, part, group_batch_, setup_.layout.tp,
                               workload_.recompute, here, sms);
    });
  }
}

void TrainingBlocks::plain_backward(const Work& work, BlockId block, PassOf pass, Lane& lane) {
  const int tp = setup_.layout.tp;
  const auto gradients = [&](GradientOf gradient, PassKind kind) {
    for (const BlockPart part :
         {BlockPart::kAfterCombine, BlockPart::kShared, BlockPart::kBeforeDispatch}) {
      run(lane, work, stamp(work, block.layer, kind),
          [&](const Device& here, int sms) -> const PricedBlock& {
            return costs_.gradients(block.layer, block.block, part, gradient, group_batch_, tp,
                                    workload_.formats.gradient, here, sms);
          });
    }
  };
  const Stamp tag = stamp(work, block.layer, PassKind::kInputGradient);
  if (has_input(pass)) {
    tensor_collective(lane, TaskKind::kAllGather, tag);
    const Parts context = context_exchange(lane, block, tag);
    if (!workload_.recompute.full) plain_recompute(work, block, lane);
    gradients(GradientOf::kInput, PassKind::kInputGradient);
    wait(lane, context);
    tensor_collective(lane, TaskKind::kReduceScatter, tag);
  }
  if (has_weight(pass)) gradients(GradientOf::kWeight, PassKind::kWeightGradient);
}

void TrainingBlocks::run_experts(Lane& lane, const Work& work, BlockId block, const Stamp& stamp,
                                 KernelPass pass) {
  const RoutedPlan& plan = plan_of(work, block);
  const ParallelLayout& layout = setup_.layout;
  std::vector<PricedKernel> kernels;
  std::vector<std::int64_t> totals;
  std::vector<int> sms;
  for (const GroupPlan& group : plan.groups) {
    const std::vector<DeviceId>& ranks = group.exchange->ranks;
    kernels.clear();
    totals.clear();
    sms.clear();
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      const int r = static_cast<int>(ranks[i].index());
      const std::vector<std::int64_t> rows = rows_of(plan, r);
      sms.push_back(sms_of(work, device(r)));
      kernels.push_back(costs_.experts(block, rows, rank_batch_.tokens, device(r), sms.back(), pass,
                                       layout.etp, workload_.formats.gradient));
      totals.push_back(std::accumulate(rows.begin(), rows.end(), std::int64_t{0}));
    }
    tasks_.experts(ranks, lane, kernels, totals, stamp, sms);
  }
}

void TrainingBlocks::experts_again(Lane& lane, const Work& work, BlockId block) {
  const Stamp tag = stamp(work, block.layer, PassKind::kRecompute);
  const ExpertsAgain what = sim::experts_again(workload_.recompute);
  if (what == ExpertsAgain::kForward) run_experts(lane, work, block, tag, KernelPass::kForward);
  if (what != ExpertsAgain::kActivation) return;
  for (int r = lane.first; r < lane.end(); ++r) {
    const std::vector<std::int64_t> rows = rows_of(plan_of(work, block), r);
    const int sms = sms_of(work, device(r));
    const PricedKernel kernel =
        costs_.expert_activation(block, rows, device(r), sms, setup_.layout.etp);
    const CauseShare share{cause_of(kernel.kind), kernel.time};
    if (kernel.time > Duration(0)) tasks_.kernel(r, lane.of(r), kernel, tag, sms, {&share, 1});
  }
}

void TrainingBlocks::routed_forward(const Work& work, BlockId block, PassKind pass,
                                    std::vector<Segment>& out) {
  const Stamp tag = stamp(work, block.layer, pass);
  const auto own = [this, work, block, tag](Lane& lane, BlockPart part) {
    run(lane, work, tag, [&](const Device& here, int sms) -> const PricedBlock& {
      return costs_.block(block.layer, block.block, part, rank_batch_, 1, here, sms);
    });
  };
  const bool overlap = setup_.overlap == Overlap::kSharedExperts;
  auto dispatched = std::make_shared<Parts>();
  auto combined = std::make_shared<Parts>();
  out.push_back({[=, this](Lane& lane) {
    own(lane, BlockPart::kBeforeDispatch);
    *dispatched = exchange(lane, plan_of(work, block), TaskKind::kDispatch, tag);
    if (overlap) {
      Work beside = work;
      beside.place.beside = true;
      run(lane, beside, tag, [&](const Device& here, int sms) -> const PricedBlock& {
        return costs_.block(block.layer, block.block, BlockPart::kShared, rank_batch_, 1, here,
                            sms);
      });
    }
  }});
  out.push_back({[=, this](Lane& lane) {
                   wait(lane, *dispatched);
                   if (!overlap) own(lane, BlockPart::kShared);
                   expert_tensor_collective(lane, plan_of(work, block), TaskKind::kAllGather, tag);
                   run_experts(lane, work, block, tag, KernelPass::kForward);
                   expert_tensor_collective(lane, plan_of(work, block), TaskKind::kReduceScatter,
                                            tag);
                   *combined = exchange(lane, plan_of(work, block), TaskKind::kCombine, tag);
                 },
                 true});
  out.push_back({[=, this](Lane& lane) {
                   wait(lane, *combined);
                   own(lane, BlockPart::kAfterCombine);
                 },
                 true});
}

void TrainingBlocks::routed_backward(const Work& work, BlockId block, PassOf pass,
                                     std::vector<Segment>& out) {
  const auto gradients = [this, work, block](Lane& lane, BlockPart part, GradientOf gradient) {
    const PassKind kind =
        gradient == GradientOf::kInput ? PassKind::kInputGradient : PassKind::kWeightGradient;
    run(lane, work, stamp(work, block.layer, kind),
        [&](const Device& here, int sms) -> const PricedBlock& {
          return costs_.gradients(block.layer, block.block, part, gradient, rank_batch_, 1,
                                  workload_.formats.gradient, here, sms);
        });
  };
  const Stamp tag = stamp(work, block.layer, PassKind::kInputGradient);
  const Stamp weight_tag = stamp(work, block.layer, PassKind::kWeightGradient);
  if (!has_input(pass)) {
    out.push_back({[=, this](Lane& lane) {
      gradients(lane, BlockPart::kShared, GradientOf::kWeight);
      run_experts(lane, work, block, weight_tag, KernelPass::kWeightGradient);
      gradients(lane, BlockPart::kBeforeDispatch, GradientOf::kWeight);
    }});
    return;
  }
  auto dispatched = std::make_shared<Parts>();
  auto combined = std::make_shared<Parts>();
  const bool weights = has_weight(pass);
  const bool again = !workload_.recompute.full;
  const auto recompute = [this, work, block](Lane& lane, BlockPart part) {
    run(lane, work, stamp(work, block.layer, PassKind::kRecompute),
        [&](const Device& here, int sms) -> const PricedBlock& {
          return costs_.recomputed(block.layer, block.block, part, rank_batch_, 1,
                                   workload_.recompute, here, sms);
        });
  };
  out.push_back({[=, this](Lane& lane) {
    if (again) recompute(lane, BlockPart::kAfterCombine);
    gradients(lane, BlockPart::kAfterCombine, GradientOf::kInput);
    *dispatched = exchange(lane, plan_of(work, block), TaskKind::kDispatch, tag);
  }});
  out.push_back({[=, this](Lane& lane) {
                   wait(lane, *dispatched);
                   if (again) recompute(lane, BlockPart::kShared);
                   gradients(lane, BlockPart::kShared, GradientOf::kInput);
                   if (weights) gradients(lane, BlockPart::kShared, GradientOf::kWeight);
                   expert_tensor_collective(lane, plan_of(work, block), TaskKind::kAllGather, tag);
                   if (again) experts_again(lane, work, block);
                   run_experts(lane, work, block, tag, KernelPass::kInputGradient);
                   if (weights)
                     run_experts(lane, work, block, weight_tag, KernelPass::kWeightGradient);
                   expert_tensor_collective(lane, plan_of(work, block), TaskKind::kReduceScatter,
                                            tag);
                   *combined = exchange(lane, plan_of(work, block), TaskKind::kCombine, tag);
                 },
                 true});
  out.push_back({[=, this](Lane& lane) {
                   wait(lane, *combined);
                   if (again) recompute(lane, BlockPart::kBeforeDispatch);
                   gradients(lane, BlockPart::kBeforeDispatch, GradientOf::kInput);
                   if (weights) gradients(lane, BlockPart::kBeforeDispatch, GradientOf::kWeight);
                 },
                 true});
}

void TrainingBlocks::layer_forward(const Work& work, int layer, PassKind pass,
                                   std::vector<Segment>& out) {
  const int blocks =
      static_cast<int>(setup_.model.layers[static_cast<std::size_t>(layer)].blocks.size());
  for (int b = 0; b < blocks; ++b) {
    const BlockId block{layer, b};
    if (routed_index_.count({layer, b}) > 0) {
      routed_forward(work, block, pass, out);
    } else {
      out.push_back({[=, this](Lane& lane) { plain_forward(work, block, pass, lane); }});
    }
  }
}

void TrainingBlocks::layer_backward(const Work& work, int layer, PassOf pass,
                                    std::vector<Segment>& out) {
  const int blocks =
      static_cast<int>(setup_.model.layers[static_cast<std::size_t>(layer)].blocks.size());
  for (int b = blocks - 1; b >= 0; --b) {
    const BlockId block{layer, b};
    if (routed_index_.count({layer, b}) > 0) {
      routed_backward(work, block, pass, out);
    } else {
      out.push_back({[=, this](Lane& lane) { plain_backward(work, block, pass, lane); }});
    }
  }
}

std::vector<TrainingBlocks::Segment> TrainingBlocks::forward(const PassPlace& place,
                                                             const std::vector<RoutedPlan>& plans,
                                                             const LayerBegins& begins) {
  const Work work{place, &plans};
  std::vector<Segment> out;
  const auto [first, end] = workload_.parts[static_cast<std::size_t>(place.part)];
  const Stamp ends = stamp(work, -1, PassKind::kForward);
  if (first_part(work)) {
    out.push_back({[=, this](Lane& lane) {
      run(lane, work, ends, [&](const Device& here, int sms) -> const PricedBlock& {
        return costs_.input(group_batch_, setup_.layout.tp, here, sms);
      });
      tensor_collective(lane, TaskKind::kReduceScatter, ends);
    }});
  }
  for (int l = first; l < end; ++l) {
    out.push_back({[=](Lane& lane) { begins(l, PassKind::kForward, lane); }});
    layer_forward(work, l, PassKind::kForward, out);
  }
  if (last_part(work)) {
    out.push_back({[=, this](Lane& lane) {
      tensor_collective(lane, TaskKind::kAllGather, ends);
      run(lane, work, ends, [&](const Device& here, int sms) -> const PricedBlock& {
        return costs_.loss(group_batch_, setup_.layout.tp, here, sms);
      });
    }});
  }
  return out;
}

std::vector<TrainingBlocks::Segment> TrainingBlocks::backward(const PassPlace& place, PassOf pass,
                                                              const std::vector<RoutedPlan>& plans,
                                                              const LayerBegins& begins,
                                                              const LayerDone& done) {
  const Work work{place, &plans};
  std::vector<Segment> out;
  const auto [first, end] = workload_.parts[static_cast<std::size_t>(place.part)];
  const auto outside = [this, work, pass](Lane& lane, bool output) {
    for (const GradientOf gradient : {GradientOf::kInput, GradientOf::kWeight}) {
      if (gradient == GradientOf::kInput ? !has_input(pass) : !has_weight(pass)) continue;
      const PassKind kind =
          gradient == GradientOf::kInput ? PassKind::kInputGradient : PassKind::kWeightGradient;
      run(lane, work, stamp(work, -1, kind),
          [&](const Device& here, int sms) -> const PricedBlock& {
            return costs_.outside_gradients(output, gradient, group_batch_, setup_.layout.tp,
                                            workload_.formats.gradient, here, sms);
          });
    }
  };
  const Stamp ends = stamp(work, -1, PassKind::kInputGradient);
  if (last_part(work)) {
    out.push_back({[=, this](Lane& lane) {
      outside(lane, true);
      if (has_input(pass)) tensor_collective(lane, TaskKind::kReduceScatter, ends);
    }});
  }
  for (int l = end - 1; l >= first; --l) {
    const bool again = workload_.recompute.full && has_input(pass);
    out.push_back({[=](Lane& lane) {
      begins(l, again ? PassKind::kRecompute : PassKind::kInputGradient, lane);
    }});
    if (again) layer_forward(work, l, PassKind::kRecompute, out);
    layer_backward(work, l, pass, out);
    if (has_weight(pass)) out.push_back({[=](Lane& lane) { done(l, lane); }});
  }
  if (first_part(work)) {
    out.push_back({[=, this](Lane& lane) {
      if (has_input(pass)) tensor_collective(lane, TaskKind::kAllGather, ends);
      outside(lane, false);
    }});
  }
  return out;
}

}  // namespace sim
