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
  kDispatch,
  kCombine,
  kAllGather,
  kReduceScatter,
  kHostLaunch,
};
inline constexpr std::array<std::string_view, 15> kTaskKindNames = {
    "embedding", "norm",          "attention",  "gate",           "permute",
    "dense_ffn", "shared_expert", "experts",    "lm_head",        "sampling",
    "dispatch",  "combine",       "all_gather", "reduce_scatter", "host_launch"};

constexpr TaskKind kind_of(OperatorKind kind) { return static_cast<TaskKind>(kind); }
constexpr bool is_communication(TaskKind kind) {
  return kind >= TaskKind::kDispatch && kind <= TaskKind::kReduceScatter;
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
  kTokenStraggler,
  kGemmStraggler,
  kNetwork,
  kCongestion,
  kStartup,
  kLaunch,
};
inline constexpr std::array<std::string_view, 16> kCauseNames = {
    "embedding",     "norm",       "attention", "gate",     "permute",         "dense_ffn",
    "shared_expert", "expert",     "lm_head",   "sampling", "token_straggler", "gemm_straggler",
    "network",       "congestion", "startup",   "launch"};

constexpr CauseId id_of(Cause cause) { return static_cast<CauseId>(cause); }
constexpr CauseId cause_of(OperatorKind kind) { return static_cast<CauseId>(kind); }
static_assert(static_cast<int>(OperatorKind::kSampling) == static_cast<int>(TaskKind::kSampling));
static_assert(static_cast<int>(OperatorKind::kSampling) == static_cast<int>(Cause::kSampling));

}  // namespace sim
