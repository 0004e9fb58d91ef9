// Holds a grouped product against plain loops in double precision, on a sample: the first, the
// last, the middle and the fullest expert with rows (and one without, for wgrad), of each some rows
// and columns, the first and the last among them.
#pragma once

#include "models/microbench/cuda/cases/prepared_case.h"
#include "models/microbench/cuda/kernels/grouped_gemm.h"

namespace sim::device_code {

// One row of a matrix on the device as doubles; fp8 with its scales multiplied in.
using RowReader = std::function<std::vector<double>(std::int64_t)>;

inline std::int64_t scale_blocks(std::int64_t count) { return (count + 127) / 128; }
inline std::size_t index(std::int64_t value) { return static_cast<std::size_t>(value); }

inline RowReader rows_of(const Array<Bf16>& array, std::int64_t width) {
  return
      [&array, width](std::int64_t row) { return as_doubles(array.download(row * width, width)); };
}
// `scale_row`: which row of scales belongs to a row of values; scales may be missing (all 1).
inline RowReader rows_of(const Array<Fp8>& array, std::int64_t width, const Array<float>* scales,
                         std::function<std::int64_t(std::int64_t)> scale_row) {
  return [&array, width, scales, scale_row](std::int64_t row) {
    std::vector<double> values = as_doubles(array.download(row * width, width));
    if (scales == nullptr) return values;
    const std::int64_t blocks = scale_blocks(width);
    const std::vector<float> factors = scales->download(scale_row(row) * blocks, blocks);
    for (std::int64_t i = 0; i < width; ++i) values[index(i)] *= as_double(factors[index(i / 128)]);
    return values;
  };
}

struct ProductView {
  GemmPass pass = GemmPass::kForward;
  std::vector<std::int64_t> offsets;
  std::int64_t n = 0;
  std::int64_t k = 0;
  RowReader a;  // forward: x[row][k]; dgrad, wgrad: dy[row][n]
  RowReader b;  // forward, dgrad: w[expert * n + i][k]; wgrad: x[row][k]
  RowReader out;
  std::int64_t experts() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t rows(std::int64_t expert) const {
    return offsets[index(expert) + 1] - offsets[index(expert)];
  }
};

class ProductCheck {
 public:
  explicit ProductCheck(ProductView view) : view_(std::move(view)) {}

  void run(const std::string& name, Comparison& comparison) {
    for (const std::int64_t expert : sampled_experts()) {
      result_.clear();
      expected_.clear();
      if (view_.pass == GemmPass::kWgrad)
        sample_wgrad(expert);
      else
        sample_rows(expert);
      comparison.compare(name + " of expert " + std::to_string(expert), result_, expected_,
                         kBf16Tolerance);
    }
  }

 private:
  std::vector<std::int64_t> sampled_experts() const {
    std::vector<std::int64_t> with;
    std::vector<std::int64_t> picked;
    std::int64_t empty = -1;
    std::int64_t fullest = 0;
    for (std::int64_t e = 0; e < view_.experts(); ++e) {
      if (view_.rows(e) == 0) {
        empty = e;
        continue;
      }
      with.push_back(e);
      if (view_.rows(e) > view_.rows(fullest)) fullest = e;
    }
    for (const std::int64_t i : spread(static_cast<std::int64_t>(with.size()), 3))
      picked.push_back(with[index(i)]);
    if (!with.empty()) picked.push_back(fullest);
    if (view_.pass == GemmPass::kWgrad && empty >= 0) picked.push_back(empty);
    return picked;
  }

  // forward: out[r, c] = x[r] . w[c]; dgrad: out[r, c] = sum over n of dy[r, n] w[n][c].
  void sample_rows(std::int64_t expert) {
    const bool forward = view_.pass == GemmPass::kForward;
    const std::int64_t inner = forward ? view_.k : view_.n;
    const std::vector<std::int64_t> picked = spread(forward ? view_.n : view_.k, 64);
    std::vector<std::vector<double>> weights;  // per picked column
    if (forward) {
      for (const std::int64_t c : picked) weights.push_back(view_.b(expert * view_.n + c));
    } else {
      weights.assign(picked.size(), std::vector<double>(index(inner)));
      for (std::int64_t i = 0; i < inner; ++i) {
        const std::vector<double> line = view_.b(expert * view_.n + i);
        for (std::size_t c = 0; c < picked.size(); ++c)
          weights[c][index(i)] = line[index(picked[c])];
      }
    }
    for (const std::int64_t r : spread(view_.rows(expert), 8)) {
      const std::int64_t row = view_.offsets[index(expert)] + r;
      const std::vector<double> line = view_.a(row);
      const std::vector<double> got = view_.out(row);
      for (std::size_t c = 0; c < picked.size(); ++c) {
        double sum = 0;
        for (std::int64_t i = 0; i < inner; ++i) sum += line[index(i)] * weights[c][index(i)];
        expected_.push_back(sum);
        result_.push_back(got[index(picked[c])]);
      }
    }
  }

  // dw[n][k] = sum over the expert's rows of dy[r][n] x[r][k]
  void sample_wgrad(std::int64_t expert) {
    const std::int64_t first = view_.offsets[index(expert)];
    const std::vector<std::int64_t> down = spread(view_.n, 16);
    const std::vector<std::int64_t> across = spread(view_.k, 64);
    std::vector<double> sums(down.size() * across.size());
    for (std::int64_t r = first; r < first + view_.rows(expert); ++r) {
      const std::vector<double> dy = view_.a(r);
      const std::vector<double> x = view_.b(r);
      for (std::size_t i = 0; i < down.size(); ++i)
        for (std::size_t j = 0; j < across.size(); ++j)
          sums[i * across.size() + j] += dy[index(down[i])] * x[index(across[j])];
    }
    for (const std::int64_t i : down) {
      const std::vector<double> got = view_.out(expert * view_.n + i);
      for (const std::int64_t j : across) result_.push_back(got[index(j)]);
    }
    expected_ = sums;
  }

  ProductView view_;
  std::vector<double> result_;
  std::vector<double> expected_;
};

}  // namespace sim::device_code
