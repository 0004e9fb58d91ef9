#include "models/microbench/reference/moe_layer.h"

#include "models/microbench/reference/matrix.h"
#include "models/microbench/reference/row_kernels.h"

namespace sim::reference {

template <class T>
void moe_layer(const LayerShape& s, std::span<const T> x, const LayerWeights<T>& weights,
               const LayerBuffers<T>& buffers, std::span<std::int32_t> choices, ExpertOrder& order,
               std::span<T> y) {
  rms_norm<T>(s.tokens, s.hidden, x, weights.norm, buffers.normed);
  gemm<T>({s.tokens, s.experts, s.hidden}, buffers.normed, weights.router, buffers.logits);
  top_k<T>({s.tokens, s.experts, s.top_k, Gate::kSoftmax}, buffers.logits, choices,
           buffers.weights);
  const PermuteShape permuted{s.tokens, s.hidden, s.top_k};
  order_by_expert(choices, s.experts, order);
  permute<T>(permuted, order, buffers.normed, buffers.rows);
  expert_ffn<T>({order.offsets, s.hidden, s.inter}, buffers.rows, weights.experts,
                buffers.activations, buffers.results);
  unpermute<T>(permuted, order, buffers.results, buffers.weights, y);
}

template void moe_layer<float>(const LayerShape&, std::span<const float>,
                               const LayerWeights<float>&, const LayerBuffers<float>&,
                               std::span<std::int32_t>, ExpertOrder&, std::span<float>);
template void moe_layer<double>(const LayerShape&, std::span<const double>,
                                const LayerWeights<double>&, const LayerBuffers<double>&,
                                std::span<std::int32_t>, ExpertOrder&, std::span<double>);

}  // namespace sim::reference
