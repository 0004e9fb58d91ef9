#include "models/recompute.h"

#include <algorithm>
#include <array>

namespace sim {

namespace {

constexpr std::array<std::string_view, 8> kNames = {"norms",      "attention_core", "mla_up",
                                                    "activation", "router",         "experts",
                                                    "dense_ffn",  "shared_experts"};

struct Kernel {
  std::string_view name;
  RecomputeModule module;
};
constexpr Kernel kKernels[] = {
    {"residual_norm", RecomputeModule::kNorms},
    {"norm", RecomputeModule::kNorms},
    {"q_a_norm", RecomputeModule::kNorms},
    {"kv_norm_rope_write", RecomputeModule::kNorms},
    {"inner_norms", RecomputeModule::kNorms},
    {"gated_norm", RecomputeModule::kNorms},
    {"attention_core", RecomputeModule::kAttentionCore},
    {"kv_norm_rope_write", RecomputeModule::kMlaUp},
    {"q_b_proj", RecomputeModule::kMlaUp},
    {"kv_b_proj", RecomputeModule::kMlaUp},
    {"dense_activation", RecomputeModule::kActivation},
    {"shared_activation", RecomputeModule::kActivation},
    {"router", RecomputeModule::kRouter},
    {"top_k", RecomputeModule::kRouter},
    {"dense_up_proj", RecomputeModule::kDenseFfn},
    {"dense_activation", RecomputeModule::kDenseFfn},
    {"shared_up_proj", RecomputeModule::kSharedExperts},
    {"shared_activation", RecomputeModule::kSharedExperts},
};

bool runs_again(const Operator& op, const Recompute& recompute) {
  return std::any_of(std::begin(kKernels), std::end(kKernels), [&](const Kernel& each) {
    return each.name == op.name && recompute.has(each.module);
  });
}

}  // namespace

std::span<const std::string_view> recompute_module_names() { return kNames; }

std::optional<RecomputeModule> parse_recompute_module(std::string_view text) {
  const auto* const found = std::find(kNames.begin(), kNames.end(), text);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<RecomputeModule>(found - kNames.begin());
}

bool Recompute::has(RecomputeModule module) const {
  return full || std::find(modules.begin(), modules.end(), module) != modules.end();
}

std::vector<Operator> recomputed_operators(const MoeModel& model, int layer, int block,
                                           BlockPart part, const TokenBatch& batch, int tp,
                                           const Recompute& recompute,
                                           std::span<const std::string> covered) {
  std::vector<Operator> forward = block_operators(model, layer, block, part, batch, tp, covered);
  if (recompute.full) return forward;
  std::vector<Operator> again;
  for (std::size_t i = 0; i < forward.size(); ++i) {
    // A quantisation runs with the GEMM that it feeds, and with the kernel whose output it takes.
    const bool quantise = forward[i].name == "quantise";
    const bool runs = quantise
                          ? (i + 1 < forward.size() && runs_again(forward[i + 1], recompute)) ||
                                (i > 0 && runs_again(forward[i - 1], recompute) &&
                                 forward[i - 1].family == KernelFamily::kStreaming)
                          : runs_again(forward[i], recompute);
    if (runs) again.push_back(forward[i]);
  }
  return again;
}

ExpertsAgain experts_again(const Recompute& recompute) {
  if (recompute.full) return ExpertsAgain::kExchange;
  if (recompute.has(RecomputeModule::kExperts)) return ExpertsAgain::kForward;
  return recompute.has(RecomputeModule::kActivation) ? ExpertsAgain::kActivation
                                                     : ExpertsAgain::kNothing;
}

}  // namespace sim
