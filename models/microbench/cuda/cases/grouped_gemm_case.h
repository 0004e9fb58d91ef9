// gemm, ceiling_matrix and grouped_gemm: forward, dgrad and wgrad, bf16 and (forward) fp8.
#pragma once

#include "models/microbench/cuda/cases/matrix_steps.h"

namespace sim::device_code {

class GroupedGemmCase : public MatrixCase {
 public:
  GroupedGemmCase(Device& device, const KernelCase& what) : MatrixCase(device, what) {
    n_ = what.size("n");
    k_ = what.size("k");
    pass_ = what.pass == "dgrad"   ? GemmPass::kDgrad
            : what.pass == "wgrad" ? GemmPass::kWgrad
                                   : GemmPass::kForward;
    const bool grouped = what.kernel == "grouped_gemm";
    rows_ = grouped ? what.rows : std::vector<std::int64_t>{what.size("m")};
    const bool padded = grouped && what.option("layout") == "padded";
    offsets_ = offsets_of(rows_, padded ? what.size_or("tile", kUsualTile) : 1);
    device_offsets_ = array_of(narrow(offsets_));
    const std::int64_t total = offsets_.back();
    const std::int64_t weights = experts() * n_ * k_;
    GroupedProblem problem;
    problem.pass = pass_;
    problem.offsets = device_offsets_.data();
    problem.host_offsets = offsets_;
    problem.n = n_;
    problem.k = k_;
    problem.fp8 = what.dtype == "fp8";
    if (problem.fp8) {
      a_fp8_ = random_array<Fp8>(total * k_, 1);
      b_fp8_ = random_array<Fp8>(weights, 1);
      // The vendor's product has a scale of 1; ours has scales that differ by block.
      const float spread_of_scales = vendor() ? 0.0F : 0.5F;
      a_scales_ = random_array<float>(total * blocks(k_), spread_of_scales, 1);
      b_scales_ = random_array<float>(experts() * blocks(n_) * blocks(k_), spread_of_scales, 1);
      problem.a = a_fp8_.data();
      problem.b = b_fp8_.data();
      problem.a_scales = a_scales_.data();
      problem.b_scales = b_scales_.data();
    } else {
      const bool forward = pass_ == GemmPass::kForward;
      a_ = random_array<Bf16>(total * (forward ? k_ : n_), 1);
      b_ = random_array<Bf16>(pass_ == GemmPass::kWgrad ? total * k_ : weights, 1);
      problem.a = a_.data();
      problem.b = b_.data();
    }
    out_ = output_array<Bf16>(pass_ == GemmPass::kWgrad   ? weights
                              : pass_ == GemmPass::kDgrad ? total * k_
                                                          : total * n_);
    problem.out = out_.data();
    add_product(problem);
  }

  // All values must be written; sampled experts, rows and columns are held against plain loops.
  microbench::CheckResult check() override {
    Comparison comparison;
    comparison.all_written("out", out_);
    for (const std::int64_t expert : sampled_experts()) {
      std::vector<double> result;
      std::vector<double> expected;
      if (pass_ == GemmPass::kWgrad)
        sample_wgrad(expert, result, expected);
      else
        sample_rows(expert, result, expected);
      comparison.compare("out of expert " + std::to_string(expert), result, expected,
                         kBf16Tolerance);
    }
    return comparison.result();
  }

 private:
  static std::int64_t blocks(std::int64_t count) { return (count + 127) / 128; }
  std::int64_t experts() const { return static_cast<std::int64_t>(rows_.size()); }

  // First, last, fullest of those with rows; for wgrad one without rows too.
  std::vector<std::int64_t> sampled_experts() const {
    std::vector<std::int64_t> with;
    std::vector<std::int64_t> picked;
    std::int64_t empty = -1;
    std::int64_t fullest = -1;
    for (std::int64_t e = 0; e < experts(); ++e) {
      const std::int64_t rows = offsets_[at(e) + 1] - offsets_[at(e)];
      if (rows == 0) {
        empty = e;
        continue;
      }
      with.push_back(e);
      if (fullest < 0 || rows > offsets_[at(fullest) + 1] - offsets_[at(fullest)]) fullest = e;
    }
    for (const std::int64_t i : spread(static_cast<std::int64_t>(with.size()), 3))
      picked.push_back(with[at(i)]);
    if (fullest >= 0) picked.push_back(fullest);
    if (pass_ == GemmPass::kWgrad && empty >= 0) picked.push_back(empty);
    return picked;
  }

  // Row `row` of x, dequantised.
  std::vector<double> row_of_a(std::int64_t row, std::int64_t width) const {
    if (a_fp8_.size() == 0) return as_doubles(a_.download(row * width, width));
    std::vector<double> values = as_doubles(a_fp8_.download(row * width, width));
    const auto scales = a_scales_.download(row * blocks(width), blocks(width));
    for (std::int64_t i = 0; i < width; ++i) values[at(i)] *= as_double(scales[at(i / 128)]);
    return values;
  }
  // w[expert][row] of k values, dequantised.
  std::vector<double> row_of_weights(std::int64_t expert, std::int64_t row) const {
    const std::int64_t first = (expert * n_ + row) * k_;
    if (b_fp8_.size() == 0) return as_doubles(b_.download(first, k_));
    std::vector<double> values = as_doubles(b_fp8_.download(first, k_));
    const auto scales =
        b_scales_.download((expert * blocks(n_) + row / 128) * blocks(k_), blocks(k_));
    for (std::int64_t i = 0; i < k_; ++i) values[at(i)] *= as_double(scales[at(i / 128)]);
    return values;
  }

  // forward: out[r, c] = x[r] . w[c]; dgrad: out[r, c] = sum over n of dy[r, n] w[n][c].
  void sample_rows(std::int64_t expert, std::vector<double>& result,
                   std::vector<double>& expected) const {
    const bool forward = pass_ == GemmPass::kForward;
    const std::int64_t inner = forward ? k_ : n_;
    const std::int64_t columns = forward ? n_ : k_;
    const std::int64_t first = offsets_[at(expert)];
    const std::vector<std::int64_t> picked = spread(columns, forward ? 192 : 64);
    std::vector<std::vector<double>> weights;  // per picked column
    if (forward) {
      for (const std::int64_t c : picked) weights.push_back(row_of_weights(expert, c));
    } else {
      weights.assign(picked.size(), std::vector<double>(at(inner)));
      for (std::int64_t i = 0; i < inner; ++i) {
        const std::vector<double> line = row_of_weights(expert, i);
        for (std::size_t c = 0; c < picked.size(); ++c) weights[c][at(i)] = line[at(picked[c])];
      }
    }
    for (const std::int64_t r : spread(offsets_[at(expert) + 1] - first, 8)) {
      const std::vector<double> line = row_of_a(first + r, inner);
      const std::vector<double> got = as_doubles(out_.download((first + r) * columns, columns));
      for (std::size_t c = 0; c < picked.size(); ++c) {
        double sum = 0;
        for (std::int64_t i = 0; i < inner; ++i) sum += line[at(i)] * weights[c][at(i)];
        expected.push_back(sum);
        result.push_back(got[at(picked[c])]);
      }
    }
  }

  // dw[n][k] = sum over the expert's rows of dy[r][n] x[r][k]
  void sample_wgrad(std::int64_t expert, std::vector<double>& result,
                    std::vector<double>& expected) const {
    const std::int64_t first = offsets_[at(expert)];
    const std::int64_t rows = offsets_[at(expert) + 1] - first;
    const std::vector<std::int64_t> down = spread(n_, 16);
    const std::vector<std::int64_t> across = spread(k_, 64);
    std::vector<double> sums(down.size() * across.size());
    for (std::int64_t r = first; r < first + rows; ++r) {
      const std::vector<Bf16> dy = a_.download(r * n_, n_);
      const std::vector<Bf16> x = b_.download(r * k_, k_);
      for (std::size_t i = 0; i < down.size(); ++i)
        for (std::size_t j = 0; j < across.size(); ++j)
          sums[i * across.size() + j] += as_double(dy[at(down[i])]) * as_double(x[at(across[j])]);
    }
    for (const std::int64_t i : down) {
      const auto got = as_doubles(out_.download((expert * n_ + i) * k_, k_));
      for (const std::int64_t j : across) result.push_back(got[at(j)]);
    }
    expected.insert(expected.end(), sums.begin(), sums.end());
  }

  static std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }

  std::int64_t n_ = 0;
  std::int64_t k_ = 0;
  GemmPass pass_ = GemmPass::kForward;
  std::vector<std::int64_t> rows_;
  std::vector<std::int64_t> offsets_;
  Array<std::int32_t> device_offsets_;
  Array<Bf16> a_, b_, out_;
  Array<Fp8> a_fp8_, b_fp8_;
  Array<float> a_scales_, b_scales_;
};

}  // namespace sim::device_code
