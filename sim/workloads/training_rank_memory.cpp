#include "sim/workloads/training_rank_memory.h"

#include <algorithm>
#include <map>
#include <string>

#include "models/kept_activations.h"

namespace sim {
namespace {

// Sums by name, in the order in which names first came.
class Items {
 public:
  void add(const MemoryItem& item, std::int64_t times = 1) {
    const auto [at, fresh] = index_.try_emplace(item.name, items_.size());
    if (fresh) items_.push_back({item.name, Bytes(0)});
    items_[at->second].bytes += Bytes(item.bytes.count() * times);
  }
  void add(const std::vector<MemoryItem>& items, std::int64_t times = 1) {
    for (const MemoryItem& item : items) add(item, times);
  }
  std::vector<MemoryItem> take() { return std::move(items_); }

 private:
  std::map<std::string, std::size_t> index_;
  std::vector<MemoryItem> items_;
};

// Rows that a rank's experts get of one micro-batch when all experts are chosen alike.
double balanced_rows(const StepSetup& setup, const TrainingWorkload& workload, BlockId block) {
  const Routing& routing = *block_at(setup.model, block).ffn().routing;
  return static_cast<double>(tokens_per_rank(workload, setup.layout) * routing.top_k) *
         setup.layout.etp;
}

}  // namespace

StageMemory stage_memory(const StepSetup& setup, const TrainingWorkload& workload, int stage,
                         int expert_slots, Bytes framework_reserve) {
  const MoeModel& model = setup.model;
  const ParallelLayout& layout = setup.layout;
  const PipelineSchedule& schedule = workload.schedule;
  const int layers = static_cast<int>(model.layers.size());
  Items items;

  // Parts of the model that lie on this stage, and the micro-batches of each alive at once.
  StageParameters parameters;
  const KeptBatch batch{workload.micro_batch * workload.sequence_length / layout.cp, layout.tp, 1};
  std::vector<std::vector<MemoryItem>> kept;  // per chunk of the stage, of one micro-batch
  Bytes again{0};
  kept.resize(static_cast<std::size_t>(schedule.chunks));
  for (const std::vector<Position>& path : schedule.paths) {
    for (std::size_t part = 0; part < path.size(); ++part) {
      if (path[part].stage != stage) continue;
      const auto [first, end] = workload.parts[part];
      WeightShare share = stage_share(setup, first, end, first == 0, end == layers);
      share.expert_slots = expert_slots;
      parameters += stage_parameters(model, share);
      std::vector<MemoryItem>& chunk = kept[static_cast<std::size_t>(path[part].chunk)];
      double rows = 0;
      for (int l = first; l < end; ++l) {
        for (const MemoryItem& item : kept_activations(model, l, batch, workload.recompute))
          chunk.push_back(item);
        for (const BlockId block : routed_blocks(model)) {
          if (block.layer != l) continue;
          rows = balanced_rows(setup, workload, block);
          chunk.push_back(
              {"activations: rows of routed experts",
               Bytes(static_cast<std::int64_t>(
                   rows * kept_bytes_per_row(model, block, layout.etp, workload.recompute)))});
        }
      }
      if (end == layers) {
        for (const MemoryItem& item : kept_output_activations(model, batch)) chunk.push_back(item);
      }
      again = std::max(again, recomputed_at_once(model, first, end, batch, rows, layout.etp,
                                                 workload.recompute));
    }
  }
  StateSharding sharding;
  sharding.zero = workload.zero;
  const int copies = schedule.two_copies() ? 2 : 1;
  sharding.dense_replicas = layout.dp * layout.cp * copies;
  sharding.expert_replicas = layout.edp * copies;
  items.add(model_state_memory(parameters, workload.formats, sharding));

  if (again > Bytes(0)) items.add({"activations: recomputed at once", again});

  const std::vector<BlockId> routed = routed_blocks(model);
  if (!routed.empty() && expert_slots > 0) {
    const Routing& routing = *block_at(model, routed.front()).ffn().routing;
    items.add({"communication buffers",
               buffer_bytes(*setup.exchange, static_cast<int>(routing.experts), layout.ep,
                            tokens_per_rank(workload, layout), static_cast<int>(routing.top_k),
                            model.hidden, expert_slots)});
  }
  items.add({"framework reserve", framework_reserve});
  return {items.take(), std::move(kept)};
}

std::vector<MemoryItem> training_memory(const StepSetup& setup, const TrainingWorkload& workload,
                                        int stage, int expert_slots, Bytes framework_reserve) {
  const StageMemory memory = stage_memory(setup, workload, stage, expert_slots, framework_reserve);
  Items items;
  items.add(memory.always);
  for (const auto& [chunk, count] : fullest_moment(workload, stage, memory.kept))
    items.add(memory.kept[static_cast<std::size_t>(chunk)], count);
  return items.take();
}

std::vector<std::pair<int, int>> fullest_moment(const TrainingWorkload& workload, int stage,
                                                const std::vector<std::vector<MemoryItem>>& kept) {
  std::vector<int> alive(kept.size(), 0);
  std::vector<int> best = alive;
  Bytes most{-1};
  const auto now = [&] {
    Bytes sum{0};
    for (std::size_t c = 0; c < kept.size(); ++c) sum += Bytes(total(kept[c]).count() * alive[c]);
    return sum;
  };
  const auto apply = [&](const Pass& pass, bool begins) {
    int& count = alive[static_cast<std::size_t>(pass.chunk)];
    if (pass.kind == PassOf::kForward && begins) ++count;
    // A split gradient keeps what its weights' part reads; all of it here.
    if ((pass.kind == PassOf::kBackward || pass.kind == PassOf::kWeightGradient) && !begins)
      --count;
  };
  for (const Slot& slot : workload.schedule.order[static_cast<std::size_t>(stage)]) {
    apply(slot.first, true);
    if (slot.beside) apply(*slot.beside, true);
    if (now() > most) {
      most = now();
      best = alive;
    }
    apply(slot.first, false);
    if (slot.beside) apply(*slot.beside, false);
  }
  std::vector<std::pair<int, int>> result;
  for (std::size_t c = 0; c < best.size(); ++c) result.emplace_back(static_cast<int>(c), best[c]);
  return result;
}

}  // namespace sim
