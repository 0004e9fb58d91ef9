// Linear costs of a layer's operations, as FSMoE (arXiv 2501.10714, figure 5) publishes them for
// its two testbeds, and what a layer of given sizes comes to.
//
// The paper prints no units of the slopes. Read here: elements that a GPU sends or receives for
// communication, multiply-adds of one GPU for matrix products. Under this reading table 2 of the
// paper gives the all-reduce of testbed A to the last printed digit (3/8 hidden^2 elements for
// GPT2-XL: fused q, k, v weights over 8 GPUs), and its all-to-alls within 10 %; its all-gather only
// if the printed slope is ten times too large (fsmoe-a-corrected).
#pragma once

#include <array>
#include <string_view>

#include "sim/workloads/layer_operations.h"

namespace sim {

struct LinearCost {
  double start_ms = 0;
  double per_unit_ms = 0;  // per element, or per multiply-add
};

struct LinearCosts {
  std::string_view name;
  std::string_view help;
  int gpus_per_node = 1;  // that share tensors and experts: N_MP = N_ESP
  LinearCost gemm;        // of one matrix product
  LinearCost all_to_all;
  LinearCost all_gather;
  LinearCost reduce_scatter;
  LinearCost all_reduce;
  double routing_ms = 0;  // table 2: alike for both models
  double order_ms = 0;    // forward
  double order_backward_ms = 0;
};

inline constexpr std::array<LinearCosts, 3> kPublishedCosts = {{
    {"fsmoe-a",
     "6 nodes of 8 RTX A6000, as printed",
     8,
     {4.26e-2, 2.29e-11},
     {2.87e-1, 2.21e-7},
     {3.37e-1, 2.32e-6},
     {3.95e-1, 2.34e-7},
     {5.11e-1, 4.95e-6},
     0.1,
     0.3,
     0.4},
    {"fsmoe-a-corrected",
     "likewise, the slope of all-gather a tenth of what is printed (assumed a misprint)",
     8,
     {4.26e-2, 2.29e-11},
     {2.87e-1, 2.21e-7},
     {3.37e-1, 2.32e-7},
     {3.95e-1, 2.34e-7},
     {5.11e-1, 4.95e-6},
     0.1,
     0.3,
     0.4},
    {"fsmoe-b",
     "8 nodes of 4 RTX 2080 Ti, as printed",
     4,
     {9.24e-2, 4.42e-11},
     {1.75e-1, 3.06e-7},
     {3.20e-2, 1.68e-7},
     {3.91e-2, 1.67e-7},
     {8.37e-2, 5.99e-7},
     0.1,
     0.3,
     0.3},
}};

// Slopes and start-ups; routing and order; the elements of a gradient (read off the last two rows).
inline constexpr std::string_view kCostsSource =
    "FSMoE, arXiv 2501.10714, figure 5; table 2, routing and order; fsmoe-06-all-reduce";

// A transformer layer whose feed-forward part is a mixture of experts, one expert per node, each
// sharded over the node's GPUs.
struct LayerShape {
  int batch = 1;  // sequences per GPU
  int sequence_length = 1;
  int hidden = 1;
  double ffn_ratio = 4;  // hidden size of an expert over `hidden`
  double capacity_factor = 1;
  int top_k = 2;
  bool gated = false;  // three matrices per expert (Mixtral), else two
};

LayerOperations operations_of(const LinearCosts& costs, const LayerShape& shape);

}  // namespace sim
