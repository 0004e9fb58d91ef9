// The roofline: a kernel takes as long as its flops at the reachable peak or its bytes at the
// reachable memory bandwidth, whichever is longer.
//
//   time = max(flops / (peak x compute_efficiency x sms / device.sms),
//              bytes / (memory_bandwidth x memory_efficiency))
//
// The expert FFN is two grouped GEMMs with the activation between, one after the other:
//   flops of a GEMM = 2 n k x sum over experts of ceil(rows / 64) x 64
//   bytes of a GEMM = weights of every expert with rows > 0, and activations of the real rows
// so that skew is cheaper than balance when few rows hit few experts (bytes), and dearer when many
// do, on the rank that has most (flops).
//
// Source: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009. The tile of 64 rows is the
// M of Hopper's warp-group MMA and DeepGEMM's smallest tile; kernels choose 16 to 128.
// Valid: large kernels of a well-tuned library. Against DeepGEMM on H800 (InferSim's tables, 71
// rows) it is 19 % too short in the median; against slower kernels (Triton, weight-only formats)
// data-sheet rooflines miss 64 % in the median. A fitted table should replace it.
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
