#include "models/microbench/cuda/cases/own_cases.h"

#include <algorithm>
#include <limits>

#include "models/microbench/cuda/cases/attention_steps.h"
#include "models/microbench/cuda/cases/layer_steps.h"
#include "models/microbench/cuda/cases/routing_steps.h"
#include "models/microbench/cuda/cases/row_steps.h"
#include "models/microbench/cuda/kernels/grouped_gemm.h"

namespace sim::device_code {
namespace {

constexpr std::int64_t kMostExperts = 512;  // of the gate: 16 logits per lane
constexpr std::int64_t kMostTopK = 32;
constexpr std::int64_t kMostProductExperts = 1024;
constexpr std::int64_t kMostNormHidden = 11'000;  // its sums lie in 48 KB of shared memory

bool is_one_of(const std::string& word, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(), [&](const char* one) { return word == one; });
}

bool is_attention(const KernelCase& what) {
  return is_one_of(what.kernel,
                   {"attention_prefill", "attention_decode", "mla_prefill", "mla_decode"});
}

bool has_products(const KernelCase& what) {
  return is_one_of(what.kernel,
                   {"gemm", "ceiling_matrix", "grouped_gemm", "expert_ffn", "moe_layer"});
}

std::string products_unsupported(const KernelCase& what) {
  if (what.kernel == "moe_layer" && what.implementation == "vendor")
    return "the whole layer is made of our own kernels";
  if (!is_one_of(what.dtype, {"bf16", "fp8"})) return "matrix products here are bf16 and fp8";
  if (what.dtype == "fp8" && (what.pass != "forward" || what.kernel == "moe_layer"))
    return "fp8 has the forward pass of GEMM and expert_ffn only";
  const std::int64_t multiple = what.dtype == "fp8" ? 16 : 8;
  for (const char* size : {"n", "k", "hidden", "inter"})
    if (what.size_or(size, multiple) % multiple != 0)
      return "rows of a matrix that are no multiple of 16 bytes";
  if (static_cast<std::int64_t>(what.rows.size()) > kMostProductExperts)
    return "more than 1024 experts";
  return "";
}

std::string rows_unsupported(const KernelCase& what) {
  if (what.dtype != "bf16") return "this kernel's values are bf16 here";
  if (what.implementation == "vendor")
    return "the vendor's library is used for matrix products only";
  for (const char* size : {"hidden", "inter"})
    if (what.size_or(size, 8) % 8 != 0) return "rows that are no multiple of 16 bytes";
  return "";
}

RoutedShape routed_shape(const KernelCase& what) {
  return {what.size("tokens"), what.size_or("hidden", 0), what.size("top_k"), what.size("experts")};
}

void add_gemm(PreparedCase& prepared, const KernelCase& what) {
  const GemmPass pass = what.pass == "dgrad"   ? GemmPass::kDgrad
                        : what.pass == "wgrad" ? GemmPass::kWgrad
                                               : GemmPass::kForward;
  const bool grouped = what.kernel == "grouped_gemm";
  const bool padded = grouped && what.option("layout") == "padded";
  const RowOffsets offsets =
      row_offsets(prepared, grouped ? what.rows : std::vector<std::int64_t>{what.size("m")},
                  padded ? what.size_or("tile", kUsualTile) : 1);
  const std::int64_t n = what.size("n");
  const std::int64_t k = what.size("k");
  const bool fp8 = what.dtype == "fp8";
  const Matrix a = random_rows(prepared, fp8, offsets.total(), pass == GemmPass::kForward ? k : n);
  const Matrix b = pass == GemmPass::kWgrad
                       ? random_rows(prepared, fp8, offsets.total(), k)
                       : random_weights(prepared, fp8, offsets.experts(), n, k);
  add_product(prepared, "out", pass, offsets, n, k, a, b);
}

void add_routing(PreparedCase& prepared, const KernelCase& what) {
  const RoutedShape shape = routed_shape(what);
  const bool backward = what.pass == "backward";
  if (what.kernel == "top_k") {
    const reference::Gate gate = reference::gate_of(what.option("gate"));
    if (backward) return add_top_k_backward(prepared, shape, gate);
    add_top_k(prepared, shape, gate, prepared.random<Bf16>(shape.tokens * shape.experts, 4));
    return;
  }
  const std::vector<std::int32_t> choices = choices_of(what, shape);
  if (what.kernel == "unpermute") {
    const Ordered order = known_order(prepared, shape, choices);
    if (backward) return add_unpermute_backward(prepared, shape, order);
    add_unpermute(prepared, shape, order, prepared.random<Bf16>(shape.choices() * shape.hidden, 1),
                  &prepared.random<float>(shape.choices(), 0.5, 0.5));
    return;
  }
  if (backward) {
    add_unpermute(prepared, shape, known_order(prepared, shape, choices),
                  prepared.random<Bf16>(shape.choices() * shape.hidden, 1), nullptr);
    return;
  }
  const Array<Bf16>& x = prepared.random<Bf16>(shape.tokens * shape.hidden, 1);
  const Ordered order = add_expert_order(prepared, shape, prepared.uploaded(choices), choices);
  if (what.option("quantise") == "fp8")
    add_permute_quantised(prepared, shape, order, x);
  else
    add_permute(prepared, shape, order, x);
}

void add_rows(PreparedCase& prepared, const KernelCase& what) {
  const std::int64_t rows = what.size("rows");
  const bool backward = what.pass == "backward";
  if (what.kernel == "activation") {
    const std::int64_t inter = what.size("inter");
    const Array<Bf16>& in = prepared.random<Bf16>(rows * 2 * inter, 4);
    if (backward)
      add_swiglu_backward(prepared, rows, inter, in, prepared.random<Bf16>(rows * inter, 1));
    else
      add_swiglu(prepared, rows, inter, in);
    return;
  }
  const std::int64_t hidden = what.size("hidden");
  if (backward) return add_norm_backward(prepared, rows, hidden);
  const Array<Bf16>& in = prepared.random<Bf16>(rows * hidden, 1);
  if (what.kernel == "norm")
    add_norm(prepared, rows, hidden, in);
  else
    add_quantise(prepared, rows, hidden, in);
}

void add_experts(PreparedCase& prepared, const KernelCase& what) {
  const RowOffsets offsets = row_offsets(prepared, what.rows, 1);
  const std::int64_t hidden = what.size("hidden");
  const std::int64_t inter = what.size("inter");
  if (what.pass == "backward") return add_expert_ffn_backward(prepared, offsets, hidden, inter);
  add_expert_ffn(prepared, offsets, hidden, inter,
                 random_rows(prepared, what.dtype == "fp8", offsets.total(), hidden));
}

}  // namespace

std::string case_unsupported(const KernelCase& what) {
  for (const auto& [name, size] : what.sizes)
    if (name != "bytes" && size > std::numeric_limits<std::int32_t>::max() / 4)
      return "sizes beyond 29 bits";
  if (is_attention(what)) return attention_unsupported(what);
  if (has_products(what)) {
    if (const std::string reason = products_unsupported(what); !reason.empty()) return reason;
    if (what.kernel != "moe_layer") return "";
  } else if (!is_one_of(what.kernel, {"ceiling_memory", "top_k", "permute", "unpermute",
                                      "activation", "norm", "quantise"})) {
    return "no CUDA kernel";
  } else if (const std::string reason = rows_unsupported(what); !reason.empty()) {
    return reason;
  }
  if (what.kernel == "ceiling_memory" && what.size("bytes") < 48)
    return "less than 16 bytes per array";
  if (what.kernel == "norm" && what.pass == "backward" && what.size("hidden") > kMostNormHidden)
    return "rows of more than 11000 values";
  if (what.size_or("experts", 1) > kMostExperts) return "a gate over more than 512 experts";
  if (what.size_or("top_k", 1) > kMostTopK) return "more than 32 choices";
  return "";
}

std::size_t block_shared_bytes(const KernelCase& what) {
  if (is_attention(what)) return attention_shared_bytes(what);
  if (!has_products(what) || what.implementation == "vendor") return 0;
  return LargeForward::shared_bytes(static_cast<int>(what.rows.size()) + 1);
}

std::unique_ptr<PreparedCase> prepare_case(const KernelCase& what, Device& device) {
  SIM_CHECK(case_unsupported(what).empty(), "only cases that are supported are prepared");
  auto prepared = std::make_unique<PreparedCase>(device, what.implementation == "vendor");
  if (is_one_of(what.kernel, {"gemm", "ceiling_matrix", "grouped_gemm"}))
    add_gemm(*prepared, what);
  else if (is_one_of(what.kernel, {"top_k", "permute", "unpermute"}))
    add_routing(*prepared, what);
  else if (is_one_of(what.kernel, {"activation", "norm", "quantise"}))
    add_rows(*prepared, what);
  else if (is_attention(what))
    add_attention(*prepared, what);
  else if (what.kernel == "expert_ffn")
    add_experts(*prepared, what);
  else if (what.kernel == "moe_layer")
    add_moe_layer(*prepared, what);
  else
    add_memory(*prepared, what);
  return prepared;
}

}  // namespace sim::device_code
