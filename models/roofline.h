// The roofline: a kernel takes as long as its flops at the reachable peak or its bytes at the
// reachable memory bandwidth, whichever is longer.
//
//   time = max(flops / (peak x compute_efficiency x sms / device.sms),
//              bytes / (memory_bandwidth x memory_efficiency))
//
// The expert FFN is two grouped GEMMs with the activation between, one after the other:
//   flops of a GEMM = 2 n k x rows
//   bytes of a GEMM = weights of every expert with rows > 0, and activations of the real rows
// so that skew is cheaper than balance when few rows hit few experts (bytes), and dearer when many
// do, on the rank that has most (flops). Its backward passes are two products each, likewise
// (expert_work.h).
//
// Source: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009.
// Valid: a lower bound of every kernel that reads its operands from memory; large kernels of a
// well-tuned library come within a fifth of it. Against slower kernels (Triton, weight-only
// formats) data-sheet rooflines miss 64 % in the median: constants should replace it.
// Ignores: launch latency, waves over SMs, tile shapes, L2, fewer SMs pulling less bandwidth,
// kernels that reach neither roof (small attention, routing, weight-only formats).
#pragma once

#include "models/cost_model.h"

namespace sim {

class Roofline : public CostModel {
 public:
  KernelCost cost(const Operator& op, const Device& device, int sms) const override;
  KernelCost cost(const ExpertFfn& ffn, const Device& device, int sms) const override;
};

}  // namespace sim
