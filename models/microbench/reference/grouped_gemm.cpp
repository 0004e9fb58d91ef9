#include "models/microbench/reference/grouped_gemm.h"

#include "models/microbench/reference/array_size.h"
#include "models/microbench/reference/matrix.h"

namespace sim::reference {

std::vector<std::int64_t> row_offsets(std::span<const std::int64_t> rows, std::int64_t tile) {
  SIM_CHECK(tile >= 1, "a tile has rows");
  std::vector<std::int64_t> offsets = {0};
  for (const std::int64_t count : rows) {
    SIM_CHECK(count >= 0, "numbers of rows are not negative");
    offsets.push_back(offsets.back() + (count + tile - 1) / tile * tile);
  }
  return offsets;
}

namespace {

// The part of an array that belongs to the rows of one expert, each `width` values.
template <class T>
std::span<T> rows_of(const GroupedShape& shape, std::int64_t expert, std::span<T> all,
                     std::int64_t width) {
  const auto e = static_cast<std::size_t>(expert);
  const std::int64_t count = shape.offsets[e + 1] - shape.offsets[e];
  return all.subspan(static_cast<std::size_t>(shape.offsets[e] * width),
                     static_cast<std::size_t>(count * width));
}

template <class T>
std::span<T> weights_of(const GroupedShape& shape, std::int64_t expert, std::span<T> all) {
  const auto one = static_cast<std::size_t>(shape.n * shape.k);
  return all.subspan(static_cast<std::size_t>(expert) * one, one);
}

GemmShape shape_of(const GroupedShape& shape, std::int64_t expert) {
  const auto e = static_cast<std::size_t>(expert);
  return {shape.offsets[e + 1] - shape.offsets[e], shape.n, shape.k};
}

}  // namespace

template <class T>
void grouped_gemm(const GroupedShape& s, std::span<const T> a, std::span<const T> b,
                  std::span<T> c) {
  check_sizes({{a.size(), s.total() * s.k},
               {b.size(), s.experts() * s.n * s.k},
               {c.size(), s.total() * s.n}});
  for (std::int64_t e = 0; e < s.experts(); ++e) {
    if (shape_of(s, e).m == 0) continue;
    gemm<T>(shape_of(s, e), rows_of(s, e, a, s.k), weights_of(s, e, b), rows_of(s, e, c, s.n));
  }
}

template <class T>
void grouped_gemm_dgrad(const GroupedShape& s, std::span<const T> dc, std::span<const T> b,
                        std::span<T> da) {
  check_sizes({{dc.size(), s.total() * s.n},
               {b.size(), s.experts() * s.n * s.k},
               {da.size(), s.total() * s.k}});
  for (std::int64_t e = 0; e < s.experts(); ++e) {
    if (shape_of(s, e).m == 0) continue;
    gemm_dgrad<T>(shape_of(s, e), rows_of(s, e, dc, s.n), weights_of(s, e, b),
                  rows_of(s, e, da, s.k));
  }
}

template <class T>
void grouped_gemm_wgrad(const GroupedShape& s, std::span<const T> dc, std::span<const T> a,
                        std::span<T> db) {
  check_sizes({{dc.size(), s.total() * s.n},
               {a.size(), s.total() * s.k},
               {db.size(), s.experts() * s.n * s.k}});
  for (std::int64_t e = 0; e < s.experts(); ++e) {
    const std::span<T> out = weights_of(s, e, db);
    if (shape_of(s, e).m == 0) {
      for (T& value : out) value = 0;
      continue;
    }
    gemm_wgrad<T>(shape_of(s, e), rows_of(s, e, dc, s.n), rows_of(s, e, a, s.k), out);
  }
}

#define MOE_INSTANTIATE(T)                                                                         \
  template void grouped_gemm<T>(const GroupedShape&, std::span<const T>, std::span<const T>,       \
                                std::span<T>);                                                     \
  template void grouped_gemm_dgrad<T>(const GroupedShape&, std::span<const T>, std::span<const T>, \
                                      std::span<T>);                                               \
  template void grouped_gemm_wgrad<T>(const GroupedShape&, std::span<const T>, std::span<const T>, \
                                      std::span<T>);
MOE_INSTANTIATE(float)
MOE_INSTANTIATE(double)
#undef MOE_INSTANTIATE

}  // namespace sim::reference
