// From router logits to rows in expert order and back: top-k gate, permute, un-permute, with their
// gradients. T is float or double; arrays lie row by row.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace sim::reference {

enum class Gate { kSoftmax, kSigmoid };
Gate gate_of(std::string_view word);  // "softmax", "sigmoid"

struct TopKShape {
  std::int64_t tokens = 0;
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  Gate gate = Gate::kSoftmax;
};

// choices[tokens][top_k]: the largest logits, the largest first, of equal ones the lower expert.
// weights[tokens][top_k]: softmax or sigmoid of the logit, divided by the sum over the chosen, so
// that they add up to 1 (Mixtral, Qwen3 and, up to its scaling factor and bias, DeepSeek-V3).
template <class T>
void top_k(const TopKShape& shape, std::span<const T> logits, std::span<std::int32_t> choices,
           std::span<T> weights);

// dlogits[tokens][experts]: all are written; those of experts that were not chosen are zero.
template <class T>
void top_k_backward(const TopKShape& shape, std::span<const T> logits,
                    std::span<const std::int32_t> choices, std::span<const T> weights,
                    std::span<const T> dweights, std::span<T> dlogits);

// Choices as rows in expert order: stable, so an expert's rows are in the order of their tokens.
// A flat choice is token * top_k + slot.
struct ExpertOrder {
  std::vector<std::int64_t> offsets;   // per expert where its rows begin, and at the end how many
  std::vector<std::int32_t> source;    // per row: its flat choice
  std::vector<std::int32_t> position;  // per flat choice: its row
};
void order_by_expert(std::span<const std::int32_t> choices, std::int64_t experts,
                     ExpertOrder& order);

struct PermuteShape {
  std::int64_t tokens = 0;
  std::int64_t hidden = 0;
  std::int64_t top_k = 0;
};

// rows[tokens * top_k][hidden] = x[token of the row]; dx = sum over a token's rows, unweighted.
template <class T>
void permute(const PermuteShape& shape, const ExpertOrder& order, std::span<const T> x,
             std::span<T> rows);
template <class T>
void permute_backward(const PermuteShape& shape, const ExpertOrder& order, std::span<const T> drows,
                      std::span<T> dx);

// y[token] = sum over slots of weights[token][slot] * its row.
template <class T>
void unpermute(const PermuteShape& shape, const ExpertOrder& order, std::span<const T> rows,
               std::span<const T> weights, std::span<T> y);
template <class T>
void unpermute_backward(const PermuteShape& shape, const ExpertOrder& order,
                        std::span<const T> rows, std::span<const T> weights, std::span<const T> dy,
                        std::span<T> drows, std::span<T> dweights);

// Choices that give every expert the wanted rows, each token's experts distinct: the experts' rows
// one after the other are dealt to the tokens in turn, which are then shuffled.
// REQUIRES: the rows add up to tokens * top_k and none is above tokens.
std::vector<std::int32_t> choices_with_rows(std::span<const std::int64_t> rows, std::int64_t tokens,
                                            std::int64_t top_k, std::uint64_t seed);

}  // namespace sim::reference
