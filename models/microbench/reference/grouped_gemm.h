// One GEMM per expert over the rows that belong to it; experts without rows are skipped.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sim::reference {

// Where each expert's rows begin, and at the end how many there are: experts + 1 numbers. Every
// expert's rows are rounded up to a multiple of `tile` (padded layout); tile 1 is dropless.
std::vector<std::int64_t> row_offsets(std::span<const std::int64_t> rows, std::int64_t tile);

struct GroupedShape {
  std::span<const std::int64_t> offsets;  // of row_offsets
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t experts() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t total() const { return offsets.back(); }
};

// a[total][k], b[experts][n][k], c[total][n]. Rows of padding are computed as the others are (they
// hold zeros). wgrad writes zeros for experts without rows. T is float or double.
template <class T>
void grouped_gemm(const GroupedShape& shape, std::span<const T> a, std::span<const T> b,
                  std::span<T> c);
template <class T>
void grouped_gemm_dgrad(const GroupedShape& shape, std::span<const T> dc, std::span<const T> b,
                        std::span<T> da);
template <class T>
void grouped_gemm_wgrad(const GroupedShape& shape, std::span<const T> dc, std::span<const T> a,
                        std::span<T> db);

}  // namespace sim::reference
