// Compiled twice: as CUDA by product_cases.cu, and by the host compiler for the tests.
#include "models/microbench/cuda/cases/product_check.h"
#include "models/microbench/cuda/cases/product_step.h"

namespace sim::device_code {
namespace {

// Up to so many rows per expert in the mean, tiles of 32 rows waste less than tiles of 128.
constexpr std::int64_t kFewRows = 32;

std::int64_t rounded_up(std::int64_t value, std::int64_t tile) { return (value + tile - 1) / tile; }

template <typename Gemm>
std::int64_t tiles_of(const GroupedProblem& problem) {
  const std::int64_t rows = Gemm::Shape::kRows;
  const std::int64_t columns = Gemm::Shape::kColumns;
  if (Gemm::kPass == GemmPass::kWgrad)
    return problem.experts() * rounded_up(problem.n, rows) * rounded_up(problem.k, columns);
  std::int64_t row_tiles = 0;
  for (std::size_t e = 0; e + 1 < problem.host_offsets.size(); ++e)
    row_tiles += rounded_up(problem.host_offsets[e + 1] - problem.host_offsets[e], rows);
  return row_tiles * rounded_up(Gemm::kPass == GemmPass::kForward ? problem.n : problem.k, columns);
}

template <typename Gemm>
void add_own(PreparedCase& prepared, const GroupedProblem& problem) {
  using Value = typename Gemm::Shape::Value;
  typename Gemm::Arguments arguments{};
  arguments.a = static_cast<const Value*>(problem.a);
  arguments.b = static_cast<const Value*>(problem.b);
  arguments.out = problem.out;
  arguments.a_scales = problem.a_scales;
  arguments.b_scales = problem.b_scales;
  arguments.offsets = problem.offsets;
  arguments.experts = static_cast<int>(problem.experts());
  arguments.n = static_cast<int>(problem.n);
  arguments.k = static_cast<int>(problem.k);
  prepared.add_kernel(&grouped_gemm<Gemm>, kProductThreads, Gemm::shared_bytes(arguments.experts),
                      tiles_of<Gemm>(problem), arguments);
}

void add_kernel_of(PreparedCase& prepared, const GroupedProblem& problem) {
  if (prepared.vendor()) {
    VendorProduct& product =
        prepared.keep(prepared.device().vendor->prepare(problem, prepared.device()));
    prepared.add_step([&product] { product.enqueue(); });
  } else if (problem.pass == GemmPass::kWgrad) {
    add_own<Wgrad>(prepared, problem);
  } else if (problem.pass == GemmPass::kDgrad) {
    add_own<Dgrad>(prepared, problem);
  } else if (problem.fp8) {
    add_own<Fp8Forward>(prepared, problem);
  } else if (problem.host_offsets.back() <= kFewRows * problem.experts()) {
    add_own<SmallForward>(prepared, problem);
  } else {
    add_own<LargeForward>(prepared, problem);
  }
}

}  // namespace

RowOffsets row_offsets(PreparedCase& prepared, const std::vector<std::int64_t>& rows,
                       std::int64_t tile) {
  RowOffsets offsets;
  offsets.host = {0};
  for (const std::int64_t count : rows)
    offsets.host.push_back(offsets.host.back() + rounded_up(count, tile) * tile);
  offsets.device =
      prepared.uploaded(std::vector<std::int32_t>(offsets.host.begin(), offsets.host.end())).data();
  return offsets;
}

// The vendor's fp8 product has a scale of 1 per tensor; ours has scales that differ.
Matrix random_rows(PreparedCase& prepared, bool fp8, std::int64_t rows, std::int64_t width) {
  if (!fp8) return {&prepared.random<Bf16>(rows * width, 1)};
  return {
      nullptr, &prepared.random<Fp8>(rows * width, 1),
      prepared.vendor() ? nullptr : &prepared.random<float>(rows * scale_blocks(width), 0.5, 1)};
}
Matrix random_weights(PreparedCase& prepared, bool fp8, std::int64_t experts, std::int64_t n,
                      std::int64_t k) {
  if (!fp8) return {&prepared.random<Bf16>(experts * n * k, 1)};
  const std::int64_t blocks = experts * scale_blocks(n) * scale_blocks(k);
  return {nullptr, &prepared.random<Fp8>(experts * n * k, 1),
          prepared.vendor() ? nullptr : &prepared.random<float>(blocks, 0.5, 1)};
}

Array<Bf16>& add_product(PreparedCase& prepared, const std::string& name, GemmPass pass,
                         const RowOffsets& offsets, std::int64_t n, std::int64_t k, const Matrix& a,
                         const Matrix& b) {
  const std::int64_t out_width = pass == GemmPass::kForward ? n : k;
  Array<Bf16>& out = prepared.output<Bf16>(
      (pass == GemmPass::kWgrad ? offsets.experts() * n : offsets.total()) * out_width);
  GroupedProblem problem;
  problem.pass = pass;
  problem.fp8 = a.fp8 != nullptr;
  problem.out = out.data();
  problem.offsets = offsets.device;
  problem.host_offsets = offsets.host;
  problem.n = n;
  problem.k = k;
  ProductView view{pass, offsets.host, n, k, {}, {}, rows_of(out, out_width)};
  if (problem.fp8) {
    problem.a = a.fp8->data();
    problem.b = b.fp8->data();
    if (a.scales != nullptr) problem.a_scales = a.scales->data();
    if (b.scales != nullptr) problem.b_scales = b.scales->data();
    view.a = rows_of(*a.fp8, k, prepared.vendor() ? nullptr : a.scales,
                     [](std::int64_t row) { return row; });
    view.b = rows_of(*b.fp8, k, prepared.vendor() ? nullptr : b.scales,
                     [n](std::int64_t row) { return row / n * scale_blocks(n) + row % n / 128; });
  } else {
    problem.a = a.bf16->data();
    problem.b = b.bf16->data();
    view.a = rows_of(*a.bf16, pass == GemmPass::kForward ? k : n);
    view.b = rows_of(*b.bf16, k);
  }
  add_kernel_of(prepared, problem);
  prepared.add_check([name, view, &out](Comparison& comparison) {
    comparison.all_written(name, out);
    ProductCheck(view).run(name, comparison);
  });
  return out;
}

}  // namespace sim::device_code
