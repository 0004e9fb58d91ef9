// The kernels of an attention block. Attention core: 2 flops per multiply-add, over (query, key)
// pairs: pairs x heads x (head_dim + value_dim) x 2.
//
// Fused where every serving engine fuses: query, key and value projections; MLA's two compressing
// projections; rotary position with the cache write. The core is one kernel (FlashAttention), whose
// scores never reach HBM.
#include <algorithm>

#include "models/operator_builder.h"

namespace sim {

namespace {

constexpr OperatorKind kKind = OperatorKind::kAttention;

struct Attended {
  double pairs = 0;
  double cached = 0;   // tokens of the cache that are read
  double longest = 0;  // keys of the longest sequence that one query may see
  bool windowed = false;
};

// Cuts pairs to what a window of `w` last keys leaves. Exact when all sequences are on the same
// side of the window; a fresh prompt of p > w tokens has p*w - w*(w-1)/2 pairs. With mixed lengths
// it is an upper bound.
Attended cut_to_window(const TokenBatch& batch, double w) {
  const double tokens = static_cast<double>(batch.tokens);
  const double sequences = static_cast<double>(batch.sequences);
  Attended all{batch.attended_pairs, batch.kv_tokens_read, batch.max_context};
  if (batch.max_context <= w) return all;
  double pairs = tokens * w;
  double cached = sequences * w;
  if (batch.phase == Phase::kPrefill) {
    const bool fresh = batch.kv_tokens_read <= tokens;
    if (fresh && tokens >= sequences * w) pairs -= sequences * w * (w - 1) / 2;
    cached += tokens;
  }
  return {std::min(all.pairs, pairs), std::min(all.cached, cached), w, true};
}

// A chunk of `c` keys: a query at a random place of its chunk sees (c + 1) / 2 of them.
Attended cut_to_chunk(const TokenBatch& batch, double c) {
  const Attended all{batch.attended_pairs, batch.kv_tokens_read, batch.max_context};
  if (batch.max_context <= c) return all;
  const double cached = static_cast<double>(batch.sequences) * (c + 1) / 2 +
                        (batch.phase == Phase::kPrefill ? static_cast<double>(batch.tokens) : 0);
  return {std::min(all.pairs, static_cast<double>(batch.tokens) * (c + 1) / 2),
          std::min(all.cached, cached), c, true};
}

Attended attended(const TokenBatch& batch, const AttentionBlock& a) {
  if (!a.window) return {batch.attended_pairs, batch.kv_tokens_read, batch.max_context};
  const double window = static_cast<double>(*a.window);
  return a.chunked ? cut_to_chunk(batch, window) : cut_to_window(batch, window);
}

double kv_value(const OperatorBuilder& build) {
  return bytes_per_value(build.model().formats.kv_cache);
}

AttentionShape shape_of(const OperatorBuilder& build, const Attended& seen, std::int64_t heads,
                        std::int64_t head_dim, std::int64_t value_dim) {
  AttentionShape shape;
  shape.sequences = static_cast<double>(build.batch().sequences);
  shape.queries = static_cast<double>(build.batch().tokens);
  shape.pairs = seen.pairs;
  shape.cached = seen.cached;
  shape.longest = seen.longest;
  shape.windowed = seen.windowed;
  shape.heads = heads;
  shape.kv_heads = heads;
  shape.head_dim = head_dim;
  shape.value_dim = value_dim;
  shape.kv_value_bytes = kv_value(build);
  return shape;
}

void add_routed_projection(OperatorBuilder& build, const char* name, const AttentionBlock& a,
                           std::int64_t n, std::int64_t k) {
  const std::int64_t rows = build.batch().tokens * a.routing->top_k;
  build.gemm(name, kKind, build.model().formats.attention, rows, n, k,
             std::min(a.routing->experts, rows));
}

// Queries, keys and values. Cross attention projects the encoder's tokens (as many as the prompt
// has, an assumption of ours) in prefill, and only queries in decode.
void add_grouped_input(OperatorBuilder& build, const AttentionBlock& a, std::int64_t heads,
                       std::int64_t kv_heads) {
  const MoeModel& model = build.model();
  const std::int64_t m = build.batch().tokens;
  const std::int64_t q = heads * (a.head_dim + (a.output_gate ? a.value_dim : 0));
  const std::int64_t kv = kv_heads * (a.head_dim + (a.values_are_keys ? 0 : a.value_dim));
  build.quantise(kKind, model.formats.attention, m, model.hidden);
  if (a.routing) {
    build.gemm("router", kKind, model.formats.router, m, a.routing->experts, model.hidden);
    build.elementwise("top_k", kKind, 0, static_cast<double>(m * a.routing->experts) * 4);
    add_routed_projection(build, "q_proj", a, q / a.routing->top_k, model.hidden);
    build.gemm("kv_proj", kKind, model.formats.attention, m, kv, model.hidden);
  } else if (a.cross) {
    build.gemm("q_proj", kKind, model.formats.attention, m, q, model.hidden);
    if (build.batch().phase == Phase::kPrefill) {
      build.gemm("kv_proj", kKind, model.formats.attention, m, kv, model.hidden);
    }
  } else {
    build.gemm("qkv_proj", kKind, model.formats.attention, m, q + kv, model.hidden);
  }
  const double values = static_cast<double>(m * heads * a.head_dim) * 2 * build.activation();
  const double keys = static_cast<double>(m * kv_heads * (a.head_dim + a.value_dim)) *
                      (build.activation() + kv_value(build));
  build.elementwise("rope_kv_write", kKind, 0, values + keys);
}

void add_output(OperatorBuilder& build, const AttentionBlock& a, std::int64_t width) {
  const MoeModel& model = build.model();
  const std::int64_t m = build.batch().tokens;
  build.quantise(kKind, model.formats.attention, m, width);
  if (a.routing) {
    add_routed_projection(build, "o_proj", a, model.hidden, width / a.routing->top_k);
  } else {
    build.gemm("o_proj", kKind, model.formats.attention, m, model.hidden, width);
  }
}

void add_grouped(OperatorBuilder& build, const AttentionBlock& a) {
  const std::int64_t m = build.batch().tokens;
  const std::int64_t heads = build.share(a.heads);
  const std::int64_t kv_heads = build.share(a.kv_heads);
  add_grouped_input(build, a, heads, kv_heads);
  const Attended seen = attended(build.batch(), a);
  const double per_pair = static_cast<double>(heads * (a.head_dim + a.value_dim)) * 2;
  const double cache =
      seen.cached * static_cast<double>(kv_heads * (a.head_dim + a.value_dim)) * kv_value(build);
  const double rows = static_cast<double>(m * heads * (a.head_dim + a.value_dim));
  AttentionShape shape = shape_of(build, seen, heads, a.head_dim, a.value_dim);
  shape.kv_heads = kv_heads;
  build.attention_core(build.batch().phase == Phase::kDecode ? KernelFamily::kAttentionDecode
                                                             : KernelFamily::kAttentionPrefill,
                       shape, seen.pairs * per_pair, cache + rows * build.activation());
  if (a.output_gate) {
    const double gated = static_cast<double>(m * heads * a.value_dim);
    build.elementwise("output_gate", kKind, gated * 2, gated * 3 * build.activation());
  }
  add_output(build, a, heads * a.value_dim);
}

// DeepSeek sparse attention: scores of every pair in fp8 (DeepSeek-V3.2-Exp's report), then the
// best keys of each query.
void add_indexer(OperatorBuilder& build, const AttentionBlock& a) {
  const MoeModel& model = build.model();
  const TokenBatch& batch = build.batch();
  const Indexer& index = *a.indexer;
  const GroupFormat& format = model.formats.attention;
  build.gemm("index_q_proj", kKind, format, batch.tokens, index.heads * index.head_dim,
             a.q_rank > 0 ? a.q_rank : model.hidden);
  build.gemm("index_k_weights_proj", kKind, format, batch.tokens, index.head_dim + index.heads,
             model.hidden);
  build.kernel(
      "index_scores", kKind, DType::kFp8,
      batch.attended_pairs * static_cast<double>(2 * index.heads * index.head_dim),
      batch.kv_tokens_read * (static_cast<double>(index.head_dim) + 4) + batch.attended_pairs * 4);
  build.elementwise("index_top_k", kKind, 0, batch.attended_pairs * 4);
}

void add_latent_input(OperatorBuilder& build, const AttentionBlock& a, std::int64_t heads) {
  const MoeModel& model = build.model();
  const GroupFormat& format = model.formats.attention;
  const std::int64_t m = build.batch().tokens;
  const std::int64_t q = heads * a.head_dim;
  const std::int64_t kv_a = a.kv_rank + a.rope_dim;
  build.quantise(kKind, format, m, model.hidden);
  if (a.q_rank > 0) {
    build.gemm("qkv_a_proj", kKind, format, m, a.q_rank + kv_a, model.hidden);
    build.elementwise("q_a_norm", kKind, static_cast<double>(4 * m * a.q_rank),
                      static_cast<double>(m * a.q_rank) * 2 * build.activation());
    build.quantise(kKind, format, m, a.q_rank);
    build.gemm("q_b_proj", kKind, format, m, q, a.q_rank);
  } else {
    build.gemm("q_proj", kKind, format, m, q, model.hidden);
    build.gemm("kv_a_proj", kKind, format, m, kv_a, model.hidden);
  }
  build.elementwise("kv_norm_rope_write", kKind, static_cast<double>(4 * m * a.kv_rank),
                    static_cast<double>(m * kv_a) * (build.activation() + kv_value(build)) +
                        static_cast<double>(m * heads * a.rope_dim) * 2 * build.activation());
}

// Absorbed: queries go into the latent space, the cache is read as it is, values come out of it.
void add_absorbed_core(OperatorBuilder& build, const AttentionBlock& a, std::int64_t heads,
                       const Attended& seen) {
  const GroupFormat& format = build.model().formats.attention;
  const std::int64_t m = build.batch().tokens;
  build.batched_gemm("q_absorb", kKind, format, heads, m, a.kv_rank, a.nope_dim);
  const double per_pair = static_cast<double>(heads * (2 * a.kv_rank + a.rope_dim)) * 2;
  const double rows = static_cast<double>(m * heads * (2 * a.kv_rank + a.rope_dim));
  AttentionShape shape = shape_of(build, seen, heads, a.kv_rank + a.rope_dim, a.kv_rank);
  shape.kv_heads = 1;
  build.attention_core(a.indexer ? KernelFamily::kOther : KernelFamily::kMlaDecode, shape,
                       seen.pairs * per_pair,
                       seen.cached * static_cast<double>(a.kv_rank + a.rope_dim) * kv_value(build) +
                           rows * build.activation());
  build.batched_gemm("v_up", kKind, format, heads, m, a.value_dim, a.kv_rank);
}

void add_latent(OperatorBuilder& build, const AttentionBlock& a) {
  const TokenBatch& batch = build.batch();
  const std::int64_t heads = build.share(a.heads);
  add_latent_input(build, a, heads);
  Attended seen = attended(batch, a);
  if (a.indexer) {
    add_indexer(build, a);
    const Attended chosen = cut_to_window(batch, static_cast<double>(a.indexer->top_k));
    seen.pairs = std::min(seen.pairs, chosen.pairs);
    // In prefill different queries choose different keys: all of the cache may be read.
    if (batch.phase == Phase::kDecode) seen.cached = std::min(seen.cached, chosen.cached);
    seen.longest = chosen.longest;
  }
  // Sparse attention runs absorbed in both phases (FlashMLA's sparse prefill).
  if (batch.phase == Phase::kDecode || a.indexer) {
    add_absorbed_core(build, a, heads, seen);
  } else {
    // Cached tokens of earlier chunks are expanded again.
    const double expanded = std::max(static_cast<double>(batch.tokens), batch.kv_tokens_read);
    const std::int64_t rows = static_cast<std::int64_t>(expanded);
    build.quantise(kKind, build.model().formats.attention, rows, a.kv_rank);
    build.gemm("kv_b_proj", kKind, build.model().formats.attention, rows,
               heads * (a.nope_dim + a.value_dim), a.kv_rank);
    const double per_head = static_cast<double>(heads * (a.head_dim + a.value_dim));
    AttentionShape shape = shape_of(build, seen, heads, a.head_dim, a.value_dim);
    shape.kv_heads = heads;
    build.attention_core(
        KernelFamily::kMlaPrefill, shape, seen.pairs * per_head * 2,
        (expanded + static_cast<double>(batch.tokens)) * per_head * build.activation());
  }
  add_output(build, a, heads * a.value_dim);
}

// Recurrence per token and head: decay, read with the key, rank-one update, read with the query:
// 7 flops per state (Yang et al., Gated Delta Networks, arXiv 2412.06464, eq. 10). The chunked form
// of prefill does more on tensor cores; its extra work is left out.
void add_gated_delta(OperatorBuilder& build, const AttentionBlock& a) {
  const MoeModel& model = build.model();
  const std::int64_t m = build.batch().tokens;
  const std::int64_t heads = build.share(a.heads);
  const std::int64_t keys = build.share(a.kv_heads) * a.head_dim;
  const std::int64_t values = heads * a.value_dim;
  const std::int64_t convolved = 2 * keys + values;
  build.quantise(kKind, model.formats.attention, m, model.hidden);
  build.gemm("qkvz_ba_proj", kKind, model.formats.attention, m, 2 * keys + 2 * values + 2 * heads,
             model.hidden);
  build.elementwise("conv", kKind, static_cast<double>(2 * m * convolved * a.conv_kernel),
                    static_cast<double>(m * convolved) * 2 * build.activation());
  const double states = static_cast<double>(heads * a.head_dim * a.value_dim);
  build.kernel("gated_delta", kKind, DType::kFp32, 7 * static_cast<double>(m) * states,
               static_cast<double>(build.batch().sequences) * states * 4 * 2 +
                   static_cast<double>(m * (convolved + values)) * build.activation());
  build.elementwise("gated_norm", kKind, static_cast<double>(6 * m * values),
                    static_cast<double>(m * values) * 3 * build.activation());
  add_output(build, a, values);
}

// Selective scan: 9 flops per token and state (Gu & Dao, Mamba, arXiv 2312.00752).
void add_mamba(OperatorBuilder& build, const AttentionBlock& a) {
  const MoeModel& model = build.model();
  const GroupFormat& format = model.formats.attention;
  const std::int64_t m = build.batch().tokens;
  const std::int64_t inner = build.share(a.inner);
  const std::int64_t x = a.step_rank + 2 * a.state;
  build.quantise(kKind, format, m, model.hidden);
  build.gemm("in_proj", kKind, format, m, 2 * inner, model.hidden);
  build.elementwise("conv", kKind, static_cast<double>(2 * m * inner * a.conv_kernel),
                    static_cast<double>(m * inner) * 2 * build.activation());
  build.gemm("x_proj", kKind, format, m, x, inner);
  build.elementwise("inner_norms", kKind, static_cast<double>(4 * m * x),
                    static_cast<double>(m * x) * 2 * build.activation());
  build.gemm("dt_proj", kKind, format, m, inner, a.step_rank);
  const double states = static_cast<double>(inner * a.state);
  build.kernel("selective_scan", kKind, DType::kFp32, 9 * static_cast<double>(m) * states,
               static_cast<double>(build.batch().sequences) * states * 4 * 2 +
                   static_cast<double>(m * inner) * 4 * build.activation());
  build.quantise(kKind, format, m, inner);
  build.gemm("out_proj", kKind, format, m, model.hidden, inner);
}

}  // namespace

void add_attention(OperatorBuilder& build, const AttentionBlock& a, std::int64_t norms) {
  build.residual_norm();
  switch (a.kind) {
    case AttentionKind::kGrouped:
      add_grouped(build, a);
      break;
    case AttentionKind::kLatent:
      add_latent(build, a);
      break;
    case AttentionKind::kGatedDelta:
      add_gated_delta(build, a);
      break;
    case AttentionKind::kMamba:
      add_mamba(build, a);
      break;
  }
  build.extra_norms(norms - 1);
}

}  // namespace sim
