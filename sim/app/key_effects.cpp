#include "sim/app/key_effects.h"

#include <algorithm>

#include "models/operators.h"

namespace sim {
namespace {

bool given(const Scenario& scenario, const std::string& path) {
  return std::any_of(scenario.keys.begin(), scenario.keys.end(),
                     [&](const ReadKey& key) { return key.given && key.path == path; });
}

bool has_shared_experts(const Scenario& scenario) {
  const std::vector<BlockId> blocks = routed_blocks(scenario.model);
  return std::any_of(blocks.begin(), blocks.end(), [&](const BlockId id) {
    const FfnBlock& ffn = block_at(scenario.model, id).ffn();
    return ffn.shared_experts > 0 || ffn.dense_inter > 0;
  });
}

bool has_module(const MoeModel& model, RecomputeModule module) {
  const auto any_block = [&](const auto& holds) {
    return std::any_of(model.layers.begin(), model.layers.end(), [&](const Layer& layer) {
      return std::any_of(layer.blocks.begin(), layer.blocks.end(), holds);
    });
  };
  const auto ffn = [](const Block& block) { return block.kind() == BlockKind::kFfn; };
  switch (module) {
    case RecomputeModule::kMlaUp:
      return any_block([&](const Block& block) {
        return !ffn(block) && block.attention().kind == AttentionKind::kLatent;
      });
    case RecomputeModule::kDenseFfn:
      return any_block(
          [&](const Block& block) { return ffn(block) && block.ffn().dense_inter > 0; });
    case RecomputeModule::kSharedExperts:
      return any_block(
          [&](const Block& block) { return ffn(block) && block.ffn().shared_experts > 0; });
    case RecomputeModule::kRouter:
    case RecomputeModule::kExperts:
      return !routed_blocks(model).empty();
    default:
      return true;
  }
}

// Whether a kernel of the family is in the part and the phase of the run.
bool runs(const Scenario& scenario, KernelFamily family) {
  if (family == KernelFamily::kExpertFfn) return true;  // models without return before
  TokenBatch batch;
  batch.phase = scenario.workload.phase;
  batch.tokens = batch.sequences = batch.logit_rows = 1;
  batch.attended_pairs = batch.kv_tokens_read = batch.max_context = 1;
  for (const PlacedOperator& each : all_operators(scenario.model, batch, 1)) {
    if (each.op.family != family) continue;
    if (each.layer < 0
            ? scenario.part.ends
            : each.layer >= scenario.part.first_layer && each.layer < scenario.part.end_layer) {
      const bool attention = each.op.kind == OperatorKind::kAttention;
      if (!attention || !scenario.part.only_routed_blocks) return true;
    }
  }
  return false;
}

}  // namespace

std::vector<std::string> keys_without_effect(const Scenario& scenario) {
  std::vector<std::string> warnings;
  const auto no_effect = [&](const std::string& path, const std::string& why) {
    if (given(scenario, path)) warnings.push_back(path + " has no effect: " + why);
  };
  if (scenario.training) {
    const TrainingWorkload& training = *scenario.training;
    if (training.zero == 0 || training.zero == 3) {
      no_effect("training.parameters.overlap", training.zero == 0
                                                   ? "ZeRO 0 shards no parameters"
                                                   : "ZeRO 3 gathers parameters layer by layer");
    }
    if (scenario.layout.dp * scenario.layout.cp * scenario.layout.edp == 1 &&
        !training.schedule.two_copies()) {
      for (const char* key :
           {"training.zero", "training.gradients.bucket", "training.gradients.overlap"}) {
        no_effect(key, "no two ranks hold the same weights");
      }
    }
    for (const RecomputeModule module : training.recompute.modules) {
      if (!has_module(scenario.model, module)) {
        no_effect("training.recompute",
                  "the model has no " +
                      std::string(recompute_module_names()[static_cast<std::size_t>(module)]));
      }
    }
  }
  if (routed_blocks(scenario.model).empty()) {
    for (const char* section :
         {"routing", "placement", "communication", "network", "parallel.ep", "parallel.edp"}) {
      no_effect(section, "the model has no routed experts");
    }
    return warnings;
  }
  if (scenario.overlap == Overlap::kSharedExperts && !has_shared_experts(scenario)) {
    no_effect("schedule.overlap", "the model has no shared experts");
  }
  if (!scenario.exchange->receive_hook) {
    no_effect("communication.receive_hook",
              std::string(scenario.exchange->name) + " has no receive hook");
  } else if (scenario.overlap == Overlap::kNone) {
    no_effect("communication.receive_hook",
              "nothing runs beside dispatch (schedule.overlap: none)");
  }
  const PlacementChoice& placement = scenario.placement;
  if (!placement.needs_load()) {
    no_effect("placement.estimate", "this placement does not look at loads");
  }
  if (placement.redundant_experts == 0) {
    no_effect("placement.replica_split", "there are no redundant experts");
  }
  if (scenario.layout.tp > 1 && scenario.part.only_routed_blocks) {
    no_effect("parallel.tp", "parts: moe runs no attention");
  }
  if (scenario.cluster.node_count() == 1) {
    for (const char* key : {"cluster.oversubscription", "cluster.spraying",
                            "cluster.paths_per_flow", "cluster.hash_seed"}) {
      no_effect(key, "there is one node");
    }
  }
  for (const auto& [family, source] : scenario.kernels.sources) {
    const std::string key = "kernels." + std::string(to_text(family));
    if (!scenario.kernels.calibrated) {
      no_effect(key, "kernels.use is roofline");
    } else if (!runs(scenario, family)) {
      no_effect(key, "this run has no such kernel");
    }
  }
  for (const auto& [name, device] : scenario.device_types) {
    const DType wanted = scenario.model.formats.experts.multiplied;
    const DType used = multiplied_on(device, wanted);
    if (used != wanted) {
      warnings.push_back(name + " does not multiply " + std::string(to_text(wanted)) +
                         ": experts run in " + std::string(to_text(used)));
    }
  }
  return warnings;
}

}  // namespace sim
