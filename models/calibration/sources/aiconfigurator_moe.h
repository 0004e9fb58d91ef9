// What the MoE tables of the aiconfigurator database have in common.
//
// `latency` is in milliseconds, of one rank's fused call: GEMMs, activation, quantise, permute,
// weighted sum; no router, no communication; CUDA graph where possible. `num_tokens` counts those
// of the whole EP group. Which rows are not plausible, and why, is in kernel_forms.md, section 5,
// of the reference data; each rule stands where it is applied.
#pragma once

#include "models/calibration/measured_kernel.h"
#include "sim/input/text_file.h"

namespace sim {

struct MoeColumns {
  explicit MoeColumns(const CsvFile& file);
  std::size_t framework, version, source, dtype, tokens, hidden, inter, top_k, experts, tp, ep,
      distribution, latency;
};

// A row with everything but `source`; `routing` says what to draw. Throws Error at a field that
// cannot be.
MeasuredKernel moe_row(const KernelTable& table, const CsvFile& file, const MoeColumns& columns,
                       std::int64_t number);

// Marks a row that would need more than 1.05 of the data sheet's memory bandwidth for the weights
// that it touches (when they are more than twice the L2), or more than its flops. `time_s` is set.
void mark_beyond_the_data_sheet(MeasuredKernel& row);

void mark(MeasuredKernel& row, std::string why);

}  // namespace sim
