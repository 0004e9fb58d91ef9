// Draws tokens from a fitted law.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "traces/synthetic/like/like_model.h"

namespace sim {

// Gets the sequences in order: its choices are [token][layer][top_k].
using SequenceSink = std::function<void(const TokenSequence&, std::span<const std::uint16_t>)>;

// Draws `amount` requests (recorded steps, where the fitted trace had steps; 0: as many as it had).
// Request i of n has the length, tag and place in the run of the fitted trace's request at the same
// relative place, so other amounts stretch the run, and drift with it. While it draws, biases are
// steered by what each expert lacks of its popularity, over kSteeringShare of the trace: over the
// whole trace popularity is met closely, within it requests vary. Same model, amount and seed: same
// tokens. Throws Error when more than 2^32 tokens would come out.
void generate_like(const LikeModel& model, std::int64_t amount, std::uint64_t seed,
                   const SequenceSink& sink);

TokenSequences generate_like(const LikeModel& model, std::int64_t amount, std::uint64_t seed);

// Writes a .moetrace whose provenance names the law and the trace it was fitted to. Returns the
// number of tokens. Throws Error.
std::int64_t write_like(const LikeModel& model, const std::string& fitted_to, std::int64_t amount,
                        std::uint64_t seed, const std::string& path);

// Sets `bias` and `keep` so that freely drawn tokens have the model's popularity and agree with
// their past, per layer, as `agreement` says (like_fit.h): choices feed back, which likelihood, one
// choice ahead, does not see. Stochastic approximation over pilot traces.
void calibrate(LikeModel& model, const std::vector<std::array<double, 2>>& agreement,
               std::uint64_t seed);

}  // namespace sim
