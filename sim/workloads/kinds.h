// What a task is, and which cause its time is booked under: the vocabulary of every step-based
// workload.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "models/operators.h"
#include "sim/core/observer.h"

namespace sim {

// The first ones are OperatorKind, in its order.
enum class TaskKind : std::int16_t {
  kEmbedding,
  kNorm,
  kAttention,
  kGate,
  kPermute,
  kDenseFfn,
  kSharedExpert,
  kExperts,
  kLmHead,
  kSampling,
  kOptimizer,
  kDispatch,
  kCombine,
  kAllGather,          // over a tensor-parallel group
  kReduceScatter,      // likewise
  kContextExchange,    // keys and values over a context-parallel group
  kPipelineSend,       // activations to the next stage, their gradients to the one before
  kGradientReduction,  // over replicas: all-reduce, or reduce-scatter where states are sharded
  kParameterGather,    // sharded parameters to all that compute with them
  kHostLaunch,
};
inline constexpr std::array<std::string_view, 20> kTaskKindNames = {
    "embedding",        "norm",
    "attention",        "gate",
    "permute",          "dense_ffn",
    "shared_expert",    "experts",
    "lm_head",          "sampling",
    "optimizer",        "dispatch",
    "combine",          "all_gather",
    "reduce_scatter",   "context_exchange",
    "pipeline_send",    "gradient_reduction",
    "parameter_gather", "host_launch"};

// Which pass of training a kernel belongs to; inference is all forward.
enum class PassKind : std::int8_t { kForward, kRecompute, kInputGradient, kWeightGradient };
inline constexpr std::array<std::string_view, 4> kPassKindNames = {
    "forward", "recompute", "input_gradient", "weight_gradient"};

constexpr TaskKind kind_of(OperatorKind kind) { return static_cast<TaskKind>(kind); }
constexpr bool is_communication(TaskKind kind) {
  return kind >= TaskKind::kDispatch && kind <= TaskKind::kParameterGather;
}

// Causes along the critical path. Where the path runs through a straggler's experts, the part above
// the mean over ranks is the straggler's: of the rank with the most rows `token_straggler`, of
// another one `gemm_straggler`.
enum class Cause : CauseId {
  kEmbedding,
  kNorm,
  kAttention,
  kGate,
  kPermute,
  kDenseFfn,
  kSharedExpert,
  kExpert,
  kLmHead,
  kSampling,
  kOptimizer,
  kTokenStraggler,
  kGemmStraggler,
  kNetwork,
  kCongestion,
  kStartup,
  kLaunch,
  kSlowDevice,  // a disturbed device's kernels above their time on an undisturbed one
  kJitter,      // the same of a random spread of kernel times
};
inline constexpr std::array<std::string_view, 19> kCauseNames = {
    "embedding",      "norm",    "attention",  "gate",     "permute",   "dense_ffn",
    "shared_expert",  "expert",  "lm_head",    "sampling", "optimizer", "token_straggler",
    "gemm_straggler", "network", "congestion", "startup",  "launch",    "slow_device",
    "jitter"};
static_assert(kCauseNames.size() <= kMaxCauses);

constexpr CauseId id_of(Cause cause) { return static_cast<CauseId>(cause); }
constexpr CauseId cause_of(OperatorKind kind) { return static_cast<CauseId>(kind); }
static_assert(static_cast<int>(OperatorKind::kOptimizer) == static_cast<int>(TaskKind::kOptimizer));
static_assert(static_cast<int>(OperatorKind::kOptimizer) == static_cast<int>(Cause::kOptimizer));

}  // namespace sim
