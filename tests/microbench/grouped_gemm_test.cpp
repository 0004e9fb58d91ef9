// The grouped GEMM of the CUDA backend, run under emulation, against plain loops in double
// precision: ragged rows, experts without rows, sizes that are no multiple of a tile.
#include "models/microbench/cuda/kernels/grouped_gemm.h"

#include <numeric>

#include "tests/microbench/emulated.h"

namespace sim {
namespace {

using namespace device_code;

struct Problem {
  std::vector<std::int32_t> rows;
  int n;
  int k;

  std::vector<std::int32_t> offsets() const {
    std::vector<std::int32_t> result(rows.size() + 1, 0);
    std::partial_sum(rows.begin(), rows.end(), result.begin() + 1);
    return result;
  }
  std::size_t total() const { return static_cast<std::size_t>(offsets().back()); }
  std::size_t weights() const {
    return rows.size() * static_cast<std::size_t>(n) * static_cast<std::size_t>(k);
  }
};

// out[r][c] = sum over i of left(r, i) * right(i, c)
template <typename Left, typename Right>
void multiply_into(double* out, std::int64_t rows, std::int64_t columns, std::int64_t inner,
                   Left left, Right right) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) {
      double sum = 0;
      for (std::int64_t i = 0; i < inner; ++i) sum += left(r, i) * right(i, c);
      out[r * columns + c] = sum;
    }
}

template <typename Gemm>
std::vector<Bf16> run_kernel(const Problem& problem, typename Gemm::Arguments arguments,
                             std::size_t outputs, int blocks) {
  const std::vector<std::int32_t> offsets = problem.offsets();
  arguments.offsets = offsets.data();
  arguments.experts = static_cast<int>(problem.rows.size());
  arguments.n = problem.n;
  arguments.k = problem.k;
  return same_in_every_order<Bf16>(outputs, [&](emulation::Order order, std::vector<Bf16>& out) {
    arguments.out = out.data();
    emulation::run({blocks, kProductThreads, Gemm::shared_bytes(arguments.experts), order},
                   [&] { grouped_gemm<Gemm>(arguments); });
  });
}

template <typename Gemm>
void check_forward(const Problem& problem, int blocks) {
  std::mt19937 random(11);
  const auto x = random_bf16(problem.total() * static_cast<std::size_t>(problem.k), random);
  const auto w = random_bf16(problem.weights(), random);
  const std::size_t outputs = problem.total() * static_cast<std::size_t>(problem.n);
  typename Gemm::Arguments arguments{};
  arguments.a = x.data();
  arguments.b = w.data();
  const auto out = run_kernel<Gemm>(problem, arguments, outputs, blocks);
  std::vector<double> expected(outputs);
  const auto offsets = problem.offsets();
  const std::int64_t n = problem.n;
  const std::int64_t k = problem.k;
  for (std::size_t e = 0; e < problem.rows.size(); ++e) {
    const Bf16* rows = x.data() + offsets[e] * k;
    const Bf16* weights = w.data() + static_cast<std::int64_t>(e) * n * k;
    multiply_into(
        expected.data() + offsets[e] * n, problem.rows[e], n, k,
        [&](std::int64_t r, std::int64_t i) { return as_double(rows[r * k + i]); },
        [&](std::int64_t i, std::int64_t c) { return as_double(weights[c * k + i]); });
  }
  expect_close<Bf16>(out, expected, kBf16Tolerance);
}

TEST(CudaGroupedGemm, ForwardOfRaggedRows) {
  check_forward<LargeForward>({{5, 0, 130, 33}, 72, 200}, 2);
}
TEST(CudaGroupedGemm, ForwardOfMoreColumnTilesAndBlocksThanTiles) {
  check_forward<LargeForward>({{0, 17}, 264, 64}, 7);
}
TEST(CudaGroupedGemm, ForwardWithSmallTiles) {
  check_forward<SmallForward>({{1, 0, 0, 40, 31, 0}, 136, 328}, 3);
}
TEST(CudaGroupedGemm, ForwardOfMoreExpertsThanLanes) {
  Problem problem{std::vector<std::int32_t>(67, 0), 16, 8};
  problem.rows[2] = 3;
  problem.rows[31] = 33;
  problem.rows[32] = 1;
  problem.rows[66] = 2;
  check_forward<SmallForward>(problem, 2);
}
TEST(CudaGroupedGemm, ForwardWithoutAnyRowWritesNothing) {
  check_forward<LargeForward>({{0, 0}, 16, 16}, 2);
}

TEST(CudaGroupedGemm, DgradOfRaggedRows) {
  const Problem problem{{9, 0, 140}, 136, 152};
  std::mt19937 random(12);
  const auto dy = random_bf16(problem.total() * static_cast<std::size_t>(problem.n), random);
  const auto w = random_bf16(problem.weights(), random);
  const std::size_t outputs = problem.total() * static_cast<std::size_t>(problem.k);
  Dgrad::Arguments arguments{};
  arguments.a = dy.data();
  arguments.b = w.data();
  const auto out = run_kernel<Dgrad>(problem, arguments, outputs, 3);
  std::vector<double> expected(outputs);
  const auto offsets = problem.offsets();
  const std::int64_t n = problem.n;
  const std::int64_t k = problem.k;
  for (std::size_t e = 0; e < problem.rows.size(); ++e) {
    const Bf16* rows = dy.data() + offsets[e] * n;
    const Bf16* weights = w.data() + static_cast<std::int64_t>(e) * n * k;
    multiply_into(
        expected.data() + offsets[e] * k, problem.rows[e], k, n,
        [&](std::int64_t r, std::int64_t i) { return as_double(rows[r * n + i]); },
        [&](std::int64_t i, std::int64_t c) { return as_double(weights[i * k + c]); });
  }
  expect_close<Bf16>(out, expected, kBf16Tolerance);
}

TEST(CudaGroupedGemm, WgradOfRaggedRowsAndZerosWithoutRows) {
  const Problem problem{{70, 0, 13}, 136, 144};
  std::mt19937 random(13);
  const auto dy = random_bf16(problem.total() * static_cast<std::size_t>(problem.n), random);
  const auto x = random_bf16(problem.total() * static_cast<std::size_t>(problem.k), random);
  Wgrad::Arguments arguments{};
  arguments.a = dy.data();
  arguments.b = x.data();
  const auto out = run_kernel<Wgrad>(problem, arguments, problem.weights(), 5);
  std::vector<double> expected(problem.weights());
  const auto offsets = problem.offsets();
  const std::int64_t n = problem.n;
  const std::int64_t k = problem.k;
  for (std::size_t e = 0; e < problem.rows.size(); ++e) {
    const Bf16* gradients = dy.data() + offsets[e] * n;
    const Bf16* rows = x.data() + offsets[e] * k;
    multiply_into(
        expected.data() + static_cast<std::int64_t>(e) * n * k, n, k, problem.rows[e],
        [&](std::int64_t r, std::int64_t i) { return as_double(gradients[i * n + r]); },
        [&](std::int64_t i, std::int64_t c) { return as_double(rows[i * k + c]); });
  }
  expect_close<Bf16>(out, expected, kBf16Tolerance);
}

TEST(CudaGroupedGemm, Fp8ForwardWithScales) {
  const Problem problem{{3, 0, 131}, 144, 272};
  std::mt19937 random(14);
  const auto x = random_fp8(problem.total() * static_cast<std::size_t>(problem.k), random);
  const auto w = random_fp8(problem.weights(), random);
  const std::int64_t n = problem.n;
  const std::int64_t k = problem.k;
  const std::int64_t k_blocks = (k + 127) / 128;
  const std::int64_t n_blocks = (n + 127) / 128;
  const auto x_scales = random_floats(problem.total() * static_cast<std::size_t>(k_blocks), random);
  const auto w_scales =
      random_floats(problem.rows.size() * static_cast<std::size_t>(n_blocks * k_blocks), random);
  const std::size_t outputs = problem.total() * static_cast<std::size_t>(n);
  Fp8Forward::Arguments arguments{};
  arguments.a = x.data();
  arguments.b = w.data();
  arguments.a_scales = x_scales.data();
  arguments.b_scales = w_scales.data();
  const auto out = run_kernel<Fp8Forward>(problem, arguments, outputs, 2);
  std::vector<double> expected(outputs);
  const auto offsets = problem.offsets();
  for (std::size_t e = 0; e < problem.rows.size(); ++e) {
    const std::int64_t first = offsets[e];
    const std::int64_t expert = static_cast<std::int64_t>(e);
    multiply_into(
        expected.data() + first * n, problem.rows[e], n, k,
        [&](std::int64_t r, std::int64_t i) {
          return as_double(x[(first + r) * k + i]) * x_scales[(first + r) * k_blocks + i / 128];
        },
        [&](std::int64_t i, std::int64_t c) {
          return as_double(w[(expert * n + c) * k + i]) *
                 w_scales[(expert * n_blocks + c / 128) * k_blocks + i / 128];
        });
  }
  expect_close<Bf16>(out, expected, kBf16Tolerance);
}

}  // namespace
}  // namespace sim
