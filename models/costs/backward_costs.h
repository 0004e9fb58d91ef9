// Kernels of the backward pass by the constants of the forward kernel of the same work.
//
//   GEMM:       a GEMM of its own sizes, as any other; an 8-bit weight gradient on devices whose
//               tensor cores know no scaled format takes 1.72 times that beyond its start: fitted
//               to the 28 of the training trace that DeepSeek published (github.com/deepseek-ai/
//               profile-data, train.json; H800, 112 SMs), which run at 600 to 690 TFLOPS
//   experts:    the backward products of the grouped form (grouped_gemm_form.cpp); the same 1.72
//   attention:  t = fixed + max((forward - fixed) f / 0.863, bytes / B memory)
//               f: flops over the forward's (five products for two; 2.5 where keys are as wide as
//               values); 0.863: FlashAttention-2 reaches 63 % of an A100's peak backward and 73 %
//               forward (Dao, arXiv 2307.08691, section 4.1; as remembered, not looked up again)
//   streaming:  the form, on the bytes of the backward kernel
// All but GEMMs are labelled `assumed`: no public table measures these kernels. Held against the
// same trace (tests/models/backward_trace_test.cpp): attention's backward over its forward, 3.05
// there and 2.96 here; experts' weight gradients, 5.2 ms a layer and 5.0.
#pragma once

#include "models/costs/calibrated_costs.h"

namespace sim {

// REQUIRES of both: a backward pass; constants of its family.
KernelCost backward_cost(const KernelConstants& constants, const Operator& op, const Device& device,
                         int sms);
KernelCost backward_cost(const KernelConstants& constants, const ExpertFfn& ffn,
                         const Device& device, int sms);

}  // namespace sim
