#include "models/microbench/reference/row_kernels.h"

#include <algorithm>
#include <cmath>

#include "models/microbench/reference/array_size.h"

namespace sim::reference {

template <class T>
void swiglu(std::int64_t rows, std::int64_t inter, std::span<const T> in, std::span<T> out) {
  check_sizes({{in.size(), rows * 2 * inter}, {out.size(), rows * inter}});
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* gate = in.data() + r * 2 * inter;
    const T* up = gate + inter;
    T* result = out.data() + r * inter;
    for (std::int64_t i = 0; i < inter; ++i)
      result[i] = gate[i] / (T(1) + std::exp(-gate[i])) * up[i];
  }
}

// silu(g) = g s(g) with s the sigmoid; silu'(g) = s (1 + g (1 - s)).
template <class T>
void swiglu_backward(std::int64_t rows, std::int64_t inter, std::span<const T> in,
                     std::span<const T> dout, std::span<T> din) {
  check_sizes(
      {{in.size(), rows * 2 * inter}, {dout.size(), rows * inter}, {din.size(), rows * 2 * inter}});
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* gate = in.data() + r * 2 * inter;
    const T* up = gate + inter;
    const T* slope = dout.data() + r * inter;
    T* dgate = din.data() + r * 2 * inter;
    T* dup = dgate + inter;
    for (std::int64_t i = 0; i < inter; ++i) {
      const T s = T(1) / (T(1) + std::exp(-gate[i]));
      dup[i] = slope[i] * gate[i] * s;
      dgate[i] = slope[i] * up[i] * s * (T(1) + gate[i] * (T(1) - s));
    }
  }
}

namespace {

template <class T>
T inverse_rms(const T* x, std::int64_t hidden) {
  T squares = 0;
  for (std::int64_t h = 0; h < hidden; ++h) squares += x[h] * x[h];
  return T(1) / std::sqrt(squares / static_cast<T>(hidden) + static_cast<T>(kNormEpsilon));
}

}  // namespace

template <class T>
void rms_norm(std::int64_t rows, std::int64_t hidden, std::span<const T> x,
              std::span<const T> weight, std::span<T> y) {
  check_sizes({{x.size(), rows * hidden}, {weight.size(), hidden}, {y.size(), rows * hidden}});
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* in = x.data() + r * hidden;
    T* out = y.data() + r * hidden;
    const T scale = inverse_rms(in, hidden);
    for (std::int64_t h = 0; h < hidden; ++h)
      out[h] = in[h] * scale * weight[static_cast<std::size_t>(h)];
  }
}

// With i = 1/rms: dx = i (w dy - x i^2 mean(x w dy)); dweight = sum over rows of dy x i.
template <class T>
void rms_norm_backward(std::int64_t rows, std::int64_t hidden, std::span<const T> x,
                       std::span<const T> weight, std::span<const T> dy, std::span<T> dx,
                       std::span<T> dweight) {
  check_sizes({{x.size(), rows * hidden},
               {weight.size(), hidden},
               {dy.size(), rows * hidden},
               {dx.size(), rows * hidden},
               {dweight.size(), hidden}});
  std::fill_n(dweight.begin(), hidden, T(0));
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* in = x.data() + r * hidden;
    const T* slope = dy.data() + r * hidden;
    T* out = dx.data() + r * hidden;
    const T scale = inverse_rms(in, hidden);
    T mean = 0;
    for (std::int64_t h = 0; h < hidden; ++h)
      mean += in[h] * weight[static_cast<std::size_t>(h)] * slope[h];
    mean /= static_cast<T>(hidden);
    for (std::int64_t h = 0; h < hidden; ++h) {
      const auto i = static_cast<std::size_t>(h);
      out[h] = scale * (weight[i] * slope[h] - in[h] * scale * scale * mean);
      dweight[i] += slope[h] * in[h] * scale;
    }
  }
}

#define MOE_INSTANTIATE(T)                                                                      \
  template void swiglu<T>(std::int64_t, std::int64_t, std::span<const T>, std::span<T>);        \
  template void swiglu_backward<T>(std::int64_t, std::int64_t, std::span<const T>,              \
                                   std::span<const T>, std::span<T>);                           \
  template void rms_norm<T>(std::int64_t, std::int64_t, std::span<const T>, std::span<const T>, \
                            std::span<T>);                                                      \
  template void rms_norm_backward<T>(std::int64_t, std::int64_t, std::span<const T>,            \
                                     std::span<const T>, std::span<const T>, std::span<T>,      \
                                     std::span<T>);
MOE_INSTANTIATE(float)
MOE_INSTANTIATE(double)
#undef MOE_INSTANTIATE

}  // namespace sim::reference
