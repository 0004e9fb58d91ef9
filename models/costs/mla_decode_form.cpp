// Decode attention over MLA's latent cache, absorbed: all heads read the same latent vectors
// (FlashMLA).
//
//   M = cached d w / (B memory_share)                                the latent cache, read once
//   C = 2 pairs max(h, head_tile) (d + v) / (P compute_share)
//   t = start + per_sequence sequences + per_1024_keys min(longest, keys_most) / 1024 + (C^p +
//   M^p)^(1/p), and prepare x (bytes of the queries and results) / B where a measured call also
//   prepares its input
//
// h: heads; d: latent and rope (DeepSeek-V3: 576), v: latent (512); w: bytes per cached value; P,
// B: data-sheet flops and memory bandwidth. Heads are the rows of the MMA: head_tile of them at
// least. Source: DeepSeek-V2, arXiv 2405.04434, section 2.1 (what is cached and absorbed); FlashMLA
// (github.com/deepseek-ai/FlashMLA) for one tile of 64 heads. The terms beside the roofline are
// ours (models/accuracy_dense.md). Valid: 1 to 1024 sequences of 1 to 131072 keys. Ignores: uneven
// contexts beyond their sum and the longest, pages of the cache, widening of an fp8 cache.
#include "models/costs/cost_form.h"
#include "models/costs/smooth_maximum.h"

namespace sim {
namespace {

constexpr std::array kParameters = {
    FormParameter{"start", ParameterKind::kDuration, 2e-5, 1e-6, 1e-3, 0},
    FormParameter{"compute_share", ParameterKind::kShare, 0.6, 0.01, 1.0, 0.6},
    FormParameter{"memory_share", ParameterKind::kShare, 0.7, 0.02, 1.0, 0.7},
    FormParameter{"smoothness", ParameterKind::kNumber, 2.5, 1.0, 8.0, 8.0},
    FormParameter{"head_tile", ParameterKind::kNumber, 64, 1, 128, 64},
    FormParameter{"per_sequence", ParameterKind::kDuration, 2e-8, 1e-12, 1e-5, 0},
    FormParameter{"per_1024_keys", ParameterKind::kDuration, 1e-6, 1e-10, 1e-4, 0},
    FormParameter{"prepare", ParameterKind::kNumber, 2, 0.01, 1000, 0},
    FormParameter{"keys_most", ParameterKind::kNumber, 4096, 64, 1e6, 1e6},
};
enum { kStart, kCompute, kMemory, kSmooth, kHeadTile, kPerSequence, kPerKey, kPrepare, kKeysMost };

constexpr std::array<std::string_view, 4> kExtents = {"sequences", "context", "heads", "head_dim"};

KernelParts mla_time(const KernelCall& call, const DeviceRates& rates,
                     std::span<const double> values) {
  const AttentionShape& shape = call.op->attention;
  const double heads = std::max(static_cast<double>(shape.heads), values[kHeadTile]);
  KernelParts parts;
  parts.compute = 2 * shape.pairs * heads * static_cast<double>(shape.head_dim + shape.value_dim) /
                  (rates.flops * values[kCompute]);
  parts.memory = shape.cached * static_cast<double>(shape.head_dim) * shape.kv_value_bytes /
                 (rates.bytes * values[kMemory]);
  parts.fixed = values[kStart] + values[kPerSequence] * shape.sequences +
                values[kPerKey] * std::min(shape.longest, values[kKeysMost]) / 1024;
  parts.time = parts.fixed + smooth_maximum(parts.compute, parts.memory, values[kSmooth]);
  if (call.op->prepares) {
    parts.time += values[kPrepare] * shape.queries * static_cast<double>(shape.heads) *
                  static_cast<double>(shape.head_dim + shape.value_dim) / rates.bytes;
  }
  return parts;
}

void mla_extents(const KernelCall& call, std::span<double> out) {
  const AttentionShape& shape = call.op->attention;
  out[0] = shape.sequences;
  out[1] = shape.longest;
  out[2] = static_cast<double>(shape.heads);
  out[3] = static_cast<double>(shape.head_dim);
}

}  // namespace

const CostForm kMlaDecodeForm = {"mla-decode",
                                 KernelFamily::kMlaDecode,
                                 "the latent cache's bytes, the heads' flops, the loop over keys",
                                 kParameters,
                                 mla_time,
                                 kExtents,
                                 mla_extents,
                                 nullptr};

}  // namespace sim
