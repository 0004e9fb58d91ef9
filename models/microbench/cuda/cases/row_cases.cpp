// Compiled twice: as CUDA by row_cases.cu, and by the host compiler for the tests.
#include "models/microbench/cuda/cases/product_check.h"
#include "models/microbench/cuda/cases/row_steps.h"
#include "models/microbench/cuda/kernels/quantise.h"
#include "models/microbench/cuda/kernels/rms_norm.h"
#include "models/microbench/cuda/kernels/swiglu.h"
#include "models/microbench/reference/row_kernels.h"

namespace sim::device_code {
namespace {

constexpr std::int64_t kSampledRows = 64;
constexpr auto kEpsilon = static_cast<float>(reference::kNormEpsilon);

std::int64_t swiglu_blocks(std::int64_t rows, std::int64_t inter) {
  return 1 + rows * (inter / 8) / kSwigluThreads;
}

// The 128 values from `values`, quantised with a scale as the kernel has it, and put back.
void expect_quantised(const std::vector<double>& values, double scale, std::int64_t first,
                      std::vector<double>& expected) {
  const std::int64_t end =
      std::min<std::int64_t>(first + kScaleGroup, static_cast<std::int64_t>(values.size()));
  for (std::int64_t i = first; i < end; ++i)
    expected.push_back(
        as_double(to_fp8(static_cast<float>(values[index(i)]) / static_cast<float>(scale))));
}

double expected_scale(const std::vector<double>& values, std::int64_t first) {
  double largest = 0;
  const std::int64_t end =
      std::min<std::int64_t>(first + kScaleGroup, static_cast<std::int64_t>(values.size()));
  for (std::int64_t i = first; i < end; ++i)
    largest = std::max(largest, std::fabs(values[index(i)]));
  return largest > 0 ? largest / as_double(kFp8Max) : 1.0;
}

}  // namespace

// Row `row` of out with its scales is `values` quantised.
void check_quantised_row(const std::string& name, Comparison& comparison,
                         const std::vector<double>& values, const Array<Fp8>& out,
                         const Array<float>& scales, std::int64_t row) {
  const auto width = static_cast<std::int64_t>(values.size());
  const std::int64_t groups = scale_blocks(width);
  const std::vector<double> got_scales = as_doubles(scales.download(row * groups, groups));
  std::vector<double> want_scales;
  std::vector<double> expected;
  for (std::int64_t group = 0; group < groups; ++group) {
    want_scales.push_back(expected_scale(values, group * kScaleGroup));
    expect_quantised(values, got_scales[index(group)], group * kScaleGroup, expected);
  }
  comparison.compare(name + " scales", got_scales, want_scales, kFp32Tolerance);
  comparison.compare(name, as_doubles(out.download(row * width, width)), expected, kFp32Tolerance);
}

Array<Bf16>& add_swiglu(PreparedCase& prepared, std::int64_t rows, std::int64_t inter,
                        const Array<Bf16>& in) {
  auto& out = prepared.output<Bf16>(rows * inter);
  prepared.add_kernel(&swiglu, kSwigluThreads, 0, swiglu_blocks(rows, inter), in.data(), out.data(),
                      rows, static_cast<int>(inter));
  prepared.add_check([=, &in, &out](Comparison& comparison) {
    comparison.all_written("activation", out);
    const auto sampled = spread(rows, kSampledRows);
    std::vector<double> expected(sampled.size() * index(inter));
    reference::swiglu<double>(static_cast<std::int64_t>(sampled.size()), inter,
                              gather_rows(in, 2 * inter, sampled), expected);
    comparison.compare("activation", gather_rows(out, inter, sampled), expected, kBf16Tolerance);
  });
  return out;
}

Array<Bf16>& add_swiglu_backward(PreparedCase& prepared, std::int64_t rows, std::int64_t inter,
                                 const Array<Bf16>& in, const Array<Bf16>& dout) {
  auto& din = prepared.output<Bf16>(rows * 2 * inter);
  prepared.add_kernel(&swiglu_backward, kSwigluThreads, 0, swiglu_blocks(rows, inter), in.data(),
                      dout.data(), din.data(), rows, static_cast<int>(inter));
  prepared.add_check([=, &in, &dout, &din](Comparison& comparison) {
    comparison.all_written("d(activation)", din);
    const auto sampled = spread(rows, kSampledRows);
    std::vector<double> expected(sampled.size() * index(2 * inter));
    reference::swiglu_backward<double>(static_cast<std::int64_t>(sampled.size()), inter,
                                       gather_rows(in, 2 * inter, sampled),
                                       gather_rows(dout, inter, sampled), expected);
    comparison.compare("d(activation)", gather_rows(din, 2 * inter, sampled), expected,
                       kBf16Tolerance);
  });
  return din;
}

Array<Bf16>& add_norm(PreparedCase& prepared, std::int64_t rows, std::int64_t hidden,
                      const Array<Bf16>& x) {
  const auto& weight = prepared.random<Bf16>(hidden, 0.5, 1);
  auto& y = prepared.output<Bf16>(rows * hidden);
  prepared.add_kernel(&rms_norm, kNormThreads, 32 * sizeof(float), rows, x.data(), weight.data(),
                      y.data(), static_cast<int>(rows), static_cast<int>(hidden), kEpsilon);
  prepared.add_check([=, &x, &weight, &y](Comparison& comparison) {
    comparison.all_written("norm", y);
    const auto sampled = spread(rows, kSampledRows);
    std::vector<double> expected(sampled.size() * index(hidden));
    reference::rms_norm<double>(static_cast<std::int64_t>(sampled.size()), hidden,
                                gather_rows(x, hidden, sampled), as_doubles(weight.download()),
                                expected);
    comparison.compare("norm", gather_rows(y, hidden, sampled), expected, kBf16Tolerance);
  });
  return y;
}

void add_norm_backward(PreparedCase& prepared, std::int64_t rows, std::int64_t hidden) {
  const auto& x = prepared.random<Bf16>(rows * hidden, 1);
  const auto& weight = prepared.random<Bf16>(hidden, 0.5, 1);
  const auto& dy = prepared.random<Bf16>(rows * hidden, 1);
  auto& dx = prepared.output<Bf16>(rows * hidden);
  auto& dweight = prepared.output<float>(hidden);
  const std::size_t shared = norm_backward_shared_bytes(static_cast<int>(hidden));
  const int blocks = grid_of(prepared.device(), &rms_norm_backward, kNormThreads, shared, rows);
  auto& partial = prepared.output<float>(blocks * hidden);
  prepared.add_kernel(&rms_norm_backward, kNormThreads, shared, rows, x.data(), weight.data(),
                      dy.data(), dx.data(), partial.data(), static_cast<int>(rows),
                      static_cast<int>(hidden), kEpsilon);
  prepared.add_kernel(&sum_partial, kNormThreads, 0, 1 + hidden / kNormThreads, partial.data(),
                      dweight.data(), blocks, static_cast<int>(hidden));
  prepared.add_check([=, &x, &weight, &dy, &dx, &dweight](Comparison& comparison) {
    comparison.all_written("dx", dx);
    // Row by row: dweight is the sum over all of them, dx is looked at for a sample.
    const std::vector<double> factors = as_doubles(weight.download());
    const std::vector<std::int64_t> sampled = spread(rows, kSampledRows);
    std::vector<double> sums(index(hidden));
    std::vector<double> gradient(index(hidden));
    std::vector<double> row_sums(index(hidden));
    for (std::int64_t row = 0; row < rows; ++row) {
      reference::rms_norm_backward<double>(1, hidden, rows_of(x, hidden)(row), factors,
                                           rows_of(dy, hidden)(row), gradient, row_sums);
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += row_sums[i];
      if (std::binary_search(sampled.begin(), sampled.end(), row))
        comparison.compare("dx", rows_of(dx, hidden)(row), gradient, kBf16Tolerance);
    }
    comparison.compare("dweight", as_doubles(dweight.download()), sums, kFp32Tolerance);
  });
}

Quantised add_quantise(PreparedCase& prepared, std::int64_t rows, std::int64_t hidden,
                       const Array<Bf16>& in) {
  auto& out = prepared.output<Fp8>(rows * hidden);
  auto& scales = prepared.output<float>(rows * scale_blocks(hidden));
  constexpr std::int64_t kWarps = kQuantiseThreads / 32;
  prepared.add_kernel(&quantise_rows, kQuantiseThreads, 0,
                      (rows * scale_blocks(hidden) + kWarps - 1) / kWarps, in.data(), out.data(),
                      scales.data(), rows, static_cast<int>(hidden));
  prepared.add_check([=, &in, &out, &scales](Comparison& comparison) {
    comparison.all_written("fp8", out);
    comparison.all_written("scales", scales);
    for (const std::int64_t row : spread(rows, kSampledRows))
      check_quantised_row("fp8", comparison, rows_of(in, hidden)(row), out, scales, row);
  });
  return {&out, &scales};
}

}  // namespace sim::device_code
