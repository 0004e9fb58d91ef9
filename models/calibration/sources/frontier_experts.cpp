// Fused expert layers of NetX-lab/Frontier: vLLM's Triton kernel, uniform routing, medians in
// milliseconds, timed with CUDA events around a launch from the host.
//
// The rank is handed num_tokens x router_topk rows, whatever the expert-parallel group's size. The
// host's launch floor (0.12 ms on H800) hides every kernel that is shorter: a table's rows within
// one and a half times of its least time are marked.
#include <algorithm>

#include "models/calibration/sources/aiconfigurator_moe.h"
#include "models/calibration/sources/expert_readers.h"
#include "sim/input/text_file.h"

namespace sim {

void read_frontier_moe(const KernelTable& table, const std::string& path,
                       std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const std::size_t tokens = file.column("num_tokens");
  const std::size_t local = file.column("num_experts_per_device");
  const std::size_t top_k = file.column("router_topk");
  const std::size_t hidden = file.column("hidden_dim");
  const std::size_t inter = file.column("expert_hidden_dim");
  const std::size_t width = file.column("num_tensor_parallel_workers");
  const std::size_t median = file.column("time_stats.moe_grouped_gemm.median");
  const std::size_t first = rows.size();
  for (std::int64_t number = 1; file.next(); ++number) {
    if (file.text(median).empty()) continue;  // a row about another kernel
    if (file.has("load_distribution") && file.text(file.column("load_distribution")) != "uniform") {
      continue;  // the rows of a skewed load are not told
    }
    MeasuredKernel row = kernel_of(table, number);
    row.source = "vllm-triton";
    row.framework = "frontier";
    row.format = *parse_kernel_format("bf16");
    row.distribution = "balanced";
    const std::int64_t count = file.count(local, 1 << 16);
    const std::int64_t split = file.count(width, 1 << 16);
    if (count < 1 || split < 1) file.fail(local, "a row has experts and a width");
    ExpertFfn& experts = row.experts;
    experts.hidden = file.count(hidden, 1 << 24);
    experts.inter = file.count(inter, 1 << 24) / split;
    experts.tokens = file.count(tokens, 1 << 28);
    experts.top_k = file.count(top_k, 1024);
    experts.experts = count;
    const std::int64_t total = experts.tokens * experts.top_k;
    if (total < 1) file.fail(tokens, "a row has tokens and choices");
    std::vector<std::int64_t>& draw =
        row.draws.emplace_back(static_cast<std::size_t>(count), total / count);
    for (std::int64_t i = 0; i < total % count; ++i) ++draw[static_cast<std::size_t>(i)];
    row.time_s = file.number(median, 1e-6, 1e6) * 1e-3;
    rows.push_back(std::move(row));
  }
  double least = 1e300;
  for (std::size_t i = first; i < rows.size(); ++i) least = std::min(least, rows[i].time_s);
  for (std::size_t i = first; i < rows.size(); ++i) {
    if (rows[i].time_s < 1.5 * least) mark(rows[i], "the host's launch floor hides the kernel");
  }
}

}  // namespace sim
