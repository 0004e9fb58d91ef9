// Dense GEMM: m rows times a k x n matrix (projections, router, shared experts, LM head).
//
//   T  = tile rows: 2^ceil(log2 m) between tile_least and tile_most;  n_T = ceil(m / T)
//   X  = n_T ceil(n / 128) / SMs                          tiles per SM; waves = ceil(X)
//   W  = 1 + wave (ceil(X) / X - 1) where X > 1, else X^-few_tiles
//   C  = 2 n_T T n k W / (P compute_share)
//   M  = (weights + activations) / (B memory_share)
//   t  = start + per_1024_k min(k, k_most) / 1024 + (C^p + M^p)^(1/p)
//        + m (row_quantise + value_quantise k / B)        of calls that prepare their input
//
// P: data-sheet flops of the multiplied format on the SMs that the kernel gets; B: data-sheet
// memory bandwidth; weights and activations: bytes as models/operators.h counts them; p:
// smoothness. per_1024_k is the latency of the loop over k, which splits of k bound at k_most.
// few_tiles: how far fewer tiles than SMs leave SMs idle. The last line is the quantisation kernel
// that a measured call runs by itself (Operator::prepares); a step lists it as an operator of its
// own. Source: tile and wave quantisation: NVIDIA, "Matrix Multiplication Background User's Guide"
// (DU-09799); the other terms are ours, chosen on held-out shapes (models/accuracy_dense.md).
// Valid: m from 1 to 32768, n and k from 32 to 65536. Ignores: which of a library's hundreds of
// kernels is picked (steps of a few per cent to a third), weights and rows that stay in the L2
// between calls, power limits of long runs, fewer SMs pulling less bandwidth.
#include "models/costs/cost_form.h"
#include "models/costs/smooth_maximum.h"

namespace sim {
namespace {

constexpr double kTileColumns = 128;

constexpr std::array kParameters = {
    FormParameter{"start", ParameterKind::kDuration, 4e-6, 1e-7, 1e-3, 0},
    FormParameter{"compute_share", ParameterKind::kShare, 0.7, 0.02, 1.0, 0.7},
    FormParameter{"memory_share", ParameterKind::kShare, 0.85, 0.02, 1.0, 0.85},
    FormParameter{"smoothness", ParameterKind::kNumber, 2.5, 1.0, 8.0, 8.0},
    FormParameter{"wave", ParameterKind::kShare, 0.3, 0.001, 1.0, 0},
    FormParameter{"per_1024_k", ParameterKind::kDuration, 5e-7, 1e-9, 1e-5, 0},
    FormParameter{"k_most", ParameterKind::kNumber, 4096, 128, 1e6, 1e6},
    FormParameter{"few_tiles", ParameterKind::kShare, 0.5, 0.001, 1.0, 0},
    FormParameter{"row_quantise", ParameterKind::kDuration, 1e-9, 1e-12, 1e-7, 0},
    FormParameter{"value_quantise", ParameterKind::kNumber, 3, 0.01, 100, 0},  // bytes per value
    FormParameter{"tile_least", ParameterKind::kNumber, 16, 1, 1024, 16},
    FormParameter{"tile_most", ParameterKind::kNumber, 128, 1, 1024, 128},
};
enum {
  kStart,
  kCompute,
  kMemory,
  kSmooth,
  kWave,
  kPerK,
  kKMost,
  kFew,
  kRowQ,
  kValueQ,
  kTileLeast,
  kTileMost
};

constexpr std::array<std::string_view, 3> kExtents = {"m", "n", "k"};

double tile_rows(double m, double least, double most) {
  double tile = least;
  while (tile < m && tile < most) tile *= 2;
  return tile;
}

KernelParts gemm_time(const KernelCall& call, const DeviceRates& rates,
                      std::span<const double> values) {
  const Operator& op = *call.op;
  const double m = static_cast<double>(op.m);
  const double n = static_cast<double>(op.n);
  const double k = static_cast<double>(op.k);
  const double tile = tile_rows(m, values[kTileLeast], values[kTileMost]);
  const double row_tiles = std::ceil(m / tile);
  const double per_sm = row_tiles * std::ceil(n / kTileColumns) / rates.sms;
  const double waves = per_sm > 1 ? 1 + values[kWave] * (std::ceil(per_sm) / per_sm - 1)
                                  : std::pow(per_sm, -values[kFew]);
  KernelParts parts;
  parts.compute = 2 * row_tiles * tile * n * k * waves / (rates.flops * values[kCompute]);
  parts.memory = static_cast<double>((op.weight_bytes + op.activation_bytes).count()) /
                 (rates.bytes * values[kMemory]);
  parts.fixed = values[kStart] + values[kPerK] * std::min(k, values[kKMost]) / 1024;
  parts.time = parts.fixed + smooth_maximum(parts.compute, parts.memory, values[kSmooth]) +
               (op.prepares ? m * (values[kRowQ] + values[kValueQ] * k / rates.bytes) : 0);
  return parts;
}

void gemm_extents(const KernelCall& call, std::span<double> out) {
  out[0] = static_cast<double>(call.op->m);
  out[1] = static_cast<double>(call.op->n);
  out[2] = static_cast<double>(call.op->k);
}

}  // namespace

const CostForm kGemmForm = {"dense-gemm",
                            KernelFamily::kGemm,
                            "padded tiles, waves over SMs, bytes, the loop over k",
                            kParameters,
                            gemm_time,
                            kExtents,
                            gemm_extents,
                            nullptr};

}  // namespace sim
