// The YAML keys of blocks, stated once: the reader and the writer both walk them.
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "models/moe_model.h"

namespace sim {

inline constexpr std::array<std::pair<AttentionKind, std::string_view>, 4> kAttentionKinds = {
    {{AttentionKind::kGrouped, "grouped"},
     {AttentionKind::kLatent, "latent"},
     {AttentionKind::kGatedDelta, "gated_delta"},
     {AttentionKind::kMamba, "mamba"}}};

inline constexpr std::array<std::pair<QkNorm, std::string_view>, 3> kQkNorms = {
    {{QkNorm::kNone, "none"}, {QkNorm::kPerHead, "per_head"}, {QkNorm::kFullWidth, "full_width"}}};

inline constexpr std::array<std::pair<Scoring, std::string_view>, 2> kScorings = {
    {{Scoring::kSoftmax, "softmax"}, {Scoring::kSigmoid, "sigmoid"}}};

template <class Visitor, class R>
void visit_routing(Visitor& v, R& r) {
  v.count("experts", r.experts);
  v.count("top_k", r.top_k);
  v.count("groups", r.groups);
  v.count("top_groups", r.top_groups);
  v.word("scoring", r.scoring, kScorings);
  v.flag("bias", r.bias);
  v.flag("correction_bias", r.correction_bias);
  v.flag("expert_scale", r.expert_scale);
  v.flag("input_scale", r.input_scale);
}

template <class Visitor, class I>
void visit_indexer(Visitor& v, I& i) {
  v.count("heads", i.heads);
  v.count("head_dim", i.head_dim);
  v.count("top_k", i.top_k);
}

// Without `kind`, `routing` and `indexer`, which both sides treat by hand.
template <class Visitor, class A>
void visit_attention(Visitor& v, A& a) {
  v.count("heads", a.heads);
  v.count("kv_heads", a.kv_heads);
  v.count("head_dim", a.head_dim);
  v.count("value_dim", a.value_dim);
  v.count("q_rank", a.q_rank);
  v.count("kv_rank", a.kv_rank);
  v.count("nope_dim", a.nope_dim);
  v.count("rope_dim", a.rope_dim);
  v.count("conv_kernel", a.conv_kernel);
  v.count("inner", a.inner);
  v.count("state", a.state);
  v.count("step_rank", a.step_rank);
  v.optional_count("window", a.window);
  v.flag("chunked", a.chunked);
  v.flag("cross", a.cross);
  v.flag("qkv_bias", a.qkv_bias);
  v.flag("output_bias", a.output_bias);
  v.flag("output_gate", a.output_gate);
  v.flag("sinks", a.sinks);
  v.flag("values_are_keys", a.values_are_keys);
  v.word("qk_norm", a.qk_norm, kQkNorms);
  v.count("position_buckets", a.position_buckets);
}

template <class Visitor, class F>
void visit_ffn(Visitor& v, F& f) {
  v.count("dense_inter", f.dense_inter);
  v.count("expert_inter", f.expert_inter);
  v.count("shared_experts", f.shared_experts);
  v.count("shared_inter", f.shared_inter);
  v.flag("shared_gate", f.shared_gate);
  v.count("up_matrices", f.up_matrices);
  v.flag("bias", f.bias);
}

template <class Visitor, class F>
void visit_formats(Visitor& v, F& f) {
  v.group("attention", f.attention);
  v.group("dense", f.dense);
  v.group("router", f.router);
  v.group("experts", f.experts);
  v.group("shared", f.shared);
  v.group("embeddings", f.embeddings);
}

}  // namespace sim
