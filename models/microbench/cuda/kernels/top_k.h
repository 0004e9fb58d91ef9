// The gate: of each token's logits the largest top_k, the largest first and of equal ones the lower
// expert; weights are softmax or sigmoid over the chosen, adding up to 1. One warp per token.
#pragma once

#include "models/microbench/cuda/device_code.h"

namespace sim::device_code {

constexpr int kGateThreads = 256;
constexpr int kMostExpertsPerLane = 16;
constexpr int kMostGateExperts = 32 * kMostExpertsPerLane;
constexpr int kMostChoices = 32;  // a lane keeps one choice

struct TopKArguments {
  const Bf16* logits;     // [tokens][experts]
  std::int32_t* choices;  // [tokens][top_k]
  float* weights;
  int tokens;
  int experts;
  int top_k;
};

constexpr float kLog2E = 1.44269504F;
constexpr float kLowest = -3.0e38F;

MOE_DEVICE float sigmoid(float x) { return 1.0F / (1.0F + exponential_2(-x * kLog2E)); }

// The score that weights are made of: shifted by the largest logit for softmax, where it cancels.
template <bool kSigmoid>
MOE_DEVICE float gate_score(float logit, float largest) {
  return kSigmoid ? sigmoid(logit) : exponential_2((logit - largest) * kLog2E);
}

template <bool kSigmoid>
MOE_KERNEL(kGateThreads)
top_k_forward(TopKArguments arguments) {
  const int lane = thread_index() % 32;
  const int warps = thread_count() / 32;
  for (int token = block_index() * warps + thread_index() / 32; token < arguments.tokens;
       token += block_count() * warps) {
    const Bf16* logits = arguments.logits + static_cast<std::int64_t>(token) * arguments.experts;
    float mine[kMostExpertsPerLane];
    MOE_UNROLL
    for (int i = 0; i < kMostExpertsPerLane; ++i) {
      const int expert = lane + 32 * i;
      mine[i] = expert < arguments.experts ? to_float(logits[expert]) : kLowest;
    }
    float largest = 0;
    float my_score = 0;
    int my_choice = 0;
    for (int slot = 0; slot < arguments.top_k; ++slot) {
      float best = kLowest;
      int best_expert = kMostGateExperts;
      MOE_UNROLL
      for (int i = 0; i < kMostExpertsPerLane; ++i)
        if (mine[i] > best) {
          best = mine[i];
          best_expert = lane + 32 * i;
        }
      for (int mask = 16; mask > 0; mask /= 2) {
        const float other = shuffle_xor(best, mask);
        const int other_expert = shuffle_xor(best_expert, mask);
        if (other > best || (other == best && other_expert < best_expert)) {
          best = other;
          best_expert = other_expert;
        }
      }
      MOE_UNROLL
      for (int i = 0; i < kMostExpertsPerLane; ++i)
        if (lane + 32 * i == best_expert) mine[i] = kLowest;
      if (slot == 0) largest = best;
      if (slot == lane) {
        my_choice = best_expert;
        my_score = gate_score<kSigmoid>(best, largest);
      }
    }
    const float sum = warp_sum(my_score);
    if (lane < arguments.top_k) {
      const std::int64_t at = static_cast<std::int64_t>(token) * arguments.top_k + lane;
      arguments.choices[at] = my_choice;
      arguments.weights[at] = my_score / sum;
    }
  }
}

struct TopKBackwardArguments {
  const Bf16* logits;
  const std::int32_t* choices;
  const float* weights;
  const float* dweights;
  Bf16* dlogits;  // all written; zero where an expert was not chosen
  int tokens;
  int experts;
  int top_k;
};

// With w = s / sum(s): dlogit = w * (dw - sum(w dw)), for sigmoid times (1 - s), since ds/dl is s
// for exp and s (1 - s) for sigmoid.
template <bool kSigmoid>
MOE_KERNEL(kGateThreads)
top_k_backward(TopKBackwardArguments arguments) {
  const int lane = thread_index() % 32;
  const int warps = thread_count() / 32;
  for (int token = block_index() * warps + thread_index() / 32; token < arguments.tokens;
       token += block_count() * warps) {
    const std::int64_t row = static_cast<std::int64_t>(token) * arguments.experts;
    const std::int64_t at = static_cast<std::int64_t>(token) * arguments.top_k + lane;
    const bool chosen = lane < arguments.top_k;
    const float weight = chosen ? arguments.weights[at] : 0.0F;
    const float dweight = chosen ? arguments.dweights[at] : 0.0F;
    const float mean = warp_sum(weight * dweight);
    for (int expert = lane; expert < arguments.experts; expert += 32)
      arguments.dlogits[row + expert] = to_bf16(0.0F);
    sync_warp();  // the zeros come before the gradients
    if (chosen) {
      const int expert = arguments.choices[at];
      float gradient = weight * (dweight - mean);
      if (kSigmoid) gradient *= 1.0F - sigmoid(to_float(arguments.logits[row + expert]));
      arguments.dlogits[row + expert] = to_bf16(gradient);
    }
  }
}

}  // namespace sim::device_code
