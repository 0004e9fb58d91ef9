// Which kernels of the forward pass run again in the backward pass, to keep fewer activations.
//
// The modules are those of Megatron-Core's --recompute-modules and of DeepSeek-V3's report (arXiv
// 2412.19437, section 3.2.3: norms and MLA's up-projections):
//   norms           norms run again from their inputs (layernorm)
//   attention_core  the core runs again (core_attn): frees its softmax sums only, for
//   FlashAttention
//                   keeps no scores
//   mla_up          MLA's up-projections and rotary positions, from the latents (mla_up_proj)
//   activation      SwiGLU of experts, shared experts and dense FFN (moe_act)
//   router          scores and choice
//   experts         the routed experts' first product and activation, from the rows that arrived;
//   no
//                   second exchange
//   dense_ffn       likewise the dense FFN (mlp)
//   shared_experts  likewise
// `full` keeps the inputs of layers only: everything runs again, exchanges too.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/operators.h"

namespace sim {

enum class RecomputeModule {
  kNorms,
  kAttentionCore,
  kMlaUp,
  kActivation,
  kRouter,
  kExperts,
  kDenseFfn,
  kSharedExperts,
};
std::span<const std::string_view> recompute_module_names();  // in the order of RecomputeModule
std::optional<RecomputeModule> parse_recompute_module(std::string_view text);

struct Recompute {
  bool full = false;
  std::vector<RecomputeModule> modules;    // none: everything is kept
  bool has(RecomputeModule module) const;  // full has all
};

// The kernels of a part that run again, in forward order; arguments as of block_operators.
std::vector<Operator> recomputed_operators(const MoeModel& model, int layer, int block,
                                           BlockPart part, const TokenBatch& batch, int tp,
                                           const Recompute& recompute,
                                           std::span<const std::string> covered = {});

// What of the routed experts runs again.
enum class ExpertsAgain {
  kNothing,
  kActivation,  // expert_activation_operator
  kForward,     // the whole call: libraries have no first product alone
  kExchange,    // dispatch, the whole call, and combine
};
ExpertsAgain experts_again(const Recompute& recompute);

}  // namespace sim
