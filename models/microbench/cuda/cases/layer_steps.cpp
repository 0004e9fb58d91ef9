#include "models/microbench/cuda/cases/layer_steps.h"

#include "models/microbench/cuda/cases/routing_steps.h"
#include "models/microbench/cuda/cases/row_steps.h"

namespace sim::device_code {

Array<Bf16>& add_expert_ffn(PreparedCase& prepared, const RowOffsets& offsets, std::int64_t hidden,
                            std::int64_t inter, const Matrix& x) {
  const bool fp8 = x.fp8 != nullptr;
  const Matrix gate_up = random_weights(prepared, fp8, offsets.experts(), 2 * inter, hidden);
  const Matrix down = random_weights(prepared, fp8, offsets.experts(), hidden, inter);
  const Array<Bf16>& before = add_product(prepared, "gate and up", GemmPass::kForward, offsets,
                                          2 * inter, hidden, x, gate_up);
  const Array<Bf16>& after = add_swiglu(prepared, offsets.total(), inter, before);
  Matrix rows{&after};
  if (fp8) {
    const Quantised quantised = add_quantise(prepared, offsets.total(), inter, after);
    rows = {nullptr, quantised.values, quantised.scales};
  }
  return add_product(prepared, "down", GemmPass::kForward, offsets, hidden, inter, rows, down);
}

void add_expert_ffn_backward(PreparedCase& prepared, const RowOffsets& offsets, std::int64_t hidden,
                             std::int64_t inter) {
  const std::int64_t total = offsets.total();
  const Matrix x = random_rows(prepared, false, total, hidden);
  const Matrix gate_up = random_weights(prepared, false, offsets.experts(), 2 * inter, hidden);
  const Matrix down = random_weights(prepared, false, offsets.experts(), hidden, inter);
  const Matrix before = random_rows(prepared, false, total, 2 * inter);
  const Matrix after = random_rows(prepared, false, total, inter);
  const Matrix dy = random_rows(prepared, false, total, hidden);
  const Array<Bf16>& dafter =
      add_product(prepared, "d(activation)", GemmPass::kDgrad, offsets, hidden, inter, dy, down);
  add_product(prepared, "d(down)", GemmPass::kWgrad, offsets, hidden, inter, dy, after);
  const Matrix dbefore{&add_swiglu_backward(prepared, total, inter, *before.bf16, dafter)};
  add_product(prepared, "d(input)", GemmPass::kDgrad, offsets, 2 * inter, hidden, dbefore, gate_up);
  add_product(prepared, "d(gate and up)", GemmPass::kWgrad, offsets, 2 * inter, hidden, dbefore, x);
}

void add_moe_layer(PreparedCase& prepared, const KernelCase& what) {
  const RoutedShape shape{what.size("tokens"), what.size("hidden"), what.size("top_k"),
                          what.size("experts")};
  const std::vector<std::int32_t> wanted = choices_of(what, shape);
  const Array<Bf16>& x = prepared.random<Bf16>(shape.tokens * shape.hidden, 1);
  const Array<Bf16>& normed = add_norm(prepared, shape.tokens, shape.hidden, x);
  const RowOffsets all = row_offsets(prepared, {shape.tokens}, 1);
  const Matrix router = random_weights(prepared, false, 1, shape.experts, shape.hidden);
  add_product(prepared, "router", GemmPass::kForward, all, shape.experts, shape.hidden, {&normed},
              router);
  const Gated gated = add_top_k(prepared, shape, reference::Gate::kSoftmax,
                                prepared.uploaded(logits_for(wanted, shape)));
  const Ordered order = add_expert_order(prepared, shape, *gated.choices, wanted);
  const Array<Bf16>& rows = add_permute(prepared, shape, order, normed);
  const RowOffsets offsets{order.host.offsets, order.offsets};
  const Array<Bf16>& out =
      add_expert_ffn(prepared, offsets, shape.hidden, what.size("inter"), {&rows});
  add_unpermute(prepared, shape, order, out, gated.weights);
}

}  // namespace sim::device_code
