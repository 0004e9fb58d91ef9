// The expert layers behind a dispatch (aiconfigurator, wideep tables): the rank is handed the rows
// of its own experts.
//
// SGLang with DeepEP runs DeepGEMM: the masked kernel in decode, the contiguous one in prefill. The
// prefill table holds about 0.24 ms of host time per call, and all tokens of the group are walked.
// TensorRT-LLM runs CUTLASS, with and without its balancer (EPLB, with redundant slots).
#include <fmt/format.h>

#include "models/calibration/sources/aiconfigurator_moe.h"
#include "models/calibration/sources/expert_readers.h"

namespace sim {
namespace {

// What call_of() makes of a kernel that sees local rows only.
void hand_over_local_rows(MeasuredKernel& row) {
  row.experts.tokens = 0;
  row.experts.top_k = 0;
  row.experts.experts = 0;
}

}  // namespace

void read_aiconfigurator_wide_ep(const KernelTable& table, const std::string& path,
                                 std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const MoeColumns columns(file);
  const std::size_t operation = file.column("op_name");
  for (std::int64_t number = 1; file.next(); ++number) {
    MeasuredKernel row = moe_row(table, file, columns, number);
    const bool decode = file.text(operation) == "moe_generation";
    if (!decode && file.text(operation) != "moe_context") {
      file.fail(operation, "neither moe_generation nor moe_context");
    }
    row.source = decode ? "deepgemm-masked" : "deepgemm-contiguous";
    if (decode) {
      hand_over_local_rows(row);
    } else if (row.routing.exponent == 0 &&
               row.routing.tokens * row.routing.top_k < 64 * row.routing.experts) {
      mark(row, "uniform prefill of few tokens touched a few experts only");
    }
    mark_beyond_the_data_sheet(row);
    rows.push_back(std::move(row));
  }
}

void read_aiconfigurator_trtllm_moe(const KernelTable& table, const std::string& path,
                                    std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const MoeColumns columns(file);
  const std::size_t slots = file.column("num_slots");
  for (std::int64_t number = 1; file.next(); ++number) {
    MeasuredKernel row = moe_row(table, file, columns, number);
    row.source = "trtllm-cutlass";
    hand_over_local_rows(row);
    if (row.distribution.ends_with("_eplb")) {
      row.routing.slots = file.count(slots, 1 << 16);
      if (row.routing.slots < row.routing.experts || row.routing.slots % row.routing.ranks != 0) {
        file.fail(slots, "the slots hold every expert, and as many on every rank");
      }
      row.distribution += fmt::format("_{}", row.routing.slots);
    }
    mark_beyond_the_data_sheet(row);
    rows.push_back(std::move(row));
  }
}

}  // namespace sim
