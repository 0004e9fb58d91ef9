// The readers of tables of GEMM, attention, MLA and streaming kernels, one file each kind of table.
// All read one file as KernelTable::read says.
#pragma once

#include <string>
#include <vector>

#include "models/calibration/measured_kernel.h"
#include "sim/input/text_file.h"

namespace sim {

using KernelReader = void(const KernelTable& table, const std::string& path,
                          std::vector<MeasuredKernel>& rows);

KernelReader read_aiconfigurator_gemm;
KernelReader read_aiconfigurator_attention_decode, read_aiconfigurator_attention_prefill;
KernelReader read_aiconfigurator_mla_decode, read_aiconfigurator_mla_prefill;
KernelReader read_infersim_gemm;
KernelReader read_infersim_attention_decode, read_infersim_attention_prefill;
KernelReader read_infersim_mla_decode, read_infersim_mla_prefill;

KernelReader read_llmservingsim_qwen, read_llmservingsim_sequences, read_llmservingsim_attention;
KernelReader read_llmservingsim_mixtral;
KernelReader read_infersim_sparse_decode, read_infersim_sparse_prefill;
KernelReader read_infersim_scores_decode, read_infersim_scores_prefill;
KernelReader read_frontier_gating;
KernelReader read_deepseek_trace;
KernelReader read_deepgemm_published;

// The text of a field as a format, or an error at the field.
KernelFormat format_in(const CsvFile& file, std::size_t column);

// Marks a row that would need more than 1.05 of `flops` or `bytes_per_s` of the data sheet. Bytes
// count only where they are more than twice the L2 (100 MB on Hopper): less may stay in it between
// repeats.
struct DataSheet {
  double flops = 0;
  double bytes_per_s = 0;
};
void mark_beyond(const DataSheet& sheet, MeasuredKernel& row);

}  // namespace sim
