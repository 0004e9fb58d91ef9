// The fused FFN of a rank's experts: two grouped GEMMs, the activation between, and what one call
// of the kernel library does around them.
//
//   T   = tile rows, by the kernel's rule (grouped_gemm.h), from tokens top_k / experts;
//   n_T = sum over experts of ceil(r_e / T),  A = experts with r_e > 0,  R = sum of r_e
//   of one GEMM with n columns and k inner values:
//     C = 2 n_T (T + tile_rows) n k / (P compute_share) W     padded tiles, each with a cost beyond
//                                                             its rows
//     W = 1 + wave (ceil(X) / X - 1),  X = n_T ceil(n / 128) / SMs       waves, the last one ragged
//     M = (A n k w + R (k a + 2 n)) / (B memory_share)        every active expert's weights once
//     g = (C^p + M^p)^(1/p) + per_1024_k k / 1024             p: smoothness; the loop over k
//   t = start + g(up: n = 2 inter, k = hidden) + g(down: n = hidden, k = inter)
//       + activation (4 tokens hidden + R (hidden (2a + 4) + inter (8 + 2a))) / B
//       + remote max(tokens top_k - R, 0) (hidden + inter) 2 / B
// P: data-sheet flops of the multiplied format on the SMs that the kernel gets; B: data-sheet
// memory bandwidth; w: bytes per weight with scales; a: bytes per input value (1 and scales in
// 8-bit formats, else 2). Not gated: up has n = inter. `activation`: times that the bytes of
// quantise, permute, SwiGLU and weighted sum cross memory; `remote`: of kernels that walk the
// choices of other ranks (an expert map). inter that 16 does not divide costs both terms
// `misaligned` times.
//
// The input gradient is two products of the same form, (n = inter, k = hidden) then (n = hidden,
// k = 2 inter); of the weight gradient each tile of an expert's n x k matrix loops over its rows,
// at the rate of the largest tile, T* = tile_most:
//     C = 2 R (1 + tile_rows / T*) n k / (P compute_share) W
//     X = A ceil(n / 128) ceil(k / 128) / SMs
//     M = (2 A n k g + R (n + k) a) / (B memory_share)    g: bytes per gradient, read and written
// What lies between (expert_work.h) moves at B memory_share. The constants are the forward's: no
// table of backward kernels is public.
//
// Source: F4 and F8 of the study of public tables beside this project (kernel_forms.md:
// aiconfigurator's measured MoE tables of A100, H100, B200). Chosen on held-out shapes and skews;
// errors, by device and kernel, stand in models/accuracy.md. Valid: 1 to 10^5 rows, hidden 1024 to
// 8192, inter 64 to 16384 (misaligned ones are rough). Ignores: which of a library's tuned tiles is
// picked, weights that stay in the L2 between calls, power limits, how an unlucky order of experts
// fills the last wave.
#include <algorithm>
#include <bit>
#include <cmath>

#include "models/costs/grouped_gemm.h"
#include "models/costs/smooth_maximum.h"
#include "models/expert_work.h"

namespace sim {
namespace {

constexpr double kTileColumns = 128;

constexpr std::array kParameters = {
    FormParameter{"start", ParameterKind::kDuration, 3e-5, 1e-6, 1e-3, 0},
    FormParameter{"compute_share", ParameterKind::kShare, 0.7, 0.02, 1.0, 0.7},
    FormParameter{"memory_share", ParameterKind::kShare, 0.85, 0.02, 1.0, 0.85},
    FormParameter{"tile_rows", ParameterKind::kNumber, 30, 0.1, 128, 0},
    FormParameter{"smoothness", ParameterKind::kNumber, 2.5, 1.0, 8.0, 8.0},
    FormParameter{"activation", ParameterKind::kNumber, 1, 0.01, 10, 0},
    FormParameter{"remote", ParameterKind::kNumber, 1, 0.01, 10, 0},
    FormParameter{"wave", ParameterKind::kShare, 0.2, 0.001, 1.0, 0},
    FormParameter{"per_1024_k", ParameterKind::kDuration, 5e-7, 1e-9, 2e-5, 0},
    FormParameter{"misaligned", ParameterKind::kNumber, 1.3, 1.0, 6.0, 1},
    FormParameter{"tile_rule", ParameterKind::kNumber, 0, 0, 2, 0},
    FormParameter{"tile_shift", ParameterKind::kNumber, 0, 0, 3, 0},
    FormParameter{"tile_least", ParameterKind::kNumber, 16, 8, 256, 16},
    FormParameter{"tile_most", ParameterKind::kNumber, 64, 8, 256, 64},
};
enum {
  kStart,
  kCompute,
  kMemory,
  kTileRows,
  kSmooth,
  kActivation,
  kRemote,
  kWave,
  kPerK,
  kMisaligned,
  kRule,
  kShift,
  kTileLeast,
  kTileMost
};

// Local experts and the rows of the fullest one, beside the sizes of the matrices.
constexpr std::array<std::string_view, 5> kExtents = {"hidden", "inter", "experts", "rows",
                                                      "most_rows"};

int log2_of(double value) {
  return static_cast<int>(std::bit_width(static_cast<std::uint64_t>(std::max(value, 1.0)))) - 1;
}

struct Gemm {
  double compute = 0;
  double memory = 0;
  double time = 0;
};

// One call: its products, and the passes made of them.
class Call {
 public:
  Call(const ExpertFfn& ffn, const GroupedRows& rows, const DeviceRates& rates,
       std::span<const double> values)
      : ffn_(ffn),
        rows_(rows),
        rates_(rates),
        values_(values),
        hidden_(static_cast<double>(ffn.hidden)),
        inter_(static_cast<double>(ffn.inter)),
        columns_((ffn.gated ? 2.0 : 1.0) * inter_ + static_cast<double>(ffn.extra_up) * inter_),
        input_(gemm_input_bytes(ffn.compute, ffn.activations)),
        slower_(ffn.inter % 16 == 0 ? 1 : values[kMisaligned]) {}

  KernelParts forward() const {
    const auto tokens = static_cast<double>(ffn_.tokens);
    const Gemm up = by_rows(columns_, hidden_);
    const Gemm down = by_rows(hidden_, inter_);
    const double around =
        (values_[kActivation] * (4 * tokens * hidden_ + rows_.rows * (hidden_ * (2 * input_ + 4) +
                                                                      inter_ * (8 + 2 * input_))) +
         values_[kRemote] * std::max(tokens * static_cast<double>(ffn_.top_k) - rows_.rows, 0.0) *
             (hidden_ + inter_) * 2) /
        rates_.bytes;
    KernelParts parts;
    parts.fixed = values_[kStart] + values_[kPerK] * (hidden_ + inter_) / 1024;
    parts.compute = up.compute + down.compute;
    parts.memory = up.memory + down.memory + around;
    parts.time = values_[kStart] + up.time + down.time + around;
    return parts;
  }

  KernelParts backward() const {
    const bool of_rows = ffn_.pass == KernelPass::kInputGradient;
    const Gemm down = of_rows ? by_rows(inter_, hidden_) : by_weights(hidden_, inter_);
    const Gemm up = of_rows ? by_rows(hidden_, columns_) : by_weights(columns_, hidden_);
    const double between = expert_work(ffn_).between_bytes / (rates_.bytes * values_[kMemory]);
    KernelParts parts;
    parts.fixed = values_[kStart];
    parts.compute = down.compute + up.compute;
    parts.memory = down.memory + up.memory + between;
    parts.time = values_[kStart] + down.time + up.time + between;
    return parts;
  }

 private:
  double waves(double tiles) const {
    const double per_sm = tiles / rates_.sms;
    return 1 + values_[kWave] * (std::ceil(per_sm) / per_sm - 1);
  }

  // Rows x k times each expert's k x n.
  Gemm by_rows(double n, double k) const {
    const double weight = bytes_per_value(ffn_.stored);
    Gemm g;
    g.compute = 2 * rows_.tiles * (rows_.tile + values_[kTileRows]) * n * k *
                waves(rows_.tiles * std::ceil(n / kTileColumns)) * slower_ /
                (rates_.flops * values_[kCompute]);
    g.memory = (rows_.active * n * k * weight + rows_.rows * (k * input_ + 2 * n)) * slower_ /
               (rates_.bytes * values_[kMemory]);
    g.time = smooth_maximum(g.compute, g.memory, values_[kSmooth]) + values_[kPerK] * k / 1024;
    return g;
  }

  // Each expert's n x k gradient, over its rows.
  Gemm by_weights(double n, double k) const {
    const double gradient = 2 * bytes_per_value(ffn_.gradients);
    const double tiles = rows_.active * std::ceil(n / kTileColumns) * std::ceil(k / kTileColumns);
    Gemm g;
    g.compute = 2 * rows_.rows * (1 + values_[kTileRows] / values_[kTileMost]) * n * k *
                waves(tiles) * slower_ / (rates_.flops * values_[kCompute]);
    g.memory = (rows_.active * n * k * gradient + rows_.rows * (n + k) * input_) * slower_ /
               (rates_.bytes * values_[kMemory]);
    g.time = smooth_maximum(g.compute, g.memory, values_[kSmooth]) +
             values_[kPerK] * rows_.rows / rows_.active / 1024;
    return g;
  }

  const ExpertFfn& ffn_;
  const GroupedRows& rows_;
  const DeviceRates& rates_;
  std::span<const double> values_;
  double hidden_;
  double inter_;
  double columns_;
  double input_;
  double slower_;
};

KernelParts grouped_time(const KernelCall& call, const DeviceRates& rates,
                         std::span<const double> values) {
  const ExpertFfn& ffn = *call.experts;
  const GroupedRows rows = count_rows(ffn.rows, log2_tile(tile_rule_of(values), ffn));
  return grouped_gemm_time(ffn, rows, rates, values);
}

void grouped_extents(const KernelCall& call, std::span<double> out) {
  const ExpertFfn& ffn = *call.experts;
  std::int64_t rows = 0;
  std::int64_t most = 0;
  for (const std::int64_t each : ffn.rows) {
    rows += each;
    most = std::max(most, each);
  }
  out[0] = static_cast<double>(ffn.hidden);
  out[1] = static_cast<double>(ffn.inter);
  out[2] = static_cast<double>(ffn.rows.size());
  out[3] = static_cast<double>(rows);
  out[4] = static_cast<double>(most);
}

// Of the shape that a kernel's tables have, over the rows that the rank was handed.
CorrectionPoint grouped_point(const KernelCall& call) {
  const ExpertFfn& ffn = *call.experts;
  CorrectionPoint point;
  point.shape = {
      ffn.hidden, ffn.inter, ffn.top_k, ffn.experts, static_cast<std::int64_t>(ffn.rows.size()), 0};
  point.size = static_cast<double>(ffn.tokens);
  return point;
}

}  // namespace

TileRule tile_rule_of(std::span<const double> values) {
  return {static_cast<TileRule::Kind>(static_cast<int>(values[kRule])),
          static_cast<int>(values[kShift]), log2_of(values[kTileLeast]),
          log2_of(values[kTileMost])};
}

void set_tile_rule(const TileRule& rule, std::span<double> values) {
  values[kRule] = rule.kind;
  values[kShift] = rule.shift;
  values[kTileLeast] = std::exp2(rule.log2_least);
  values[kTileMost] = std::exp2(rule.log2_most);
}

int log2_tile(const TileRule& rule, const ExpertFfn& ffn) {
  const auto tokens = static_cast<double>(std::max<std::int64_t>(ffn.tokens, 1));
  const auto experts = static_cast<double>(std::max<std::int64_t>(ffn.experts, 1));
  if (rule.kind == TileRule::kTwoSizes) {
    return tokens <= experts ? rule.log2_least : rule.log2_most;
  }
  const double rows = rule.kind == TileRule::kSixteenth
                          ? tokens / 16
                          : tokens * static_cast<double>(ffn.top_k) / experts;
  const int power = static_cast<int>(std::lround(std::log2(rows))) + rule.shift;
  return std::clamp(power, rule.log2_least, std::max(rule.log2_least, rule.log2_most));
}

GroupedRows count_rows(std::span<const std::int64_t> rows, int log2_tile) {
  const std::int64_t fill = (std::int64_t{1} << log2_tile) - 1;
  std::int64_t active = 0;
  std::int64_t tiles = 0;
  std::int64_t sum = 0;
  for (const std::int64_t each : rows) {
    active += each > 0 ? 1 : 0;
    tiles += (each + fill) >> log2_tile;
    sum += each;
  }
  return {static_cast<double>(active), static_cast<double>(tiles), static_cast<double>(sum),
          static_cast<double>(fill + 1)};
}

KernelParts grouped_gemm_time(const ExpertFfn& ffn, const GroupedRows& rows,
                              const DeviceRates& rates, std::span<const double> values) {
  if (rows.rows <= 0) return {};  // nothing is launched
  const Call call(ffn, rows, rates, values);
  return ffn.pass == KernelPass::kForward ? call.forward() : call.backward();
}

const CostForm kGroupedGemmForm = {"grouped-gemm",
                                   KernelFamily::kExpertFfn,
                                   "tiles of the rows per expert, waves, bytes of touched experts",
                                   kParameters,
                                   grouped_time,
                                   kExtents,
                                   grouped_extents,
                                   grouped_point};

}  // namespace sim
