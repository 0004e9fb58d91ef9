// Adds a grouped product to a case: our kernel or the vendor's library.
#pragma once

#include "models/microbench/cuda/cases/prepared_case.h"
#include "models/microbench/cuda/cases/vendor_matrices.h"

namespace sim::device_code {

class MatrixCase : public PreparedCase {
 protected:
  MatrixCase(Device& device, const KernelCase& what)
      : PreparedCase(device), vendor_(what.implementation == "vendor") {}

  bool vendor() const { return vendor_; }

  // Where each expert's rows begin, and at the end how many there are.
  static std::vector<std::int64_t> offsets_of(const std::vector<std::int64_t>& rows,
                                              std::int64_t tile) {
    std::vector<std::int64_t> offsets = {0};
    for (const std::int64_t count : rows)
      offsets.push_back(offsets.back() + (count + tile - 1) / tile * tile);
    return offsets;
  }
  static std::vector<std::int32_t> narrow(const std::vector<std::int64_t>& values) {
    return {values.begin(), values.end()};
  }

  void add_product(const GroupedProblem& problem) {
    if (vendor_) {
      products_.push_back(device().vendor->prepare(problem, device()));
      add_step([product = products_.back().get()] { product->enqueue(); });
    } else if (problem.pass == GemmPass::kWgrad) {
      add_own<Wgrad>(problem);
    } else if (problem.pass == GemmPass::kDgrad) {
      add_own<Dgrad>(problem);
    } else if (problem.fp8) {
      add_own<Fp8Forward>(problem);
    } else if (problem.host_offsets.back() <= kFewRows * problem.experts()) {
      add_own<SmallForward>(problem);
    } else {
      add_own<LargeForward>(problem);
    }
  }

 private:
  // Up to so many rows per expert in the mean, tiles of 32 rows waste less than tiles of 128.
  static constexpr std::int64_t kFewRows = 32;

  template <typename Gemm>
  void add_own(const GroupedProblem& problem) {
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
    add_kernel(&grouped_gemm<Gemm>, kProductThreads, Gemm::shared_bytes(arguments.experts),
               tiles<Gemm>(problem), arguments);
  }

  template <typename Gemm>
  static std::int64_t tiles(const GroupedProblem& problem) {
    const auto up = [](std::int64_t value, std::int64_t tile) { return (value + tile - 1) / tile; };
    const std::int64_t rows = Gemm::Shape::kRows;
    const std::int64_t columns = Gemm::Shape::kColumns;
    if (Gemm::kPass == GemmPass::kWgrad)
      return problem.experts() * up(problem.n, rows) * up(problem.k, columns);
    std::int64_t row_tiles = 0;
    for (std::size_t e = 0; e + 1 < problem.host_offsets.size(); ++e)
      row_tiles += up(problem.host_offsets[e + 1] - problem.host_offsets[e], rows);
    return row_tiles * up(Gemm::kPass == GemmPass::kForward ? problem.n : problem.k, columns);
  }

  bool vendor_;
  std::vector<std::unique_ptr<VendorProduct>> products_;
};

}  // namespace sim::device_code
