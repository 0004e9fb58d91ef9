#include "sim/app/run_setup.h"

#include <algorithm>
#include <utility>

#include "models/costs/calibrated_costs.h"
#include "models/roofline.h"
#include "sim/core/error.h"
#include "sim/core/memory_pool.h"
#include "sim/workloads/inference.h"
#include "sim/workloads/training_rank_memory.h"
#include "traces/gating/capacity_routing.h"

namespace sim {
namespace {

// Routed blocks that the run executes, by their index among all routed blocks.
std::vector<int> routed_indices(const Scenario& scenario) {
  std::vector<int> result;
  const std::vector<BlockId> blocks = routed_blocks(scenario.model);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (blocks[i].layer >= scenario.part.first_layer && blocks[i].layer < scenario.part.end_layer) {
      result.push_back(static_cast<int>(i));
    }
  }
  return result;
}

// Rows per expert of every routed block that runs, summed over the steps the estimate looks at.
std::vector<std::vector<double>> estimate_loads(const Scenario& scenario,
                                                const std::vector<int>& indices) {
  std::vector<std::vector<double>> loads(scenario.routing_shape().experts.size());
  const PlacementChoice& placement = scenario.placement;
  if (!placement.needs_load() || placement.from == EstimateFrom::kUniform) return loads;
  const bool oracle = scenario.placement.from == EstimateFrom::kOracle;
  const std::unique_ptr<RoutingSource> routing =
      oracle ? make_routing(scenario, {})
             : make_routing(scenario, {true, scenario.placement.steps});
  const bool one_draw =
      !oracle && scenario.routing.trace.empty() && !scenario.routing.workload.has_value();
  const int begin = scenario.workload.routing_step_offset;
  const int first = oracle ? begin : one_draw ? 0 : begin - scenario.placement.steps;
  const int count = oracle     ? static_cast<int>(scenario.routing_steps())
                    : one_draw ? 1
                               : scenario.placement.steps;
  LayerRouting layer;
  for (int step = first; step < first + count; ++step) {
    for (const int index : indices) {
      routing->fill(step, index, layer);
      std::vector<double>& load = loads[static_cast<std::size_t>(index)];
      load.resize(static_cast<std::size_t>(layer.experts), 0);
      for (std::size_t i = 0; i < layer.counts.size(); ++i)
        load[i % load.size()] += static_cast<double>(layer.counts[i]);
    }
  }
  return loads;
}

// What the gates choose, before any capacity.
std::unique_ptr<RoutingSource> make_choices(const Scenario& scenario, RoutingPurpose purpose,
                                            std::shared_ptr<std::vector<float>> gate_weights) {
  const RoutingShape shape = scenario.routing_shape();
  if (shape.experts.empty()) return nullptr;
  // A pipeline stage routes the tokens of its own ranks.
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(scenario.layout.stage_ranks()),
                                   scenario.workload.tokens_per_gpu);
  const RoutingChoice& routing = scenario.routing;
  if (routing.workload) {
    WorkloadSpec spec = *routing.workload;
    if (purpose.loads_only) spec.token_budget = 0;
    return make_workload(spec, shape.experts, shape.top_k, std::move(tokens), scenario.seed);
  }
  if (routing.trace.empty()) {
    SyntheticSpec spec = routing.synthetic;
    if (purpose.loads_only) {
      spec.token_budget = 0;
      for (std::int64_t& rank : tokens) rank *= purpose.steps;
    }
    return make_synthetic(spec, shape.experts, shape.top_k, std::move(tokens), scenario.seed);
  }
  ReplayOptions options;
  options.prefill = scenario.workload.phase == Phase::kPrefill;
  options.tag = routing.tag;
  options.gate_weights = std::move(gate_weights);
  return make_replay(routing.trace, routing.rule, shape, std::move(tokens), scenario.seed,
                     routing.adapt, options);
}

// "gpu 0 (h800-sxm), stage 0, needs 95.1 GiB of its 79.6 GiB, because: activations ... of 16
// micro-batches in flight, ..."
std::string training_does_not_fit(const Scenario& scenario, const Device& device, int stage,
                                  std::vector<MemoryItem> items) {
  std::string text = "it does not fit: gpu " + std::to_string(scenario.layout.first_rank(stage)) +
                     " (" + device.name + ", stage " + std::to_string(stage) + ") needs " +
                     format_bytes(total(items)) + " of its " +
                     format_bytes(device.memory_capacity) + ", because: ";
  text += std::to_string(most_in_flight(scenario.training->schedule, stage)) +
          " micro-batch parts are in flight at once";
  std::stable_sort(items.begin(), items.end(),
                   [](const MemoryItem& a, const MemoryItem& b) { return a.bytes > b.bytes; });
  for (const MemoryItem& item : items) text += ", " + item.name + " " + format_bytes(item.bytes);
  return text;
}

}  // namespace

std::unique_ptr<RoutingSource> make_routing(const Scenario& scenario, RoutingPurpose purpose) {
  const std::optional<CapacityRule>& capacity = scenario.routing.capacity;
  if (!capacity || purpose.loads_only) return make_choices(scenario, purpose, nullptr);
  std::shared_ptr<std::vector<float>> weights;
  if (capacity->priority == OverflowPriority::kScore)
    weights = std::make_shared<std::vector<float>>();
  std::unique_ptr<RoutingSource> choices = make_choices(scenario, purpose, weights);
  if (choices == nullptr) return nullptr;
  return with_capacity(std::move(choices), *capacity, scenario.routing_shape().top_k,
                       scenario.layout.ep * scenario.layout.etp, weights);
}

std::vector<ExpertPlacement> make_placements(const Scenario& scenario) {
  const RoutingShape shape = scenario.routing_shape();
  const std::vector<BlockId> blocks = routed_blocks(scenario.model);
  const std::vector<int> indices = routed_indices(scenario);
  const std::vector<std::vector<double>> loads = estimate_loads(scenario, indices);
  const int per_node = static_cast<int>(scenario.cluster.nodes.front().devices.size());
  std::vector<ExpertPlacement> placements(shape.experts.size());
  for (const int index : indices) {
    const std::size_t i = static_cast<std::size_t>(index);
    PlacementInput input;
    input.experts = shape.experts[i];
    input.redundant_experts = scenario.placement.redundant_experts;
    input.ranks = scenario.layout.ep;
    input.nodes = std::max(1, scenario.layout.ep * scenario.layout.etp / per_node);
    input.groups = static_cast<int>(block_at(scenario.model, blocks[i]).ffn().routing->groups);
    input.load = loads[i];
    if (input.load.empty()) input.load.assign(static_cast<std::size_t>(input.experts), 0);
    RandomStream random(scenario.seed, "placement/layer" + std::to_string(blocks[i].layer));
    placements[i] = place_experts(*scenario.placement.policy, input, random);
  }
  return placements;
}

std::unique_ptr<CostModel> make_costs(const Scenario& scenario) {
  if (!scenario.kernels.calibrated) return std::make_unique<Roofline>();
  return std::make_unique<CalibratedCosts>(scenario.kernels.sources);
}

StepSetup make_setup(const Scenario& scenario, const CostModel& costs,
                     const ExchangeAlgorithm& exchange) {
  StepSetup setup{scenario.model,
                  scenario.cluster,
                  {},
                  costs,
                  scenario.layout,
                  scenario.part,
                  &exchange,
                  assumed_startup(),
                  assumed_startup(),
                  scenario.communication_sms,
                  scenario.receive_hook,
                  scenario.dispatch_dtype,
                  scenario.combine_dtype,
                  scenario.host,
                  scenario.overlap,
                  scenario.size_exchange,
                  scenario.placement.split,
                  {},
                  nullptr};
  setup.framework_reserve = scenario.framework_reserve;
  setup.chain_kernels = scenario.training.has_value();
  for (const ClusterDevice& device : scenario.cluster.devices) {
    setup.devices.push_back(&scenario.device_types.at(device.device_type));
  }
  const int per_node = static_cast<int>(scenario.cluster.nodes.front().devices.size());
  const int nodes =
      std::max(1, (scenario.layout.ep * scenario.layout.etp + per_node - 1) / per_node);
  const ExchangeCosts exchange_cost = exchange_costs(scenario.cluster, exchange, nodes);
  setup.dispatch_cost = exchange_cost.dispatch;
  setup.combine_cost = exchange_cost.combine;
  return setup;
}

namespace {

// Ranks of a stage hold the same.
std::vector<std::vector<MemoryItem>> check_training_memory(const Scenario& scenario,
                                                           const StepSetup& setup, int slots) {
  std::vector<std::vector<MemoryItem>> memory;
  Mistakes mistakes;
  const ParallelLayout& layout = scenario.layout;
  for (int stage = 0; stage < layout.pp; ++stage) {
    const std::vector<MemoryItem> items =
        training_memory(setup, *scenario.training, stage, slots, scenario.framework_reserve);
    for (int r = layout.first_rank(stage); r < layout.first_rank(stage) + layout.stage_ranks();
         ++r) {
      memory.push_back(items);
      const Device& device = *setup.devices[static_cast<std::size_t>(r)];
      if (total(items) <= device.memory_capacity || !mistakes.empty()) continue;
      mistakes.add(scenario.workload_place, training_does_not_fit(scenario, device, stage, items),
                   "raise pp, ep or tp, lower micro_batch, recompute more (training.recompute), or "
                   "raise training.zero");
    }
  }
  if (!scenario.run_without_fit) mistakes.throw_if_any();
  return memory;
}

}  // namespace

void check_routing(const Scenario& scenario) { make_routing(scenario, {}); }

std::vector<std::vector<MemoryItem>> check_memory(const Scenario& scenario) {
  const Roofline costs;  // asked for nothing: memory alone
  StepSetup setup = make_setup(scenario, costs, *scenario.exchange);
  std::vector<int> slots;
  const RoutingShape shape = scenario.routing_shape();
  int most = 0;
  for (const int index : routed_indices(scenario)) {
    PlacementInput input;
    input.experts = shape.experts[static_cast<std::size_t>(index)];
    input.redundant_experts = scenario.placement.redundant_experts;
    input.ranks = scenario.layout.ep;
    most = std::max(most, input.slots_per_rank());
  }
  if (scenario.training) return check_training_memory(scenario, setup, most);
  // What a rank brings decides its caches; the largest decides everybody's buffers.
  InferenceWorkload workload = scenario.workload;
  std::vector<std::int64_t> tokens;
  if (scenario.routing.workload && !shape.experts.empty()) {
    tokens =
        tokens_of_ranks(*scenario.routing.workload,
                        std::vector<std::int64_t>(static_cast<std::size_t>(scenario.layout.world),
                                                  workload.tokens_per_gpu));
    workload.tokens_per_gpu = *std::max_element(tokens.begin(), tokens.end());
  }
  const std::vector<RankSequences> sequences =
      make_sequences(workload, scenario.layout.world,
                     workload.phase == Phase::kDecode ? workload.steps - 1 : 0, tokens);
  std::vector<std::vector<MemoryItem>> memory;
  Mistakes mistakes;
  for (int r = 0; r < scenario.layout.world; ++r) {
    memory.push_back(rank_memory(setup, workload, sequences, r, most, scenario.framework_reserve));
    const Device& device = *setup.devices[static_cast<std::size_t>(r)];
    MemoryPool pool(device.memory_capacity);
    for (const MemoryItem& item : memory.back()) pool.hold(item.name, item.bytes);
    if (pool.fits() || !mistakes.empty()) continue;
    std::string items;
    for (const auto& [name, bytes] : pool.items())
      items += (items.empty() ? "" : ", ") + name + " " + format_bytes(bytes);
    mistakes.add(scenario.workload_place,
                 "gpu " + std::to_string(r) + " (" + device.name + ") needs " +
                     format_bytes(pool.peak()) + " of its " + format_bytes(pool.capacity()) + ": " +
                     items,
                 "raise ep or tp, or lower tokens_per_gpu or context");
  }
  if (!scenario.run_without_fit) mistakes.throw_if_any();
  return memory;
}

}  // namespace sim
