// gemm, ceiling_matrix and grouped_gemm on the CPU, through OpenBLAS.
#include <algorithm>
#include <vector>

#include "models/microbench/comparison.h"
#include "models/microbench/cpu/cpu_kernel.h"
#include "models/microbench/reference/grouped_gemm.h"
#include "models/microbench/reference/matrix.h"

namespace sim::microbench {

namespace {

namespace ref = sim::reference;

enum class MatrixPass { kForward, kDgrad, kWgrad };
MatrixPass pass_of(const KernelCase& c) {
  if (c.pass == "dgrad") return MatrixPass::kDgrad;
  return c.pass == "wgrad" ? MatrixPass::kWgrad : MatrixPass::kForward;
}

constexpr std::int64_t kSampled = 48;  // rows and columns whose products are compared

// One expert's part, or the whole of a gemm: out[rows][columns] is the sum over `terms`.
struct Product {
  const float* left = nullptr;
  std::int64_t left_row = 0;  // values from one row of the result to the next
  std::int64_t left_term = 0;
  const float* right = nullptr;
  std::int64_t right_column = 0;
  std::int64_t right_term = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t terms = 0;
  const float* out = nullptr;
};

void compare(const Product& p, std::int64_t sampled, std::vector<float>& got,
             std::vector<double>& expected) {
  for (const std::int64_t i : sample(p.rows, sampled)) {
    for (const std::int64_t j : sample(p.columns, sampled)) {
      double sum = 0;
      for (std::int64_t l = 0; l < p.terms; ++l) {
        sum += static_cast<double>(p.left[i * p.left_row + l * p.left_term]) *
               static_cast<double>(p.right[j * p.right_column + l * p.right_term]);
      }
      got.push_back(p.out[i * p.columns + j]);
      expected.push_back(sum);
    }
  }
}

// A gemm is a grouped gemm of one expert; it is timed through the plain call all the same.
class MatrixKernel : public CpuKernel {
 public:
  MatrixKernel(std::vector<std::int64_t> rows, std::int64_t tile, std::int64_t n, std::int64_t k,
               MatrixPass pass, RotatingArrays& arrays)
      : rows_(std::move(rows)),
        offsets_(ref::row_offsets(rows_, tile)),
        n_(n),
        k_(k),
        pass_(pass),
        arrays_(arrays) {
    const std::int64_t experts = static_cast<std::int64_t>(rows_.size());
    const std::int64_t total = offsets_.back();
    a_ = arrays.add(pass == MatrixPass::kDgrad ? Store::kOutput : Store::kInput, total * k);
    b_ = arrays.add(pass == MatrixPass::kWgrad ? Store::kOutput : Store::kWeight, experts * n * k);
    c_ = arrays.add(pass == MatrixPass::kForward ? Store::kOutput : Store::kInput, total * n);
  }

  void run(std::int64_t copy) override {
    const std::span<float> a = arrays_.at(a_, copy);
    const std::span<float> b = arrays_.at(b_, copy);
    const std::span<float> c = arrays_.at(c_, copy);
    if (rows_.size() == 1) return run_one({offsets_.back(), n_, k_}, a, b, c);
    const ref::GroupedShape shape{offsets_, n_, k_};
    switch (pass_) {
      case MatrixPass::kForward:
        return ref::grouped_gemm<float>(shape, a, b, c);
      case MatrixPass::kDgrad:
        return ref::grouped_gemm_dgrad<float>(shape, c, b, a);
      case MatrixPass::kWgrad:
        return ref::grouped_gemm_wgrad<float>(shape, c, a, b);
    }
  }

  CheckResult check() override {
    const RotatingArray& output = pass_ == MatrixPass::kForward ? c_
                                  : pass_ == MatrixPass::kDgrad ? a_
                                                                : b_;
    poison(arrays_.at(output, 0));
    run(0);
    const std::int64_t most_rows = *std::max_element(rows_.begin(), rows_.end());
    const std::int64_t terms = pass_ == MatrixPass::kForward ? k_
                               : pass_ == MatrixPass::kDgrad ? n_
                                                             : most_rows;
    Comparison comparison(fp32_tolerance(terms));
    comparison.written("output", arrays_.at(output, 0));
    std::vector<float> got;
    std::vector<double> expected;
    const auto experts = static_cast<std::int64_t>(rows_.size());
    const std::int64_t sampled = std::max<std::int64_t>(kSampled / experts, 4);
    for (std::int64_t e = 0; e < experts; ++e) compare(product(e), sampled, got, expected);
    comparison.values("output", got, expected);
    return comparison.result();
  }

 private:
  void run_one(ref::GemmShape shape, std::span<float> a, std::span<float> b, std::span<float> c) {
    switch (pass_) {
      case MatrixPass::kForward:
        return ref::gemm<float>(shape, a, b, c);
      case MatrixPass::kDgrad:
        return ref::gemm_dgrad<float>(shape, c, b, a);
      case MatrixPass::kWgrad:
        return ref::gemm_wgrad<float>(shape, c, a, b);
    }
  }

  Product product(std::int64_t expert) {
    const auto e = static_cast<std::size_t>(expert);
    const std::int64_t begin = offsets_[e];
    const std::int64_t count = offsets_[e + 1] - begin;
    const float* a = arrays_.at(a_, 0).data() + begin * k_;
    const float* b = arrays_.at(b_, 0).data() + expert * n_ * k_;
    const float* c = arrays_.at(c_, 0).data() + begin * n_;
    switch (pass_) {
      case MatrixPass::kForward:
        return {a, k_, 1, b, k_, 1, count, n_, k_, c};
      case MatrixPass::kDgrad:
        return {c, n_, 1, b, 1, k_, count, k_, n_, a};
      case MatrixPass::kWgrad:
        break;
    }
    return {c, 1, n_, a, 1, k_, n_, k_, count, b};
  }

  std::vector<std::int64_t> rows_;
  std::vector<std::int64_t> offsets_;
  std::int64_t n_;
  std::int64_t k_;
  MatrixPass pass_;
  RotatingArrays& arrays_;
  RotatingArray a_, b_, c_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_gemm(const KernelCase& c, RotatingArrays& arrays) {
  return std::make_unique<MatrixKernel>(std::vector<std::int64_t>{c.size("m")}, 1, c.size("n"),
                                        c.size("k"), pass_of(c), arrays);
}

std::unique_ptr<CpuKernel> make_grouped_gemm(const KernelCase& c, RotatingArrays& arrays) {
  const bool padded = c.option("layout") == "padded";
  return std::make_unique<MatrixKernel>(c.rows, padded ? c.size_or("tile", kUsualTile) : 1,
                                        c.size("n"), c.size("k"), pass_of(c), arrays);
}

}  // namespace sim::microbench
