// Flops and bytes of an expert FFN's two matrix products and of what lies between, by pass.
//
//   forward:         up [rows x hidden] -> [rows x up], activation, down [rows x inter] -> hidden
//   input gradient:  of down: [rows x hidden] -> [rows x inter], of the activation, of up: ->
//   hidden weight gradient: of down: hidden x inter, of up: up x hidden, each over an expert's rows
// Each product has 2 rows n k flops. 8-bit formats: gradients of rows arrive unquantised and are
// written twice, by rows for the input gradient and by columns for the weight gradient; the saved
// input is turned to columns (DeepSeek-V3's report, section 3.3.3). Router weights are applied, and
// their gradient taken, in the activation (Megatron-Core; SonicMoE, arXiv 2512.14080), so the rows
// of the second product need not be kept.
#pragma once

#include "models/operators.h"

namespace sim {

struct ExpertProduct {
  double flops = 0;
  double weight_bytes = 0;
  double activation_bytes = 0;
};

struct ExpertWork {
  ExpertProduct first;       // in execution order
  ExpertProduct second;      // of a weight gradient: of up
  double between_bytes = 0;  // kernels beside the products
};

// REQUIRES: no negative rows.
ExpertWork expert_work(const ExpertFfn& ffn);

// The forward's activation alone, for a backward pass that did not keep its output. REQUIRES: the
// forward pass.
Operator expert_activation_operator(const ExpertFfn& ffn);

}  // namespace sim
