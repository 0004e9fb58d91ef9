// The fused MoE kernels of vLLM and SGLang (aiconfigurator, moe_perf).
#include "models/calibration/sources/aiconfigurator_moe.h"

#include "models/calibration/sources/expert_readers.h"
#include "models/calibration/table_names.h"

namespace sim {
namespace {

// DeepSeek-V3's shape in formats whose kernels run the model's own gate: at one rank times are
// those of about 4 + 4 tokens experts, not of 8 tokens; on 64 ranks balanced rows take 14 times
// those of a like shape with as many rows, and power laws half of the balanced.
bool routed_by_its_own_gate(const MeasuredKernel& row) {
  const bool deepseek_v3 =
      row.experts.hidden == 7168 && row.routing.top_k == 8 && row.routing.experts == 256;
  const bool format = row.format.stored == DType::kNvfp4 ||
                      (row.format.stored == DType::kFp8 && row.format.block_scales);
  return deepseek_v3 && format;
}

}  // namespace

void read_aiconfigurator_moe(const KernelTable& table, const std::string& path,
                             std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const MoeColumns columns(file);
  for (std::int64_t number = 1; file.next(); ++number) {
    MeasuredKernel row = moe_row(table, file, columns, number);
    const std::string in_table(file.text(columns.source));
    const std::string_view ours = kernel_of_table_name(in_table);
    if (ours.empty()) {
      file.fail(columns.source, "'" + in_table + "' is not a kernel that this reader knows");
    }
    row.source = ours;
    const bool sglang = row.source.starts_with("sglang");
    if (row.routing.ranks > 1 && sglang) {
      mark(row, "choices of other ranks were sent to expert 0 and computed");
    } else if (row.routing.ranks > 1 && row.framework == "vllm 0.14.0") {
      mark(row, "ranks of an expert-parallel group: no form fits these rows");
    } else if (routed_by_its_own_gate(row)) {
      mark(row, "group-limited gating overrode the synthetic routing");
    }
    mark_beyond_the_data_sheet(row);
    rows.push_back(std::move(row));
  }
}

}  // namespace sim
