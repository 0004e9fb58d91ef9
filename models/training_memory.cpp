#include "models/training_memory.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "models/operator_builder.h"
#include "models/weights.h"
#include "sim/core/error.h"

namespace sim {

namespace {

bool narrow(const ModelFormats& formats, const Weight& w) {
  if (w.rows == 1) return false;
  switch (w.item) {
    case WeightItem::kAttention:
      return quantises(formats.attention.multiplied);
    case WeightItem::kDense:
      return quantises(formats.dense.multiplied);
    case WeightItem::kExperts:
      return quantises(formats.experts.multiplied);
    case WeightItem::kShared:
      return quantises(formats.shared.multiplied);
    default:
      return false;
  }
}

class Count {
 public:
  Count(const MoeModel& model, const WeightShare& share) : model_(model), share_(share) {}

  void add(const std::vector<Weight>& weights, bool layer) {
    std::int64_t here = 0;
    for (Weight w : weights) {
      const bool expert = w.item == WeightItem::kExperts;
      if (expert) w.copies = share_.expert_slots;
      const std::int64_t values = values_of(w, expert        ? share_.etp
                                               : own(w.item) ? share_.own_tp
                                                             : share_.tp);
      (expert ? sum_.expert : sum_.dense) += values;
      if (narrow(model_.formats, w)) (expert ? sum_.expert_narrow : sum_.dense_narrow) += values;
      here += values;
    }
    if (layer) in_layer_ += here;
  }
  void end_layer() {
    sum_.largest_layer = std::max(sum_.largest_layer, in_layer_);
    in_layer_ = 0;
  }
  StageParameters sum() const { return sum_; }

 private:
  static bool own(WeightItem item) {
    return item == WeightItem::kEmbedding || item == WeightItem::kHead ||
           item == WeightItem::kShared;
  }

  const MoeModel& model_;
  const WeightShare& share_;
  StageParameters sum_;
  std::int64_t in_layer_ = 0;
};

Bytes shard(std::int64_t values, double bytes_per_parameter, int ranks) {
  const std::int64_t part = (values + ranks - 1) / ranks;
  return Bytes(
      static_cast<std::int64_t>(std::ceil(static_cast<double>(part) * bytes_per_parameter)));
}

}  // namespace

StageParameters& StageParameters::operator+=(const StageParameters& other) {
  dense += other.dense;
  expert += other.expert;
  dense_narrow += other.dense_narrow;
  expert_narrow += other.expert_narrow;
  largest_layer = std::max(largest_layer, other.largest_layer);
  return *this;
}

StageParameters stage_parameters(const MoeModel& model, const WeightShare& share) {
  SIM_CHECK(share.first_layer >= 0 && share.first_layer <= share.end_layer &&
                share.end_layer <= static_cast<int>(model.layers.size()),
            "the layers exist");
  Count count(model, share);
  if (share.embedding || (share.head && model.tied_embeddings)) {
    count.add(input_weights(model), false);
  }
  for (int layer = share.first_layer; layer < share.end_layer; ++layer) {
    const std::size_t blocks = model.layers[static_cast<std::size_t>(layer)].blocks.size();
    for (int block = 0; block < static_cast<int>(blocks); ++block) {
      count.add(block_weights(model, {layer, block}), true);
    }
    count.end_layer();
  }
  if (share.head) count.add(output_weights(model), false);
  return count.sum();
}

std::vector<MemoryItem> model_state_memory(const StageParameters& parameters,
                                           const StateFormats& formats,
                                           const StateSharding& sharding) {
  const int zero = sharding.zero;
  SIM_CHECK(zero >= 0 && zero <= 3, "ZeRO has stages 0 to 3");
  SIM_CHECK(sharding.dense_replicas > 0 && sharding.expert_replicas > 0, "replicas are positive");
  std::vector<MemoryItem> items;
  const auto add = [&](const std::string& what, double bytes, int sharded_from) {
    const bool sharded = zero >= sharded_from;
    const Bytes dense = shard(parameters.dense, bytes, sharded ? sharding.dense_replicas : 1);
    const Bytes expert = shard(parameters.expert, bytes, sharded ? sharding.expert_replicas : 1);
    if (dense > Bytes{}) items.push_back({what + ": dense", dense});
    if (expert > Bytes{}) items.push_back({what + ": routed experts", expert});
  };
  const double weight = bytes_per_value(formats.weight);
  add("weights", weight, 3);
  // Of a sharded stage only the gathered layers have copies.
  const std::int64_t narrow = zero == 3 ? 0 : parameters.dense_narrow + parameters.expert_narrow;
  const Bytes copies = shard(narrow, bytes_per_value(DType::kFp8) * formats.narrow_copies, 1);
  if (copies > Bytes{}) items.push_back({"weights: 8-bit copies", copies});
  const bool apart = sharding.dense_replicas > 1 || sharding.expert_replicas > 1;
  if (zero == 3 && apart && parameters.largest_layer > 0) {
    items.push_back({"weights: gathered", shard(2 * parameters.largest_layer, weight, 1)});
  }
  add("gradients", bytes_per_value(formats.gradient), 2);
  add("master weights", bytes_per_value(formats.master), 1);
  add("moments", 2 * bytes_per_value(formats.moment), 1);
  return items;
}

}  // namespace sim
