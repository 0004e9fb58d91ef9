#include "traces/gating/gating.h"

#include <fmt/format.h>

#include <array>
#include <memory>

#include "sim/core/error.h"
#include "sim/input/suggestion.h"
#include "traces/gating/gates.h"

namespace sim {
namespace {

constexpr std::array kGates = {
    GatingFunction{"softmax", "every expert, weighted by softmax of the logits", "",
                   "classic (soft) MoE, Jacobs 1991", softmax_gate},
    GatingFunction{
        "hierarchical", "a gate over groups, a gate inside each; product of the two weights",
        "groups (divides the experts), top_groups=0 (all), k=0 (all of a group)",
        "Jordan & Jacobs 1994; Shazeer 2017, arXiv 1701.06538, appendix B", hierarchical_gate},
    GatingFunction{"top-k", "the k greatest logits; weights by softmax over these",
                   "k, normalise=true (false: softmax over all experts)",
                   "Shazeer 2017, arXiv 1701.06538; Mixtral", top_k_gate},
    GatingFunction{"hard",
                   "the greatest logit, or all whose probability passes a threshold; weight 1; "
                   "Gumbel noise",
                   "threshold=0 (off), gumbel=false, temperature=1 (with gumbel)",
                   "hard MoE; Gumbel-softmax, arXiv 1611.01144", hard_gate},
    GatingFunction{"switch", "the greatest logit, weighted by its probability; capacity",
                   "capacity_factor=1.25", "Switch, arXiv 2101.03961", switch_gate},
    GatingFunction{"noisy-top-k",
                   "top-k of logits with N(0, sigma^2), or N(0, 1) * softplus(second matrix), "
                   "added",
                   "k, noise=gaussian (learned), sigma=1 (gaussian)",
                   "Shazeer 2017, arXiv 1701.06538, eq. 3-5", noisy_top_k_gate},
    GatingFunction{"gshard-top-2",
                   "top-2; the second kept with probability 2 g2, where g1 + g2 = 1; group "
                   "capacity",
                   "capacity_factor=1", "GShard, arXiv 2006.16668, algorithm 1", gshard_gate},
    GatingFunction{"sigmoid", "the k greatest logits, each weighted by its sigmoid",
                   "k, normalise=false", "BASE, arXiv 2103.16716; StableMoE, arXiv 2204.08396",
                   sigmoid_gate},
    GatingFunction{"cosine", "top-k of cos(projected token, expert vector) / temperature",
                   "k, dimension=experts/2, temperature=0.07", "X-MoE, arXiv 2204.09179",
                   cosine_gate},
    GatingFunction{"expert-choice", "each expert takes the ceil(k T / E) tokens that like it most",
                   "k, per=together (source-rank)", "Expert choice, arXiv 2202.09368",
                   expert_choice_gate},
    GatingFunction{
        "soft-moe", "rows are slots: each expert has its own weighted mixes of a rank's tokens",
        "slots=1 (per expert and source rank)", "Soft MoE, arXiv 2308.00951", soft_moe_gate},
    GatingFunction{"merged",
                   "weights that merge the experts' parameters; a replay counts E rows, the "
                   "merged expert runs 1",
                   "per=token (source-rank: one merge for all its tokens)",
                   "SMEAR, arXiv 2306.03745", merged_gate},
    GatingFunction{"base", "the assignment of greatest total score with T / E tokens per expert",
                   "epsilon=1e-3 (total score is within T * epsilon of the best), per=together",
                   "BASE, arXiv 2103.16716; auction: Bertsekas 1979", base_gate},
    GatingFunction{"sinkhorn", "top-k of the doubly normalised exp(logits); capacity factor 2",
                   "k, iterations=20, per=together, capacity_factor=2",
                   "S-BASE, arXiv 2202.01169; capacity 2: MegaBlocks, arXiv 2211.15841",
                   sinkhorn_gate},
    GatingFunction{"hash", "a fixed table from token id to expert, random or frequency-balanced",
                   "k, table=random (balanced: k is 1)", "Hash layers, arXiv 2106.04426",
                   hash_gate},
    GatingFunction{"random", "k experts at random for each token, or the same for a whole step",
                   "k, per=token (step)", "THOR, arXiv 2110.04260", random_gate},
    GatingFunction{"random-partition", "the tokens in random equal parts, one per expert",
                   "per=together", "EWA, random equal partition", random_partition_gate},
    GatingFunction{"domain-random",
                   "the token's domain names a group of experts, of which one at random", "",
                   "PanGu-Sigma, arXiv 2303.10845", domain_random_gate},
    GatingFunction{
        "frozen-random", "top-k of a router that is never trained; k grows linearly over the steps",
        "k_first=1, k_last, steps=1000", "SMoE-Dropout, arXiv 2303.01610", frozen_random_gate},
    GatingFunction{"dense-to-sparse",
                   "softmax((logits + Gumbel noise) / temperature) above a threshold; "
                   "temperature falls by step",
                   "temperature_first=2, temperature_last=0.3, steps=1000, threshold=1/E, "
                   "noise=true",
                   "EvoMoE, arXiv 2112.14397", dense_to_sparse_gate},
    GatingFunction{"top-p", "the smallest set of experts whose probabilities sum to p", "p=0.4",
                   "Dynamic routing, arXiv 2403.07652", top_p_gate},
    GatingFunction{"null-experts", "top-k over experts and nulls; a null costs nothing",
                   "k, nulls=experts", "AdaMoE, arXiv 2406.13233", null_experts_gate},
    GatingFunction{
        "top-any", "top-k, k by step from a list; a learned mask may drop all but the best",
        "ks=[1, 2], mask=false", "Tutel, arXiv 2206.03382; learned mask: MC#", top_any_gate},
    GatingFunction{"token-rounding",
                   "top-k, then each expert's count to a multiple of a tile: drop lowest or add "
                   "best others",
                   "k, tile=128, round=nearest (up, down), per=together",
                   "SonicMoE, token rounding", token_rounding_gate},
    GatingFunction{"comet", "k smooth-step binary trees, whose leaves are the experts",
                   "k, gamma=1", "COMET, tree gate", comet_gate},
    GatingFunction{"rank-k", "only the expert of the given rank, weighted by its probability",
                   "rank=2", "SCMoE, arXiv 2405.14507", rank_k_gate},
    GatingFunction{"random-1", "one expert at random, weighted by its probability", "",
                   "SCMoE, arXiv 2405.14507", random_1_gate},
    GatingFunction{"chained", "rounds of top-k, each with its own router; a row per round",
                   "k, rounds=2", "Chain-of-Experts", chained_gate},
    GatingFunction{"group-limited",
                   "top-k inside the best groups; a group's score is its best one or two",
                   "k, groups, limit, score=sigmoid (softmax), group_score=top-2-sum (max)",
                   "DeepSeek-V2, arXiv 2405.04434; V3, arXiv 2412.19437", group_limited_gate},
    GatingFunction{"target-shares",
                   "each source rank's tokens in given shares over the experts, greatest total "
                   "score",
                   "shares: a row per source rank, or one for all; epsilon=1e-3",
                   "TA-MoE, arXiv 2302.09915: its target dispatch, met exactly",
                   target_shares_gate},
    GatingFunction{"loss-free-bias",
                   "the k greatest of score + bias; weights from the scores alone",
                   "k, score=sigmoid (softmax)", "DeepSeek, arXiv 2408.15664", loss_free_gate},
};

}  // namespace

std::span<const std::uint16_t> GateChoices::of(std::int64_t row) const {
  const auto r = static_cast<std::size_t>(row);
  return std::span(choices).subspan(
      static_cast<std::size_t>(choice_begin[r]),
      static_cast<std::size_t>(choice_begin[r + 1] - choice_begin[r]));
}

std::span<const float> GateChoices::weights_of(std::int64_t row) const {
  const auto r = static_cast<std::size_t>(row);
  return std::span(weights).subspan(
      static_cast<std::size_t>(choice_begin[r]),
      static_cast<std::size_t>(choice_begin[r + 1] - choice_begin[r]));
}

double gate_flops_per_token(const Gate& gate, int hidden) {
  return 2.0 * hidden * gate.score_columns;
}

std::span<const GatingFunction> gating_functions() { return kGates; }

const GatingFunction& gating_function(std::string_view name) {
  std::vector<std::string> names;
  for (const GatingFunction& gate : kGates) {
    if (gate.name == name) return gate;
    names.emplace_back(gate.name);
  }
  throw Error(fmt::format("there is no gate '{}'", name), suggest(std::string(name), names));
}

Gate make_gate(std::string_view name, YamlMap& keys, const GateShape& shape) {
  SIM_CHECK(shape.experts > 0 && shape.experts <= 65536, "an expert id has two bytes");
  return gating_function(name).make(keys, shape);
}

Gate make_gate(std::string_view name, std::span<const std::string> assignments,
               const GateShape& shape) {
  const std::unique_ptr<YamlDocument> document =
      YamlDocument::parse("{}", fmt::format("gate {}", name));
  for (const std::string& assignment : assignments) document->set(assignment);
  Mistakes mistakes;
  YamlMap keys(document->root(), fmt::format("gate '{}'", name), mistakes);
  Gate gate = make_gate(name, keys, shape);
  keys.finish();
  mistakes.throw_if_any();
  return gate;
}

GateChoices route(const Gate& gate, const GateInput& input) {
  const auto tokens = static_cast<std::size_t>(input.tokens);
  SIM_CHECK(input.scores.size() == gate.score_widths.size(), "a matrix per entry of score_widths");
  for (std::size_t m = 0; m < input.scores.size(); ++m) {
    SIM_CHECK(input.scores[m].size() == tokens * static_cast<std::size_t>(gate.score_widths[m]),
              "a score per token and column");
  }
  const auto fits = [&](std::size_t size) { return size == 0 || size == tokens; };
  SIM_CHECK(
      fits(input.token_ids.size()) && fits(input.source_ranks.size()) && fits(input.domains.size()),
      "an entry per token");
  return gate.route(input);
}

}  // namespace sim
