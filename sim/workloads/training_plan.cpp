#include "sim/workloads/training_plan.h"

#include <algorithm>

#include "sim/core/error.h"

namespace sim {

std::vector<std::pair<int, int>> spread_layers(int layers, int parts) {
  SIM_CHECK(parts > 0 && parts <= layers, "every part has a layer");
  std::vector<std::pair<int, int>> result;
  int first = 0;
  for (int p = 0; p < parts; ++p) {
    const int end = first + layers / parts + (p < layers % parts ? 1 : 0);
    result.emplace_back(first, end);
    first = end;
  }
  return result;
}

WeightShare stage_share(const StepSetup& setup, int first, int end, bool embedding, bool head) {
  WeightShare share;
  share.tp = share.own_tp = setup.layout.tp;
  share.etp = setup.layout.etp;
  share.first_layer = first;
  share.end_layer = end;
  share.embedding = embedding;
  share.head = head;
  for (const ExpertPlacement& placement : setup.placements)
    share.expert_slots = std::max(share.expert_slots, placement.slots_per_rank);
  return share;
}

std::int64_t tokens_per_rank(const TrainingWorkload& workload, const ParallelLayout& layout) {
  return workload.micro_batch * workload.sequence_length / (layout.cp * layout.tp);
}

TokenBatch group_batch(const TrainingWorkload& workload, const ParallelLayout& layout) {
  const double length = static_cast<double>(workload.sequence_length);
  TokenBatch batch;
  batch.phase = Phase::kPrefill;
  batch.tokens = workload.micro_batch * workload.sequence_length / layout.cp;
  batch.sequences = workload.micro_batch;
  batch.attended_pairs = workload.micro_batch * length * (length + 1) / 2 / layout.cp;
  batch.kv_tokens_read = workload.micro_batch * length;
  batch.max_context = length;
  batch.logit_rows = batch.tokens;
  return batch;
}

TokenBatch rank_batch(const TrainingWorkload& workload, const ParallelLayout& layout) {
  TokenBatch batch = group_batch(workload, layout);
  batch.tokens /= layout.tp;
  batch.attended_pairs /= layout.tp;
  batch.logit_rows = batch.tokens;
  return batch;
}

}  // namespace sim
