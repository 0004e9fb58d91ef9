// The eight named imbalance workloads: each isolates one variable, so that a run can be asked "what
// does this kind of imbalance cost?".
//
// After the token-imbalance benchmark of Megatron-LM (pull request 7488, W0 to W7). What it states
// is kept: which experts are hot, that three tokens of four are hot (one of two in a burst), the
// period of 3 steps, the burst in one step of four, the half of the experts that nobody chooses.
// Different here, so that a workload does what its name says at any number of ranks:
//   - The imbalance is a parameter, `intensity`: the rows of the fullest expert over the mean
//     (source-ragged: tokens of the fullest rank over the mean). It is met, not only expected: the
//     experts of a token are dealt from shuffled decks, so that two equally hot experts differ by
//     a few rows at most, however few tokens there are.
//   - hot-rank and spread-hot know the expert-parallel degree (there: only numbers of experts, so
//     that hot-expert-set and hot-rank are the same set). Rank r holds the r-th of `expert_ranks`
//     contiguous blocks whose sizes differ by at most one, larger ones first.
//   - How ragged the sources are is not stated there: here tokens fall on a line from the first
//     rank to the last, their sum unchanged.
//   - Every token of one seed, step and layer comes from one stream over all ranks in order.
//
// How a token chooses: a hot token takes min(k, hot) of its k experts among the hot ones and the
// rest, if any, among the others; every other token takes k of all. With a share q of hot tokens
// and h hot ones of E experts the fullest expert has
//   intensity = q min(k, h) E / (k h) + (1 - q)
// times the mean, so at most min(E / k, E / h), where every token is hot.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "traces/expert_block.h"
#include "traces/routing.h"
#include "traces/synthetic/synthetic.h"

namespace sim {

enum class Workload : std::uint8_t {
  kBalanced,
  kHotExpertSet,
  kHotRank,
  kSpreadHot,
  kSourceRagged,
  kZeroLoadRank,
  kRotatingHotspot,
  kBurst
};

struct WorkloadParameter {
  std::string_view name;
  std::string_view fallback;  // in words
  std::string_view help;
};

inline constexpr WorkloadParameter kIntensity{
    "intensity", "three tokens of four are hot",
    "rows of the fullest expert over the mean (source-ragged: tokens of the fullest rank)"};
inline constexpr WorkloadParameter kBurstIntensity{
    "intensity", "one token of two is hot", "rows of the fullest expert over the mean, in a burst"};
inline constexpr WorkloadParameter kRankIntensity{"intensity",
                                                  "as hot-expert-set, or the most there can be",
                                                  "rows of the fullest expert over the mean"};
inline constexpr WorkloadParameter kRaggedIntensity{"intensity", "1.5",
                                                    "tokens of the fullest rank over the mean"};
inline constexpr WorkloadParameter kHotExperts{"hot_experts", "a quarter, at least top-k",
                                               "how many experts are hot"};
inline constexpr WorkloadParameter kSpreadExperts{"hot_experts", "as many as a rank holds",
                                                  "how many experts are hot"};
inline constexpr WorkloadParameter kHotRankNumber{"rank", "0", "whose experts are hot"};
inline constexpr WorkloadParameter kIdleRanks{"idle_ranks", "half of them",
                                              "ranks, from rank 0, whose experts nobody chooses"};
inline constexpr WorkloadParameter kPeriod{"period", "3", "steps until the hot set moves on"};
inline constexpr WorkloadParameter kCalmSteps{"calm_steps", "3", "balanced steps before a burst"};
inline constexpr WorkloadParameter kBurstSteps{"burst_steps", "1", "steps of a burst"};

struct NamedWorkload {
  Workload workload;
  std::string_view name;
  std::string_view help;
  std::array<WorkloadParameter, 4> parameters;  // those with a name

  bool has(std::string_view parameter) const;
};

inline constexpr std::array kNamedWorkloads{
    NamedWorkload{Workload::kBalanced, "balanced", "every expert alike, in every step (W0)", {}},
    NamedWorkload{Workload::kHotExpertSet,
                  "hot-expert-set",
                  "a few experts drawn per layer take most rows, in every step (W1)",
                  {kHotExperts, kIntensity}},
    NamedWorkload{Workload::kHotRank,
                  "hot-rank",
                  "the experts of one rank take most rows (W2)",
                  {kHotRankNumber, kRankIntensity}},
    NamedWorkload{Workload::kSpreadHot,
                  "spread-hot",
                  "as many experts as hot as those of hot-rank, spread over the ranks (W3)",
                  {kSpreadExperts, kRankIntensity}},
    NamedWorkload{Workload::kSourceRagged,
                  "source-ragged",
                  "experts alike, but ranks bring unequal numbers of tokens (W4)",
                  {kRaggedIntensity}},
    NamedWorkload{Workload::kZeroLoadRank,
                  "zero-load-rank",
                  "nobody chooses the experts of some ranks (W5)",
                  {kIdleRanks}},
    NamedWorkload{Workload::kRotatingHotspot,
                  "rotating-hotspot",
                  "a block of hot experts that moves on every few steps (W6)",
                  {kHotExperts, kPeriod, kIntensity}},
    NamedWorkload{Workload::kBurst,
                  "burst",
                  "balanced steps, then a burst in which some experts are hot (W7)",
                  {kHotExperts, kCalmSteps, kBurstSteps, kBurstIntensity}},
};

// Throws Error with the nearest name when there is none.
const NamedWorkload& find_workload(std::string_view name);
const NamedWorkload& named(Workload workload);

// A workload with its parameters; those that it does not have are ignored. Absent: the default,
// which depends on the layer's experts and top-k.
struct WorkloadSpec {
  Workload workload = Workload::kBalanced;
  int expert_ranks = 1;  // the expert-parallel degree
  std::optional<double> intensity;
  std::optional<int> hot_experts;
  int rank = 0;
  std::optional<int> idle_ranks;
  int period = 3;      // steps
  int calm_steps = 3;  // before each burst; step 0 is the first of them
  int burst_steps = 1;
  std::int64_t token_budget = std::int64_t{1} << 22;  // above it a step is counted, not drawn
};

// What the spec means for a layer: its defaults filled in. Throws Error, saying what there can be,
// when the layer cannot have it.
struct ResolvedWorkload {
  WorkloadSpec spec;
  int experts = 0;
  int top_k = 0;
  double intensity = 1;
  int hot_experts = 0;  // of hot steps; 0: none in any
  int idle_ranks = 0;
  int idle_experts = 0;
  double hot_share = 0;  // of tokens, in hot steps

  bool hot(int step) const;                     // whether the step has hot experts
  double expert_max_over_mean(int step) const;  // stated, and met but for whole rows
};
ResolvedWorkload resolve(const WorkloadSpec& spec, int experts, int top_k);

// The hot experts of a layer in a step, in no order that matters; empty where there are none.
std::vector<std::uint16_t> hot_set(const ResolvedWorkload& workload, int step, int layer,
                                   std::uint64_t seed);

// Tokens that each rank brings: as given, but for source-ragged, whose tokens fall on a line from
// intensity times the mean to what is left; the sum stays. Throws Error with one rank.
// REQUIRES for source-ragged: as many for every rank.
std::vector<std::int64_t> tokens_of_ranks(const WorkloadSpec& spec,
                                          std::vector<std::int64_t> tokens_per_rank);

// The routing of every (step, layer); each call depends on (spec, experts, top_k, seed, step,
// layer, tokens) only. A step of more tokens than the budget is counted: the counts are those of
// the dealt decks, exactly, and which of equally hot experts has a row more is another draw.
std::unique_ptr<RoutingSource> make_workload(const WorkloadSpec& spec, std::vector<int> experts,
                                             int top_k, std::vector<std::int64_t> tokens_per_rank,
                                             std::uint64_t seed);

// Writes steps of the workload as a .moetrace whose provenance says "synthetic". Throws Error.
void write_workload(WorkloadSpec spec, const SyntheticTrace& trace, std::uint64_t seed,
                    const std::string& path);

}  // namespace sim
