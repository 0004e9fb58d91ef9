// Matrix products in the layouts of a model's layers, row by row in memory. float goes through
// OpenBLAS and is what the CPU times; double is plain loops and is what results are checked
// against.
#pragma once

#include <cstdint>
#include <span>

namespace sim::reference {

enum class Turn { kNo, kYes };  // whether a matrix is transposed before it is multiplied

// c[m][n] = factor * a b + keep * c; lda, ldb, ldc: values from one stored row to the next.
// keep = 0 does not read c, so c may hold NaN. REQUIRES: m, n, k >= 0.
void multiply(Turn turn_a, Turn turn_b, std::int64_t m, std::int64_t n, std::int64_t k,
              float factor, const float* a, std::int64_t lda, const float* b, std::int64_t ldb,
              float keep, float* c, std::int64_t ldc);
void multiply(Turn turn_a, Turn turn_b, std::int64_t m, std::int64_t n, std::int64_t k,
              double factor, const double* a, std::int64_t lda, const double* b, std::int64_t ldb,
              double keep, double* c, std::int64_t ldc);

struct GemmShape {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
};

// T is float or double. A layer y = x W^T: c[m][n] = a[m][k] b[n][k]^T, and its gradients
// da[m][k] = dc[m][n] b[n][k] and db[n][k] = dc[m][n]^T a[m][k].
template <class T>
void gemm(GemmShape shape, std::span<const T> a, std::span<const T> b, std::span<T> c);
template <class T>
void gemm_dgrad(GemmShape shape, std::span<const T> dc, std::span<const T> b, std::span<T> da);
template <class T>
void gemm_wgrad(GemmShape shape, std::span<const T> dc, std::span<const T> a, std::span<T> db);

}  // namespace sim::reference
