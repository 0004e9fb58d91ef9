// Models small enough to count by hand.
#pragma once

#include "models/moe_model.h"

namespace sim::testing {

// Bytes worked out by hand: amount(3 * 8 * 2).
template <class Count>
constexpr Bytes amount(Count count) {
  return Bytes(count);
}

// hidden 8, 2 heads of 4, 1 key-value head; one dense layer of inter 16, one routed layer of 4
// experts (top 2) of inter 6 with one shared expert of inter 6; vocabulary 32, untied.
inline MoeModel tiny_grouped() {
  MoeModel model;
  model.name = "tiny";
  model.source = "made up";
  model.hidden = 8;
  model.vocabulary = 32;
  model.max_context = 1024;
  AttentionBlock attention;
  attention.heads = 2;
  attention.kv_heads = 1;
  attention.head_dim = attention.value_dim = 4;
  FfnBlock dense;
  dense.dense_inter = 16;
  FfnBlock routed;
  routed.routing = Routing{};
  routed.routing->experts = 4;
  routed.routing->top_k = 2;
  routed.expert_inter = 6;
  routed.shared_experts = 1;
  routed.shared_inter = 6;
  model.layers = {{Stack::kDecoder, {{attention, 1}, {dense, 1}}},
                  {Stack::kDecoder, {{attention, 1}, {routed, 1}}}};
  return model;
}

// One layer of MLA: 2 heads, ranks 6 and 5, 3 + 2 wide, values 4 wide; a dense FFN of 16.
inline MoeModel tiny_latent() {
  MoeModel model = tiny_grouped();
  AttentionBlock a;
  a.kind = AttentionKind::kLatent;
  a.heads = a.kv_heads = 2;
  a.q_rank = 6;
  a.kv_rank = 5;
  a.nope_dim = 3;
  a.rope_dim = 2;
  a.head_dim = 5;
  a.value_dim = 4;
  model.layers.pop_back();
  model.layers[0].blocks[0] = {a, 1};
  return model;
}

}  // namespace sim::testing
