#include "models/microbench/reference/expert_ffn.h"

#include "models/microbench/reference/grouped_gemm.h"
#include "models/microbench/reference/row_kernels.h"

namespace sim::reference {

template <class T>
void expert_ffn(const FfnShape& s, std::span<const T> x, const FfnWeights<T>& weights,
                const FfnActivations<T>& activations, std::span<T> y) {
  const GroupedShape up{s.offsets, 2 * s.inter, s.hidden};
  const GroupedShape down{s.offsets, s.hidden, s.inter};
  grouped_gemm<T>(up, x, weights.gate_up, activations.before);
  swiglu<T>(s.total(), s.inter, activations.before, activations.after);
  grouped_gemm<T>(down, activations.after, weights.down, y);
}

template <class T>
void expert_ffn_backward(const FfnShape& s, std::span<const T> x, const FfnWeights<T>& weights,
                         const FfnActivations<T>& activations, std::span<const T> dy,
                         const FfnActivations<T>& scratch, const FfnGradients<T>& gradients) {
  const GroupedShape up{s.offsets, 2 * s.inter, s.hidden};
  const GroupedShape down{s.offsets, s.hidden, s.inter};
  grouped_gemm_dgrad<T>(down, dy, weights.down, scratch.after);
  grouped_gemm_wgrad<T>(down, dy, activations.after, gradients.ddown);
  swiglu_backward<T>(s.total(), s.inter, activations.before, scratch.after, scratch.before);
  grouped_gemm_dgrad<T>(up, scratch.before, weights.gate_up, gradients.dx);
  grouped_gemm_wgrad<T>(up, scratch.before, x, gradients.dgate_up);
}

#define MOE_INSTANTIATE(T)                                                                        \
  template void expert_ffn<T>(const FfnShape&, std::span<const T>, const FfnWeights<T>&,          \
                              const FfnActivations<T>&, std::span<T>);                            \
  template void expert_ffn_backward<T>(const FfnShape&, std::span<const T>, const FfnWeights<T>&, \
                                       const FfnActivations<T>&, std::span<const T>,              \
                                       const FfnActivations<T>&, const FfnGradients<T>&);
MOE_INSTANTIATE(float)
MOE_INSTANTIATE(double)
#undef MOE_INSTANTIATE

}  // namespace sim::reference
