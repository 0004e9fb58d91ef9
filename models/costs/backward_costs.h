// Kernels of the backward pass by the constants of the forward kernel of the same work.
//
//   GEMM:       a GEMM of its own sizes, as any other: the label stays
//   experts:    the backward products of the grouped form (grouped_gemm_form.cpp)
//   attention:  t = fixed + max((forward - fixed) f / 0.863, bytes / B memory)
//               f: flops over the forward's (five products for two; 2.5 where keys are as wide as
//               values); 0.863: FlashAttention-2 reaches 63 % of an A100's peak backward and 73 %
//               forward (Dao, arXiv 2307.08691, section 4.1)
//   streaming:  the form, on the bytes of the backward kernel
// All but GEMMs are labelled `assumed`: no public table measures these kernels.
#pragma once

#include "models/costs/calibrated_costs.h"

namespace sim {

// REQUIRES of both: a backward pass; constants of its family.
KernelCost backward_cost(const KernelConstants& constants, const Operator& op, const Device& device,
                         int sms);
KernelCost backward_cost(const KernelConstants& constants, const ExpertFfn& ffn,
                         const Device& device, int sms);

}  // namespace sim
