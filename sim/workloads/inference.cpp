#include "sim/workloads/inference.h"

#include <algorithm>
#include <utility>

#include "sim/core/error.h"
#include "sim/core/random.h"

namespace sim {
namespace {

std::int64_t draw(const LengthSpec& spec, RandomStream& random) {
  return spec.least + static_cast<std::int64_t>(
                          random.below(static_cast<std::uint64_t>(spec.most - spec.least + 1)));
}

}  // namespace

std::vector<RankSequences> make_sequences(const InferenceWorkload& workload, int ranks, int step,
                                          const std::vector<std::int64_t>& tokens) {
  std::vector<RankSequences> result(static_cast<std::size_t>(ranks));
  // Decode keeps its sequences, so every step draws the same lengths again and adds the step.
  const bool decode = workload.phase == Phase::kDecode;
  RandomStream random(workload.seed, decode ? "lengths" : "lengths/step" + std::to_string(step));
  for (int r = 0; r < ranks; ++r) {
    RankSequences& rank = result[static_cast<std::size_t>(r)];
    const std::int64_t wanted =
        tokens.empty() ? workload.tokens_per_gpu : tokens[static_cast<std::size_t>(r)];
    if (decode) {
      for (std::int64_t s = 0; s < wanted; ++s) {
        rank.new_tokens.push_back(1);
        rank.context.push_back(draw(workload.length, random) + step);
      }
      continue;
    }
    for (std::int64_t left = wanted; left > 0;) {
      const std::int64_t prompt = std::min(left, draw(workload.length, random));
      rank.new_tokens.push_back(prompt);
      rank.context.push_back(prompt);
      left -= prompt;
    }
  }
  return result;
}

std::vector<MemoryItem> rank_memory(const StepSetup& setup, const InferenceWorkload& workload,
                                    const std::vector<RankSequences>& sequences, int rank,
                                    int expert_slots, Bytes framework_reserve) {
  const MoeModel& model = setup.model;
  const int tp = setup.layout.tp;
  WeightShare share;
  share.tp = tp;
  share.first_layer = setup.part.first_layer;
  share.end_layer = setup.part.end_layer;
  share.embedding = share.head = setup.part.ends;
  share.expert_slots = expert_slots;
  std::vector<MemoryItem> items = weight_memory(model, share);
  // A TP group shares its sequences; the cache is that of the group, split over heads where heads
  // can be.
  std::vector<std::int64_t> contexts;
  const int first = setup.layout.tp_group(rank) * tp;
  for (int r = first; r < first + tp; ++r) {
    const std::vector<std::int64_t>& context = sequences[static_cast<std::size_t>(r)].context;
    contexts.insert(contexts.end(), context.begin(), context.end());
  }
  if (!setup.part.only_routed_blocks) {
    for (MemoryItem& item : kv_memory(model, contexts, tp, share.first_layer, share.end_layer))
      items.push_back(std::move(item));
  }
  const std::int64_t sequences_here = static_cast<std::int64_t>(contexts.size());
  for (MemoryItem& item : activation_memory(model, workload.tokens_per_gpu * tp,
                                            setup.part.ends ? sequences_here : 0, tp)) {
    items.push_back(std::move(item));
  }
  if (expert_slots > 0) {
    const BlockId first_routed = routed_blocks(model).front();
    const Routing& routing = *block_at(model, first_routed).ffn().routing;
    items.push_back(
        {"communication buffers",
         buffer_bytes(*setup.exchange, static_cast<int>(routing.experts), setup.layout.ep,
                      workload.tokens_per_gpu, static_cast<int>(routing.top_k), model.hidden,
                      share.expert_slots)});
  }
  items.push_back({"framework reserve", framework_reserve});
  return items;
}

InferenceRun::InferenceRun(const InferenceWorkload& workload, const StepSetup& setup,
                           EventLoop& loop, TaskGraph& graph, ClusterNetwork& network,
                           RoutingSource& routing, CostLedger& ledger, BlockTasks::Traffic traffic,
                           std::function<void(const StepResult&)> on_step)
    : workload_(workload),
      setup_(setup),
      loop_(loop),
      graph_(graph),
      network_(network),
      routing_(routing),
      builder_(setup, graph, network, routing, ledger, std::move(traffic)),
      on_step_(std::move(on_step)) {}

void InferenceRun::begin(int step) {
  const int routing_step = workload_.routing_step_offset + step;
  // A recorded step, or a workload with ragged sources, has its own number of tokens per rank.
  std::vector<std::int64_t> tokens;
  if (routing_.layers() > 0) {
    LayerRouting first;
    routing_.fill(routing_step, 0, first);
    if (first.rank_begin.size() == static_cast<std::size_t>(setup_.layout.world) + 1) {
      for (int r = 0; r < setup_.layout.world; ++r) tokens.push_back(first.tokens_of(r));
    }
  }
  const std::vector<RankSequences> sequences =
      make_sequences(workload_, setup_.layout.world, step, tokens);
  StepResult result;
  result.step = step;
  result.start = loop_.now();
  // The facts are known before the step has run; the end fills in the rest.
  auto facts = std::make_unique<StepFacts>();
  StepFacts* const facts_at = facts.get();
  pending_facts_ = std::move(facts);
  *facts_at = builder_.build(step, routing_step, workload_.phase, sequences,
                             [this, result](Time end, const CauseVector& causes) mutable {
                               result.end = end;
                               result.causes = causes;
                               result.facts = std::move(*pending_facts_);
                               graph_.report_idle_end({-1, -1, result.step});
                               on_step_(result);
                               ++finished_;
                               if (result.step + 1 < workload_.steps) begin(result.step + 1);
                             });
}

void InferenceRun::run() {
  begin(0);
  loop_.run();
  if (finished_ == workload_.steps || graph_.stopped_device()) return;
  throw_stuck(graph_, network_, finished_);
}

void throw_stuck(const TaskGraph& graph, const ClusterNetwork& network, int step) {
  std::string stuck = graph.describe_stuck([](TaskTag tag, DeviceId device) {
    const std::string kind =
        tag.kind < 0 ? "a task" : std::string(kTaskKindNames[static_cast<std::size_t>(tag.kind)]);
    return kind + " of layer " + std::to_string(tag.layer) + " on gpu " +
           std::to_string(device.value());
  });
  const std::vector<LinkId> dead = network.starving_links();
  constexpr std::size_t kShown = 4;
  for (std::size_t i = 0; i < dead.size() && i < kShown; ++i) {
    stuck +=
        (i == 0 ? "; nothing flows over " : ", ") + network.cluster().links[dead[i].index()].name;
  }
  if (dead.size() > kShown) stuck += " and " + std::to_string(dead.size() - kShown) + " more links";
  throw Error("step " + std::to_string(step) + " never ends: " + stuck,
              dead.empty() ? "a resource of the route has no capacity"
                           : "give the disturbance of such a link an 'until', or 'reroute' and a "
                             "second path");
}

}  // namespace sim
