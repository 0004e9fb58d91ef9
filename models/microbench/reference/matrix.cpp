#include "models/microbench/reference/matrix.h"

#include <cblas.h>

#include "models/microbench/reference/array_size.h"

namespace sim::reference {

namespace {

CBLAS_TRANSPOSE blas(Turn turn) { return turn == Turn::kYes ? CblasTrans : CblasNoTrans; }

blasint narrow(std::int64_t value) {
  SIM_CHECK(value >= 0 && value <= 0x7fffffff, "a matrix fits the BLAS' 32-bit sizes");
  return static_cast<blasint>(value);
}

}  // namespace

void multiply(Turn turn_a, Turn turn_b, std::int64_t m, std::int64_t n, std::int64_t k,
              float factor, const float* a, std::int64_t lda, const float* b, std::int64_t ldb,
              float keep, float* c, std::int64_t ldc) {
  if (m == 0 || n == 0) return;
  cblas_sgemm(CblasRowMajor, blas(turn_a), blas(turn_b), narrow(m), narrow(n), narrow(k), factor, a,
              narrow(lda), b, narrow(ldb), keep, c, narrow(ldc));
}

void multiply(Turn turn_a, Turn turn_b, std::int64_t m, std::int64_t n, std::int64_t k,
              double factor, const double* a, std::int64_t lda, const double* b, std::int64_t ldb,
              double keep, double* c, std::int64_t ldc) {
  for (std::int64_t i = 0; i < m; ++i) {
    double* row = c + i * ldc;
    for (std::int64_t j = 0; j < n; ++j) row[j] = keep == 0 ? 0 : row[j] * keep;
    if (turn_b == Turn::kNo) {  // row by row of b, so that memory is read in order
      for (std::int64_t l = 0; l < k; ++l) {
        const double value = factor * (turn_a == Turn::kYes ? a[l * lda + i] : a[i * lda + l]);
        for (std::int64_t j = 0; j < n; ++j) row[j] += value * b[l * ldb + j];
      }
      continue;
    }
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t l = 0; l < k; ++l) {
        sum += (turn_a == Turn::kYes ? a[l * lda + i] : a[i * lda + l]) * b[j * ldb + l];
      }
      row[j] += factor * sum;
    }
  }
}

template <class T>
void gemm(GemmShape s, std::span<const T> a, std::span<const T> b, std::span<T> c) {
  check_sizes({{a.size(), s.m * s.k}, {b.size(), s.n * s.k}, {c.size(), s.m * s.n}});
  multiply(Turn::kNo, Turn::kYes, s.m, s.n, s.k, T(1), a.data(), s.k, b.data(), s.k, T(0), c.data(),
           s.n);
}

template <class T>
void gemm_dgrad(GemmShape s, std::span<const T> dc, std::span<const T> b, std::span<T> da) {
  check_sizes({{dc.size(), s.m * s.n}, {b.size(), s.n * s.k}, {da.size(), s.m * s.k}});
  multiply(Turn::kNo, Turn::kNo, s.m, s.k, s.n, T(1), dc.data(), s.n, b.data(), s.k, T(0),
           da.data(), s.k);
}

template <class T>
void gemm_wgrad(GemmShape s, std::span<const T> dc, std::span<const T> a, std::span<T> db) {
  check_sizes({{dc.size(), s.m * s.n}, {a.size(), s.m * s.k}, {db.size(), s.n * s.k}});
  multiply(Turn::kYes, Turn::kNo, s.n, s.k, s.m, T(1), dc.data(), s.n, a.data(), s.k, T(0),
           db.data(), s.k);
}

#define MOE_INSTANTIATE(T)                                                                      \
  template void gemm<T>(GemmShape, std::span<const T>, std::span<const T>, std::span<T>);       \
  template void gemm_dgrad<T>(GemmShape, std::span<const T>, std::span<const T>, std::span<T>); \
  template void gemm_wgrad<T>(GemmShape, std::span<const T>, std::span<const T>, std::span<T>);
MOE_INSTANTIATE(float)
MOE_INSTANTIATE(double)
#undef MOE_INSTANTIATE

}  // namespace sim::reference
