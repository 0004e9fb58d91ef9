// The functions behind the table of gating.cpp: each reads its parameters and returns its rule.
#pragma once

#include "traces/gating/gating.h"

namespace sim {

// dense_gates.cpp: every expert takes part.
Gate softmax_gate(YamlMap& keys, const GateShape& shape);
Gate hierarchical_gate(YamlMap& keys, const GateShape& shape);
Gate soft_moe_gate(YamlMap& keys, const GateShape& shape);
Gate merged_gate(YamlMap& keys, const GateShape& shape);

// top_k_gates.cpp: a fixed number of the best scores.
Gate top_k_gate(YamlMap& keys, const GateShape& shape);
Gate switch_gate(YamlMap& keys, const GateShape& shape);
Gate sigmoid_gate(YamlMap& keys, const GateShape& shape);
Gate cosine_gate(YamlMap& keys, const GateShape& shape);
Gate rank_k_gate(YamlMap& keys, const GateShape& shape);
Gate chained_gate(YamlMap& keys, const GateShape& shape);
Gate group_limited_gate(YamlMap& keys, const GateShape& shape);
Gate loss_free_gate(YamlMap& keys, const GateShape& shape);

// noisy_gates.cpp: scores with noise.
Gate hard_gate(YamlMap& keys, const GateShape& shape);
Gate noisy_top_k_gate(YamlMap& keys, const GateShape& shape);
Gate gshard_gate(YamlMap& keys, const GateShape& shape);
Gate dense_to_sparse_gate(YamlMap& keys, const GateShape& shape);

// varying_gates.cpp: a number of experts that differs from token to token or step to step.
Gate frozen_random_gate(YamlMap& keys, const GateShape& shape);
Gate top_p_gate(YamlMap& keys, const GateShape& shape);
Gate null_experts_gate(YamlMap& keys, const GateShape& shape);
Gate top_any_gate(YamlMap& keys, const GateShape& shape);
Gate comet_gate(YamlMap& keys, const GateShape& shape);

// balanced_gates.cpp: the experts' loads are evened out.
Gate expert_choice_gate(YamlMap& keys, const GateShape& shape);
Gate sinkhorn_gate(YamlMap& keys, const GateShape& shape);
Gate token_rounding_gate(YamlMap& keys, const GateShape& shape);

// assigned_gates.cpp: the experts' loads are given exactly.
Gate base_gate(YamlMap& keys, const GateShape& shape);
Gate target_shares_gate(YamlMap& keys, const GateShape& shape);

// unscored_gates.cpp: no router at all.
Gate hash_gate(YamlMap& keys, const GateShape& shape);
Gate random_gate(YamlMap& keys, const GateShape& shape);
Gate random_1_gate(YamlMap& keys, const GateShape& shape);
Gate random_partition_gate(YamlMap& keys, const GateShape& shape);
Gate domain_random_gate(YamlMap& keys, const GateShape& shape);

}  // namespace sim
