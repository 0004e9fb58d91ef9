// Attention of one new token per sequence over a cache of grouped heads (FlashAttention,
// FlashInfer decode kernels).
//
//   c = cached + window_keys sequences, where a window hides keys      keys that tiles hold
//   M = c kv (d + v) w / (B memory_share)                              the cache, read once
//   C = 2 c' kv (d + v) max(h / kv, group_tile) / (P compute_share)    c': pairs, widened like c
//   t = start + per_head sequences kv + per_1024_keys min(longest, keys_most) / 1024
//       + window_start, where a window hides keys + (C^p + M^p)^(1/p)
//       + prepare queries kv (d + v) / B                               of calls that prepare
//
// h, kv: heads of queries and of the cache; d, v: their sizes; w: bytes per value of the cache; P,
// B: data-sheet flops and memory bandwidth; p: smoothness. The queries of one cached head are the
// rows of its MMA, which has group_tile of them at least. per_head: what each (sequence, cached
// head) costs; per_1024_keys: the loop over keys of one sequence, until splits over SMs bound it at
// keys_most; window_keys: a window starts amid a tile. prepare: bytes per new cached value that a
// measured call moves to write the cache (Operator::prepares).
// Source: roofline of the cache's bytes; the other terms are ours, chosen on held-out head counts
// (models/accuracy_dense.md). pairs and cached are sums over sequences of what windows left.
// Valid: 1 to 2048 sequences of 1 to 131072 keys. Ignores: uneven contexts beyond their sum and the
// longest (a split that waits for the longest sequence), pages of the cache, a cache that fits the
// L2, a single sequence whose splits do not fill the device.
#include "models/costs/cost_form.h"
#include "models/costs/smooth_maximum.h"

namespace sim {
namespace {

constexpr std::array kParameters = {
    FormParameter{"start", ParameterKind::kDuration, 1e-5, 1e-6, 1e-3, 0},
    FormParameter{"compute_share", ParameterKind::kShare, 0.5, 0.005, 1.0, 0.5},
    FormParameter{"memory_share", ParameterKind::kShare, 0.9, 0.02, 1.0, 0.9},
    FormParameter{"smoothness", ParameterKind::kNumber, 2.5, 1.0, 8.0, 8.0},
    FormParameter{"group_tile", ParameterKind::kNumber, 16, 1, 128, 1},
    FormParameter{"per_head", ParameterKind::kDuration, 2e-8, 1e-12, 1e-6, 0},
    FormParameter{"per_1024_keys", ParameterKind::kDuration, 1e-6, 1e-10, 1e-4, 0},
    FormParameter{"window_start", ParameterKind::kDuration, 2e-6, 1e-8, 1e-4, 0},
    FormParameter{"window_keys", ParameterKind::kNumber, 100, 1, 1024, 0},
    FormParameter{"prepare", ParameterKind::kNumber, 8, 0.01, 1000, 0},
    FormParameter{"keys_most", ParameterKind::kNumber, 4096, 64, 1e6, 1e6},
};
enum {
  kStart,
  kCompute,
  kMemory,
  kSmooth,
  kGroup,
  kPerHead,
  kPerKey,
  kWindowStart,
  kWindowKeys,
  kPrepare,
  kKeysMost
};

constexpr std::array<std::string_view, 5> kExtents = {"sequences", "context", "heads_per_kv",
                                                      "kv_heads", "head_dim"};

KernelParts decode_time(const KernelCall& call, const DeviceRates& rates,
                        std::span<const double> values) {
  const AttentionShape& shape = call.op->attention;
  const double kv = static_cast<double>(shape.kv_heads);
  const double width = static_cast<double>(shape.head_dim + shape.value_dim);
  const double rows = std::max(static_cast<double>(shape.heads) / kv, values[kGroup]);
  const double masked = shape.windowed ? shape.sequences * values[kWindowKeys] : 0;
  KernelParts parts;
  parts.compute = 2 * (shape.pairs + masked) * kv * width * rows / (rates.flops * values[kCompute]);
  parts.memory =
      (shape.cached + masked) * kv * width * shape.kv_value_bytes / (rates.bytes * values[kMemory]);
  parts.fixed = values[kStart] + values[kPerHead] * shape.sequences * kv +
                values[kPerKey] * std::min(shape.longest, values[kKeysMost]) / 1024 +
                (shape.windowed ? values[kWindowStart] : 0);
  parts.time = parts.fixed + smooth_maximum(parts.compute, parts.memory, values[kSmooth]);
  if (call.op->prepares) parts.time += values[kPrepare] * shape.queries * kv * width / rates.bytes;
  return parts;
}

void decode_extents(const KernelCall& call, std::span<double> out) {
  const AttentionShape& shape = call.op->attention;
  out[0] = shape.sequences;
  out[1] = shape.longest;
  out[2] = static_cast<double>(shape.heads) / static_cast<double>(shape.kv_heads);
  out[3] = static_cast<double>(shape.kv_heads);
  out[4] = static_cast<double>(shape.head_dim);
}

}  // namespace

const CostForm kAttentionDecodeForm = {
    "attention-decode",
    KernelFamily::kAttentionDecode,
    "the cache's bytes, work per sequence and head, the loop over keys",
    kParameters,
    decode_time,
    kExtents,
    decode_extents,
    nullptr};

}  // namespace sim
