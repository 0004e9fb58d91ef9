// The experts of a layer over rows in expert order: out = (silu(x Wg^T) * (x Wu^T)) Wd^T per
// expert. T is float or double.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sim::reference {

struct FfnShape {
  std::span<const std::int64_t> offsets;  // of row_offsets: experts + 1
  std::int64_t hidden = 0;
  std::int64_t inter = 0;
  std::int64_t experts() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t total() const { return offsets.back(); }
};

// Gate and up in one array, as one GEMM multiplies them: gate_up[experts][2 * inter][hidden], gate
// first; down[experts][hidden][inter].
template <class T>
struct FfnWeights {
  std::span<const T> gate_up;
  std::span<const T> down;
};

// What a call keeps between its GEMMs: `before` [total][2 * inter] and `after` [total][inter] the
// activation. The forward pass writes them, the backward pass reads them.
template <class T>
struct FfnActivations {
  std::span<T> before;
  std::span<T> after;
};

// x[total][hidden], y[total][hidden].
template <class T>
void expert_ffn(const FfnShape& shape, std::span<const T> x, const FfnWeights<T>& weights,
                const FfnActivations<T>& activations, std::span<T> y);

template <class T>
struct FfnGradients {
  std::span<T> dx;        // [total][hidden]
  std::span<T> dgate_up;  // as the weights; zeros for experts without rows
  std::span<T> ddown;
};

// scratch: the gradients of `before` and `after`.
template <class T>
void expert_ffn_backward(const FfnShape& shape, std::span<const T> x, const FfnWeights<T>& weights,
                         const FfnActivations<T>& activations, std::span<const T> dy,
                         const FfnActivations<T>& scratch, const FfnGradients<T>& gradients);

}  // namespace sim::reference
