// A recorded trace as the routing of a run: which recorded tokens a rank holds in a step.
//
// Rules (the choice is worth up to 2x of the imbalance, so it is named in description() and the
// reuse of tokens is reported):
//   recorded  the trace's own steps, in rising order, and its own source ranks. How many tokens a
//             rank has is what was recorded, whatever tokens_per_rank says. After the last step the
//             first one follows again.
//   requests  rank r has tokens_per_rank[r] slots. Requests, in a seeded order, fill the slots rank
//             by rank; every step a slot moves one position on; the slot of a finished request
//             takes the next one, lower slots first. When all are used they start again in a new
//             order. For prefill (ReplayOptions::prefill) a rank instead reads its requests'
//             positions one after another, tokens_per_rank[r] per step, and takes the next request
//             when one ends.
//   sample    every token of every step is a row drawn from the whole trace, with replacement. For
//             prefill a rank draws requests instead and reads them from their first position.
// A trace of counts knows no tokens: a step's tokens are drawn from the counts (per token below the
// token budget, else counted), in each layer with the recorded share of every expert.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "traces/routing.h"

namespace sim {

enum class ReplayRule {
  kAuto,
  kRecorded,
  kRequests,
  kSample
};  // kAuto: recorded with steps, else requests

struct ReplayRuleName {
  ReplayRule rule;
  std::string_view name;
  std::string_view help;
};
std::span<const ReplayRuleName> replay_rules();
std::optional<ReplayRule> parse_replay_rule(std::string_view name);

// How a trace of another shape is used. Experts and top-k must agree in every case.
enum class AdaptRule {
  kNone,         // layers must agree
  kCycleLayers,  // layer l replays trace layer l mod n; with fewer layers, the first ones
};

struct AdaptRuleName {
  AdaptRule rule;
  std::string_view name;
  std::string_view help;
};
std::span<const AdaptRuleName> adapt_rules();
std::optional<AdaptRule> parse_adapt_rule(std::string_view name);

// The model's side: experts of each routed layer and choices per token.
struct RoutingShape {
  std::vector<int> experts;
  int top_k = 0;
};

struct ReplayOptions {
  bool prefill = false;
  // Asked for gate weights, which the trace must have: each fill() writes here those of its
  // choices.
  std::shared_ptr<std::vector<float>> gate_weights;
  std::string tag;  // only tokens (or counts) of this tag; "": all
  // Decompressed chunks held in memory. A trace above it is read chunk by chunk, each chunk that a
  // step needs once per step.
  std::int64_t memory_budget = std::int64_t{1} << 30;
  std::int64_t token_budget = std::int64_t{1} << 22;  // traces of counts: as in SyntheticSpec
};

// Throws Error: a damaged trace, another shape than the model's (unless `adapt` allows it), a rule
// that the trace cannot serve, a recorded rank that the cluster lacks, an unknown tag.
std::unique_ptr<RoutingSource> make_replay(const std::string& path, ReplayRule rule,
                                           const RoutingShape& shape,
                                           std::vector<std::int64_t> tokens_per_rank,
                                           std::uint64_t seed, AdaptRule adapt = AdaptRule::kNone,
                                           const ReplayOptions& options = {});

}  // namespace sim
