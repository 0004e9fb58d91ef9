// Attention of many queries per sequence, causal (FlashAttention): grouped heads, and MLA's
// expanded heads, whose constants are their own (mla_prefill).
//
//   N = sequences kv ceil(queries per sequence h / kv / 128)     tiles: rows of one cached head
//   U = (pairs + queries tile e) 128 N / (queries h)             pairs that tiles hold
//       e: 1/2, blocks on the diagonal are computed whole; 1 where a window hides keys: both edges
//   X = N / SMs                                                  tiles per SM
//   C = 2 U h (d + v) (1 + wave (ceil(X) / X - 1)) / (P compute_share)
//   M = bytes / (B memory_share)                                 queries, keys, values, outputs
//   t = start + per_tile N + per_1024_keys longest / 1024 + (C^p + M^p)^(1/p)
//       + prepare queries kv (d + v) / B                         of calls that prepare
//
// pairs: (query, key) pairs that windows, chunks and the causal mask leave: s (s + 1) / 2 for a
// fresh prompt, s W - W (W - 1) / 2 under a window W < s, summed over sequences. P, B: data-sheet
// flops and memory bandwidth; p: smoothness. prepare: bytes per new cached value that a measured
// call moves to write the cache, or to expand MLA's latents (Operator::prepares). Source: Dao,
// "FlashAttention-2", arXiv 2307.08691, section 3 (work per pair, tiles); the terms beside it are
// ours, chosen on held-out head counts (models/accuracy_dense.md). Valid: prompts of 1 to 32768
// tokens. Ignores: uneven prompts beyond their sums, splits of keys for few queries over long
// caches, the order in which uneven tiles finish, rescaling of fp8 caches.
#include "models/costs/cost_form.h"
#include "models/costs/smooth_maximum.h"

namespace sim {
namespace {

constexpr double kTileQueries = 128;

constexpr std::array kParameters = {
    FormParameter{"start", ParameterKind::kDuration, 1e-5, 1e-6, 1e-3, 0},
    FormParameter{"compute_share", ParameterKind::kShare, 0.6, 0.005, 1.0, 0.6},
    FormParameter{"memory_share", ParameterKind::kShare, 0.8, 0.02, 1.0, 0.8},
    FormParameter{"smoothness", ParameterKind::kNumber, 2.5, 1.0, 8.0, 8.0},
    FormParameter{"wave", ParameterKind::kShare, 0.3, 0.001, 1.0, 0},
    FormParameter{"tile", ParameterKind::kNumber, 128, 1, 512, 0},
    FormParameter{"per_tile", ParameterKind::kDuration, 2e-8, 1e-10, 1e-6, 0},
    FormParameter{"per_1024_keys", ParameterKind::kDuration, 1e-6, 1e-10, 1e-4, 0},
    FormParameter{"prepare", ParameterKind::kNumber, 8, 0.01, 1000, 0},
};
enum { kStart, kCompute, kMemory, kSmooth, kWave, kTile, kPerTile, kPerKey, kPrepare };

constexpr std::array<std::string_view, 5> kExtents = {"queries", "context", "heads_per_kv",
                                                      "kv_heads", "head_dim"};

KernelParts prefill_time(const KernelCall& call, const DeviceRates& rates,
                         std::span<const double> values) {
  const AttentionShape& shape = call.op->attention;
  const double heads = static_cast<double>(shape.heads);
  const double width = static_cast<double>(shape.head_dim + shape.value_dim);
  const double kv = static_cast<double>(shape.kv_heads);
  const double rows = shape.queries / shape.sequences * heads / kv;  // of one cached head
  const double tiles = shape.sequences * kv * std::ceil(rows / kTileQueries);
  const double padded = tiles * kTileQueries / (shape.queries * heads);
  const double per_sm = tiles / rates.sms;
  const double waves = 1 + values[kWave] * (std::ceil(per_sm) / per_sm - 1);
  const double edges = shape.windowed ? 1 : 0.5;
  const double pairs = padded * (shape.pairs + shape.queries * values[kTile] * edges);
  KernelParts parts;
  parts.compute = 2 * pairs * heads * width * waves / (rates.flops * values[kCompute]);
  parts.memory = static_cast<double>((call.op->weight_bytes + call.op->activation_bytes).count()) /
                 (rates.bytes * values[kMemory]);
  parts.fixed = values[kStart] + values[kPerTile] * tiles + values[kPerKey] * shape.longest / 1024;
  parts.time = parts.fixed + smooth_maximum(parts.compute, parts.memory, values[kSmooth]);
  if (call.op->prepares) parts.time += values[kPrepare] * shape.queries * kv * width / rates.bytes;
  return parts;
}

void prefill_extents(const KernelCall& call, std::span<double> out) {
  const AttentionShape& shape = call.op->attention;
  out[0] = shape.queries;
  out[1] = shape.longest;
  out[2] = static_cast<double>(shape.heads) / static_cast<double>(shape.kv_heads);
  out[3] = static_cast<double>(shape.kv_heads);
  out[4] = static_cast<double>(shape.head_dim);
}

}  // namespace

const CostForm kAttentionPrefillForm = {"attention-prefill",
                                        KernelFamily::kAttentionPrefill,
                                        "pairs, waves of query tiles over SMs, bytes",
                                        kParameters,
                                        prefill_time,
                                        kExtents,
                                        prefill_extents,
                                        nullptr};

const CostForm kMlaPrefillForm = {
    "mla-prefill",
    KernelFamily::kMlaPrefill,
    "pairs of the expanded heads, waves of query tiles over SMs, bytes",
    kParameters,
    prefill_time,
    kExtents,
    prefill_extents,
    nullptr};

}  // namespace sim
