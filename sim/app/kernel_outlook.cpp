#include "sim/app/kernel_outlook.h"

#include <algorithm>

#include "sim/app/kernel_kinds.h"
#include "sim/workloads/step_plan.h"

namespace sim {
namespace {

void book(std::vector<KernelOutlook>& list, KernelFamily family, const std::string& name,
          const KernelConstants* constants, const KernelCost& cost) {
  const std::string kernel(to_text(family));
  const std::string source = constants != nullptr ? constants->source : "roofline";
  auto at = std::find_if(list.begin(), list.end(), [&](const KernelOutlook& each) {
    return each.kernel == kernel && each.source == source && each.label == cost.label;
  });
  if (at == list.end()) at = list.insert(at, {kernel, source, cost.label, {}, {}, {}});
  at->time += cost.time;
  if (cost.in_range) return;
  at->outside += cost.time;
  if (std::find(at->outside_names.begin(), at->outside_names.end(), name) ==
      at->outside_names.end()) {
    at->outside_names.push_back(name);
  }
}

// Of the tokens that all ranks of an expert-parallel group bring, on the first of them.
ExpertFfn balanced_experts(const Scenario& scenario, BlockId block, std::int64_t tokens,
                           std::vector<std::int64_t>& rows) {
  const Routing& routing = *block_at(scenario.model, block).ffn().routing;
  const int ep = scenario.layout.ep;
  const std::int64_t experts = (routing.experts + ep - 1) / ep * ep;
  rows = balanced_rows(tokens * ep, routing.top_k, experts, ep);
  ExpertFfn ffn = expert_ffn(scenario.model, block, rows, 1);
  if (ep > 1) return ffn;
  ffn.tokens = tokens;
  ffn.top_k = routing.top_k;
  ffn.experts = routing.experts;
  return ffn;
}

}  // namespace

std::vector<KernelOutlook> kernel_outlook(const Scenario& scenario) {
  const CalibratedCosts calibrated(scenario.kernels.sources);
  const Roofline roofline;
  const CostModel& costs =
      scenario.kernels.calibrated ? static_cast<const CostModel&>(calibrated) : roofline;
  const Device& device = scenario.device_types.at(scenario.cluster.devices.front().device_type);
  const std::vector<RankSequences> sequences =
      make_sequences(scenario.workload, scenario.layout.world, 0, {});
  const TokenBatch group = batch_of(scenario.workload.phase, sequences, 0, scenario.layout.tp);
  const TokenBatch one = batch_of(scenario.workload.phase, sequences, 0, 1);
  std::vector<KernelOutlook> list;
  const auto price = [&](const std::vector<Operator>& operators) {
    for (const Operator& op : operators) {
      const KernelConstants* constants =
          scenario.kernels.calibrated ? calibrated.constants_for(op, device) : nullptr;
      book(list, op.family, op.name, constants, costs.cost(op, device, device.sms));
    }
  };
  if (scenario.part.ends) price(input_operators(scenario.model, one, 1));
  for (int l = scenario.part.first_layer; l < scenario.part.end_layer; ++l) {
    const Layer& layer = scenario.model.layers[static_cast<std::size_t>(l)];
    if (layer.stack == Stack::kEncoder && scenario.workload.phase == Phase::kDecode) continue;
    for (int b = 0; b < static_cast<int>(layer.blocks.size()); ++b) {
      const Block& block = layer.blocks[static_cast<std::size_t>(b)];
      const bool routed = block.kind() == BlockKind::kFfn && block.ffn().routing.has_value();
      if (!routed && scenario.part.only_routed_blocks) continue;
      std::vector<std::int64_t> rows;
      ExpertFfn ffn;
      std::span<const std::string> covered;
      if (routed) {
        ffn = balanced_experts(scenario, {l, b}, one.tokens, rows);
        if (scenario.layout.ep == 1) {
          covered = costs.covered(ffn, device);
        } else if (scenario.exchange != nullptr) {
          covered = operators_inside(*scenario.exchange);
        }
      }
      for (const BlockPart part :
           {BlockPart::kBeforeDispatch, BlockPart::kShared, BlockPart::kAfterCombine}) {
        price(block_operators(scenario.model, l, b, part, routed ? one : group,
                              routed ? 1 : scenario.layout.tp, covered));
      }
      if (!routed) continue;
      const KernelConstants* constants =
          scenario.kernels.calibrated ? calibrated.constants_for(ffn, device) : nullptr;
      book(list, KernelFamily::kExpertFfn, "experts", constants,
           costs.cost(ffn, device, device.sms));
    }
  }
  if (scenario.part.ends) price(output_operators(scenario.model, one, 1));
  std::stable_sort(list.begin(), list.end(),
                   [](const KernelOutlook& a, const KernelOutlook& b) { return a.time > b.time; });
  return list;
}

}  // namespace sim
