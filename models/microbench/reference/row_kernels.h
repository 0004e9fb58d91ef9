// Kernels that treat every row alone: SwiGLU and RMS norm, with their gradients. T is float or
// double.
#pragma once

#include <cstdint>
#include <span>

namespace sim::reference {

// in[rows][2 * inter] holds gate then up; out[rows][inter] = gate * sigmoid(gate) * up.
template <class T>
void swiglu(std::int64_t rows, std::int64_t inter, std::span<const T> in, std::span<T> out);
// din[rows][2 * inter] from dout[rows][inter] and the forward's input.
template <class T>
void swiglu_backward(std::int64_t rows, std::int64_t inter, std::span<const T> in,
                     std::span<const T> dout, std::span<T> din);

inline constexpr double kNormEpsilon = 1e-6;

// y[rows][hidden] = x / sqrt(mean(x^2) + kNormEpsilon) * weight[hidden].
template <class T>
void rms_norm(std::int64_t rows, std::int64_t hidden, std::span<const T> x,
              std::span<const T> weight, std::span<T> y);
// dx[rows][hidden], dweight[hidden] (summed over the rows; written, not added to).
template <class T>
void rms_norm_backward(std::int64_t rows, std::int64_t hidden, std::span<const T> x,
                       std::span<const T> weight, std::span<const T> dy, std::span<T> dx,
                       std::span<T> dweight);

}  // namespace sim::reference
