// Gate, expert order, permute and un-permute as steps of a case, with their gradients.
#pragma once

#include "models/microbench/cuda/cases/prepared_case.h"
#include "models/microbench/reference/routing.h"

namespace sim::device_code {

struct RoutedShape {
  std::int64_t tokens = 0;
  std::int64_t hidden = 0;
  std::int64_t top_k = 0;
  std::int64_t experts = 0;
  std::int64_t choices() const { return tokens * top_k; }
};

// Choices that give every expert its rows of the case; without rows there, all alike.
std::vector<std::int32_t> choices_of(const KernelCase& what, const RoutedShape& shape);
// Logits in which a token's choices stand out, so that the gate finds just them, in their order.
std::vector<Bf16> logits_for(const std::vector<std::int32_t>& choices, const RoutedShape& shape);

struct Gated {
  Array<std::int32_t>* choices;
  Array<float>* weights;
};
Gated add_top_k(PreparedCase& prepared, const RoutedShape& shape, reference::Gate gate,
                const Array<Bf16>& logits);
void add_top_k_backward(PreparedCase& prepared, const RoutedShape& shape, reference::Gate gate);

struct Ordered {
  const std::int32_t* offsets;
  const std::int32_t* position;
  reference::ExpertOrder host;  // what it must be
};
// `host_choices`: what `choices` holds when the step runs.
Ordered add_expert_order(PreparedCase& prepared, const RoutedShape& shape,
                         const Array<std::int32_t>& choices,
                         const std::vector<std::int32_t>& host_choices);
// The order of such choices, put on the device without a step.
Ordered known_order(PreparedCase& prepared, const RoutedShape& shape,
                    const std::vector<std::int32_t>& host_choices);

Array<Bf16>& add_permute(PreparedCase& prepared, const RoutedShape& shape, const Ordered& order,
                         const Array<Bf16>& x);
void add_permute_quantised(PreparedCase& prepared, const RoutedShape& shape, const Ordered& order,
                           const Array<Bf16>& x);
// weights null: all 1, which is the gradient of permute.
Array<Bf16>& add_unpermute(PreparedCase& prepared, const RoutedShape& shape, const Ordered& order,
                           const Array<Bf16>& rows, const Array<float>* weights);
void add_unpermute_backward(PreparedCase& prepared, const RoutedShape& shape, const Ordered& order);

}  // namespace sim::device_code
