#include "traces/synthetic/synthetic.h"
#include "traces/synthetic/begin_layer.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "sim/core/error.h"
#include "traces/synthetic/layer_draw.h"

namespace sim {
namespace {

constexpr std::int64_t kMostTokens = std::int64_t{1} << 40;        // of a step
constexpr std::int64_t kMostCounters = std::int64_t{1} << 27;      // ranks * experts: 1 GiB
constexpr std::int64_t kMostDrawnChoices = std::int64_t{1} << 30;  // of a layer of a step: 2 GiB

class SyntheticSource final : public RoutingSource {
 public:
  SyntheticSource(SyntheticSpec spec, std::vector<int> experts, int top_k,
                  std::vector<std::int64_t> tokens_per_rank, std::uint64_t seed)
      : spec_(spec),
        experts_(std::move(experts)),
        top_k_(top_k),
        tokens_(std::move(tokens_per_rank)),
        seed_(seed),
        total_(std::accumulate(tokens_.begin(), tokens_.end(), std::int64_t{0})),
        per_token_(total_ <= spec_.token_budget),
        draws_(experts_.size()),
        inclusion_(experts_.size()) {}

  void fill(int step, int layer, LayerRouting& out) override {
    SIM_CHECK(layer >= 0 && layer < layers(), "a routed layer of the model");
    begin_layer(tokens_, experts(layer), per_token_, out);
    if (step > last_step_) {
      tokens_used_ += total_;
      last_step_ = step;
    }
    if (per_token_) {
      fill_tokens(step, layer, out);
    } else {
      fill_counts(step, layer, out);
    }
  }

  int experts(int layer) const override { return experts_[static_cast<std::size_t>(layer)]; }
  int layers() const override { return static_cast<int>(experts_.size()); }
  ReuseReport reuse() const override {
    ReuseReport report;
    report.tokens_used = tokens_used_;
    return report;
  }
  std::string description() const override {
    return fmt::format("synthetic {}, top-{}, {}", describe(spec_), top_k_,
                       per_token_
                           ? "drawn per token"
                           : fmt::format("as counts per rank: {} tokens a step are above the "
                                         "budget of {}",
                                         total_, spec_.token_budget));
  }
  std::vector<std::string> warnings() const override { return {}; }

 private:
  std::string stream(int step, int layer, std::size_t rank) const {
    return fmt::format("synthetic/step {}/layer {}/rank {}", step, layer, rank);
  }

  void fill_tokens(int step, int layer, LayerRouting& out) {
    const std::size_t k = static_cast<std::size_t>(top_k_);
    auto& draw = draws_[static_cast<std::size_t>(layer)];
    if (!draw) {
      draw = std::make_unique<TokenDraw>(layer_weights(spec_, layer, experts(layer), seed_), top_k_,
                                         spec_.groups);
    }
    std::uint16_t* next = make_choices(k, out);
    for (std::size_t rank = 0; rank < tokens_.size(); ++rank) {
      RandomStream random(seed_, stream(step, layer, rank));
      std::int64_t* counts = out.counts.data() + rank * static_cast<std::size_t>(out.experts);
      for (std::int64_t t = 0; t < tokens_[rank]; ++t, next += k) {
        draw->draw(random, next);
        for (std::size_t i = 0; i < k; ++i) ++counts[next[i]];
      }
    }
  }

  void fill_counts(int step, int layer, LayerRouting& out) {
    auto& inclusion = inclusion_[static_cast<std::size_t>(layer)];
    if (inclusion.empty()) {
      if (spec_.groups) {
        inclusion = synthetic_inclusion(spec_, layer, experts(layer), top_k_, seed_);
      } else {  // the same for every layer but for its permutation
        auto& ranked = by_experts_[experts(layer)];
        if (ranked.empty()) {
          ranked =
              inclusion_probabilities(zipf_weights(experts(layer), exponent_of(spec_)), top_k_);
        }
        inclusion = permuted(ranked, layer, seed_);
      }
    }
    for (std::size_t rank = 0; rank < tokens_.size(); ++rank) {
      RandomStream random(seed_, stream(step, layer, rank));
      draw_counts(inclusion, top_k_, tokens_[rank], random,
                  out.counts.data() + rank * static_cast<std::size_t>(out.experts));
    }
  }

  SyntheticSpec spec_;
  std::vector<int> experts_;
  int top_k_;
  std::vector<std::int64_t> tokens_;
  std::uint64_t seed_;
  std::int64_t total_;
  bool per_token_;
  int last_step_ = -1;
  std::int64_t tokens_used_ = 0;
  std::vector<std::unique_ptr<TokenDraw>> draws_;  // per layer, made when first asked for
  std::vector<std::vector<double>> inclusion_;     // per layer
  std::map<int, std::vector<double>> by_experts_;  // in the order of popularity
};

}  // namespace

double exponent_of(const SyntheticSpec& spec) {
  return spec.kind == SyntheticKind::kUniform ? 0 : spec.exponent;
}

std::string describe(const SyntheticSpec& spec) {
  std::string text = spec.kind == SyntheticKind::kUniform
                         ? "uniform"
                         : fmt::format("Zipf({}) draw weights", spec.exponent);
  if (spec.groups)
    text += fmt::format(", {} of {} groups", spec.groups->limit, spec.groups->groups);
  return text;
}

std::vector<double> permuted(const std::vector<double>& ranked, int layer, std::uint64_t seed) {
  std::vector<std::uint32_t> order(ranked.size());
  std::iota(order.begin(), order.end(), 0U);
  RandomStream random(seed, fmt::format("synthetic/popularity/layer {}", layer));
  random.shuffle(order);
  std::vector<double> result(ranked.size());
  for (std::size_t i = 0; i < ranked.size(); ++i) result[order[i]] = ranked[i];
  return result;
}

std::vector<double> layer_weights(const SyntheticSpec& spec, int layer, int experts,
                                  std::uint64_t seed) {
  return permuted(zipf_weights(experts, exponent_of(spec)), layer, seed);
}

void check_synthetic(const SyntheticSpec& spec, const std::vector<int>& experts, int top_k) {
  if (!(spec.exponent >= 0 && spec.exponent <= 20)) {
    throw Error(fmt::format("a Zipf exponent is 0 to 20, not {}", spec.exponent));
  }
  if (experts.empty()) throw Error("synthetic routing needs at least one routed layer");
  for (const int e : experts) {
    if (e < 1 || e > 65536) throw Error(fmt::format("a layer has 1 to 65536 experts, not {}", e));
    if (top_k < 1 || top_k > e || top_k > 255) {
      throw Error(fmt::format("top-{} of {} experts", top_k, e),
                  "top-k is 1 to 255 and at most the number of experts");
    }
    if (!spec.groups) continue;
    const auto [groups, limit] = *spec.groups;
    if (groups < 1 || e % groups != 0) {
      throw Error(fmt::format("{} groups do not divide {} experts", groups, e));
    }
    if (limit < 1 || limit > groups || limit * (e / groups) < top_k) {
      throw Error(fmt::format("{} of {} groups hold {} experts, top-{} needs more", limit, groups,
                              limit < 1 ? 0 : std::min(limit, groups) * (e / groups), top_k),
                  "the group limit is 1 to the number of groups and leaves at least top-k experts");
    }
  }
}

std::vector<double> synthetic_inclusion(const SyntheticSpec& spec, int layer, int experts,
                                        int top_k, std::uint64_t seed) {
  check_synthetic(spec, {experts}, top_k);
  // Alike, groups or not.
  if (spec.kind == SyntheticKind::kUniform)
    return std::vector<double>(static_cast<std::size_t>(experts),
                               static_cast<double>(top_k) / experts);
  const std::vector<double> weights = layer_weights(spec, layer, experts, seed);
  if (!spec.groups) return inclusion_probabilities(weights, top_k);
  constexpr int kTokens = 1 << 17;
  RandomStream random(seed, fmt::format("synthetic/inclusion/layer {}", layer));
  TokenDraw draw(weights, top_k, spec.groups);
  std::vector<std::uint16_t> chosen(static_cast<std::size_t>(top_k));
  std::vector<double> inclusion(weights.size(), 0.0);
  for (int t = 0; t < kTokens; ++t) {
    draw.draw(random, chosen.data());
    for (const std::uint16_t e : chosen) inclusion[e] += 1.0 / kTokens;
  }
  return inclusion;
}

std::unique_ptr<RoutingSource> make_synthetic(const SyntheticSpec& spec, std::vector<int> experts,
                                              int top_k, std::vector<std::int64_t> tokens_per_rank,
                                              std::uint64_t seed) {
  check_synthetic(spec, experts, top_k);
  if (tokens_per_rank.empty()) throw Error("routing needs at least one rank");
  std::int64_t total = 0;
  for (const std::int64_t tokens : tokens_per_rank) {
    if (tokens < 0 || tokens > kMostTokens - total) {
      throw Error(fmt::format("{} tokens on a rank", tokens),
                  "a rank has 0 or more, a step at most 2^40");
    }
    total += tokens;
  }
  const std::int64_t most = *std::max_element(experts.begin(), experts.end());
  if (static_cast<std::int64_t>(tokens_per_rank.size()) > kMostCounters / most) {
    throw Error(fmt::format("{} ranks with {} experts need more than 1 GiB of counters",
                            tokens_per_rank.size(), most));
  }
  if (total <= spec.token_budget && total > kMostDrawnChoices / top_k) {
    throw Error(
        fmt::format("drawing {} tokens of top-{} per layer needs more than 2 GiB", total, top_k),
        "lower the token budget: the step is then counted");
  }
  return std::make_unique<SyntheticSource>(spec, std::move(experts), top_k,
                                           std::move(tokens_per_rank), seed);
}

}  // namespace sim
