// The routers of Frontier's profiles (A800, H800): moe_gating_linear is one bf16 GEMM of tokens x
// experts x hidden. Times are milliseconds of CUDA events with the launch inside; the least of
// twenty is nearest to the kernel. Its top-k and shuffling run as several PyTorch kernels and are
// left out.
#include "models/calibration/measured_operators.h"
#include "models/calibration/sources/dense_readers.h"

namespace sim {

void read_frontier_gating(const KernelTable& table, const std::string& path,
                          std::vector<MeasuredKernel>& rows) {
  constexpr std::int64_t kMost = std::int64_t{1} << 24;
  CsvFile file(path);
  const std::size_t time = file.column("time_stats.moe_gating_linear.min");
  const std::size_t tokens = file.column("num_tokens");
  const std::size_t experts = file.column("num_experts");
  const std::size_t hidden = file.column("hidden_dim");
  for (std::int64_t number = 1; file.next(); ++number) {
    if (file.text(time).empty()) continue;
    MeasuredKernel row = kernel_of(table, number);
    row.source = "cublas";
    row.framework = "frontier";
    row.family = KernelFamily::kGemm;
    row.note = "host time included";
    row.time_s = file.number(time, 1e-4, 1e6) * 1e-3;
    row.op = gemm_operator(row.format, file.count(tokens, kMost), file.count(experts, kMost),
                           file.count(hidden, kMost));
    row.op.name = "router";
    rows.push_back(std::move(row));
  }
}

}  // namespace sim
