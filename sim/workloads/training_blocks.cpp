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

void TrainingBlocks::tensor_collective(Lane& lane, TaskKind kind, const Stamp& stamp) {
  const Parts parts = tensor_beside(lane, kind, stamp);
  if (setup_.communication_waits && setup_.layout.tp > 1) {
    for (Cursor& cursor : lane.cursors) cursor.needs.clear();
  }
  wait(lane, parts);
}

// The gathered or reduced buffer is what the TP group's tokens are in the activations' format.
TrainingBlocks::Parts TrainingBlocks::tensor_beside(Lane& lane, TaskKind kind, const Stamp& stamp) {
  auto parts = std::make_shared<std::vector<TaskId>>(lane.cursors.size());
  const int tp = setup_.layout.tp;
  if (tp == 1) return parts;
  const double bytes = static_cast<double>(group_batch_.tokens) *
                       static_cast<double>(setup_.model.hidden) *
                       bytes_per_value(setup_.model.formats.activations);
  for (int r = lane.first; r < lane.end(); r += tp) {
    const GroupCollective call{kind, kind == TaskKind::kAllGather ? "all-gather" : "reduce-scatter",
                               setup_.layout.tp_devices(setup_.layout.tp_group(r)),
                               Bytes(static_cast<std::int64_t>(bytes))};
    const std::vector<TaskId> ids = tasks_.beside(call, lane, stamp);
    for (std::size_t i = 0; i < ids.size(); ++i)
      (*parts)[static_cast<std::size_t>(r - lane.first) + i] = ids[i];
  }
  return parts;
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

bool TrainingBlocks::travels(BlockId block) const {
  const Block& here = block_at(setup_.model, block);
  return setup_.layout.cp > 1 && here.kind() == BlockKind::kAttention &&
         (here.attention().kind == AttentionKind::kGrouped ||
          here.attention().kind == AttentionKind::kLatent);
}

TrainingBlocks::Parts TrainingBlocks::context_exchange(Lane& lane, BlockId block,
                                                       const Stamp& stamp,
                                                       std::string_view operation) {
  auto parts = std::make_shared<std::vector<TaskId>>(lane.cursors.size());
  const ParallelLayout& layout = setup_.layout;
  const AttentionBlock& attention = block_at(setup_.model, block).attention();
  // Keys and values of the context group's tokens, of the rank's heads.
  const double heads = std::max(1.0, static_cast<double>(attention.kv_heads) / layout.tp);
  const double width =
      heads * static_cast<double>(attention.head_dim +
                                  (attention.values_are_keys ? 0 : attention.value_dim));
  const double bytes = static_cast<double>(group_batch_.tokens) * layout.cp * width *
                       bytes_per_value(setup_.model.formats.activations);
  for (int r = lane.first; r < lane.end(); ++r) {
    if (r / layout.tp % layout.cp != 0) continue;  // the first of its group
    const GroupCollective call{TaskKind::kContextExchange, operation, layout.cp_devices(r),
                               Bytes(static_cast<std::int64_t>(bytes))};
    const std::vector<TaskId> ids = tasks_.beside(call, lane, stamp);
    for (std::size_t i = 0; i < ids.size(); ++i)
      (*parts)[call.devices[i].index() - static_cast<std::size_t>(lane.first)] = ids[i];
  }
  return parts;
}

void TrainingBlocks::run_range(Lane& lane, const Work& work, const Stamp& stamp,
                               const PricedBlock& block, std::size_t from, std::size_t to) {
  for (int r = lane.first; r < lane.end(); ++r) {
    for (std::size_t k = from; k < to; ++k) {
      const PricedKernel& kernel = block.kernels[k];
      const CauseShare share{cause_of(kernel.kind), kernel.time};
      tasks_.kernel(r, lane.of(r), kernel, stamp, sms_of(work, device(r)), {&share, 1});
    }
  }
}

void TrainingBlocks::run_with_context(Lane& lane, const Work& work, BlockId block,
                                      const Stamp& stamp, const PricedBlock& kernels) {
  const std::size_t end = kernels.kernels.size();
  const std::size_t after_core = std::min(kernels.core + 1, end);
  if (stamp.pass == PassKind::kInputGradient) {
    const Parts keys = context_exchange(lane, block, stamp, "all-gather");
    run_range(lane, work, stamp, kernels, 0, after_core);
    wait(lane, keys);
    wait(lane, context_exchange(lane, block, stamp, "reduce-scatter"));
    run_range(lane, work, stamp, kernels, after_core, end);
    return;
  }
  run_range(lane, work, stamp, kernels, 0, std::min(kernels.core, end));
  const Parts keys = context_exchange(lane, block, stamp, "all-gather");
  run_range(lane, work, stamp, kernels, std::min(kernels.core, end), after_core);
  wait(lane, keys);
  run_range(lane, work, stamp, kernels, after_core, end);
}

void TrainingBlocks::plain_forward(const Work& work, BlockId block, PassKind pass, Lane& lane) {
  const Stamp tag = stamp(work, block.layer, pass);
  const int tp = setup_.layout.tp;
  tensor_collective(lane, TaskKind::kAllGather, tag);
  for (const BlockPart part : kParts) {
    const Price price = [&](const Device& here, int sms) -> const PricedBlock& {
      return costs_.block(block.layer, block.block, part, group_batch_, tp, here, sms);
    };
    if (travels(block) && part == BlockPart::kBeforeDispatch) {
      const Device& here = device(lane.first);
      run_with_context(lane, work, block, tag, price(here, sms_of(work, here)));
    } else {
      run(lane, work, tag, price);
    }
  }
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
      const Price price = [&](const Device& here, int sms) -> const PricedBlock& {
        return costs_.gradients(block.layer, block.block, part, gradient, group_batch_, tp,
                                workload_.formats.gradient, here, sms);
      };
      if (travels(block) && gradient == GradientOf::kInput && part == BlockPart::kBeforeDispatch) {
        const Device& here = device(lane.first);
        run_with_context(lane, work, block, stamp(work, block.layer, kind),
                         price(here, sms_of(work, here)));
      } else {
        run(lane, work, stamp(work, block.layer, kind), price);
      }
    }
  };
  const Stamp tag = stamp(work, block.layer, PassKind::kInputGradient);
  const Stamp weight_tag = stamp(work, block.layer, PassKind::kWeightGradient);
  // Inputs are kept in shares and gathered again for the weights' gradients, which run while the
  // input's gradient is reduced (Megatron-Core).
  Parts inputs;
  Parts reduced;
  if (has_input(pass)) {
    tensor_collective(lane, TaskKind::kAllGather, tag);
    if (has_weight(pass)) inputs = tensor_beside(lane, TaskKind::kAllGather, weight_tag);
    if (!workload_.recompute.full) plain_recompute(work, block, lane);
    gradients(GradientOf::kInput, PassKind::kInputGradient);
    reduced = tensor_beside(lane, TaskKind::kReduceScatter, tag);
  } else {
    inputs = tensor_beside(lane, TaskKind::kAllGather, weight_tag);
  }
  if (has_weight(pass)) {
    wait(lane, inputs);
    gradients(GradientOf::kWeight, PassKind::kWeightGradient);
  }
  if (has_input(pass)) wait(lane, reduced);
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
  const auto gradients = [this, block](Lane& lane, BlockPart part, GradientOf gradient,
                                       const Work& with) {
    const PassKind kind =
        gradient == GradientOf::kInput ? PassKind::kInputGradient : PassKind::kWeightGradient;
    run(lane, with, stamp(with, block.layer, kind),
        [&](const Device& here, int sms) -> const PricedBlock& {
          return costs_.gradients(block.layer, block.block, part, gradient, rank_batch_, 1,
                                  workload_.formats.gradient, here, sms);
        });
  };
  const Stamp tag = stamp(work, block.layer, PassKind::kInputGradient);
  const Stamp weight_tag = stamp(work, block.layer, PassKind::kWeightGradient);
  if (!has_input(pass)) {
    out.push_back({[=, this](Lane& lane) {
      gradients(lane, BlockPart::kShared, GradientOf::kWeight, work);
      run_experts(lane, work, block, weight_tag, KernelPass::kWeightGradient);
      gradients(lane, BlockPart::kBeforeDispatch, GradientOf::kWeight, work);
    }});
    return;
  }
  auto dispatched = std::make_shared<Parts>();
  auto combined = std::make_shared<Parts>();
  const bool weights = has_weight(pass);
  const bool again = !workload_.recompute.full;
  const auto recompute = [this, block](Lane& lane, BlockPart part, const Work& with) {
    run(lane, with, stamp(with, block.layer, PassKind::kRecompute),
        [&](const Device& here, int sms) -> const PricedBlock& {
          return costs_.recomputed(block.layer, block.block, part, rank_batch_, 1,
                                   workload_.recompute, here, sms);
        });
  };
  // As forward, the shared experts run beside the exchange on the SMs that it leaves.
  const bool overlap = setup_.overlap == Overlap::kSharedExperts;
  Work beside = work;
  beside.place.beside = true;
  const auto shared = [=, this](Lane& lane, const Work& with) {
    if (again) recompute(lane, BlockPart::kShared, with);
    gradients(lane, BlockPart::kShared, GradientOf::kInput, with);
    if (weights) gradients(lane, BlockPart::kShared, GradientOf::kWeight, with);
  };
  out.push_back({[=, this](Lane& lane) {
    if (again) recompute(lane, BlockPart::kAfterCombine, work);
    gradients(lane, BlockPart::kAfterCombine, GradientOf::kInput, work);
    *dispatched = exchange(lane, plan_of(work, block), TaskKind::kDispatch, tag);
    if (overlap) shared(lane, beside);
  }});
  out.push_back({[=, this](Lane& lane) {
                   wait(lane, *dispatched);
                   if (!overlap) shared(lane, work);
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
                   if (again) recompute(lane, BlockPart::kBeforeDispatch, work);
                   gradients(lane, BlockPart::kBeforeDispatch, GradientOf::kInput, work);
                   if (weights)
                     gradients(lane, BlockPart::kBeforeDispatch, GradientOf::kWeight, work);
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
    if (has_input(pass))
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
