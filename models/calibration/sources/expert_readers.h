// The readers of tables of expert layers, one file each. All read one file as KernelTable::read
// says.
#pragma once

#include <string>
#include <vector>

#include "models/calibration/measured_kernel.h"

namespace sim {

using KernelReader = void(const KernelTable& table, const std::string& path,
                          std::vector<MeasuredKernel>& rows);

KernelReader read_aiconfigurator_moe;         // vLLM, SGLang
KernelReader read_aiconfigurator_wide_ep;     // SGLang's DeepEP layers: DeepGEMM
KernelReader read_aiconfigurator_trtllm_moe;  // TensorRT-LLM's wide-EP CUTLASS kernel, with EPLB
KernelReader read_aiconfigurator_skew;        // records of B200's DeepEP layers
KernelReader read_deepgemm_grouped;
KernelReader read_infersim_grouped;
KernelReader read_frontier_moe;

}  // namespace sim
