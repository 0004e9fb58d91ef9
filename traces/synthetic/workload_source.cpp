// A named workload as a routing source.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "sim/core/error.h"
#include "sim/core/random.h"
#include "traces/synthetic/begin_layer.h"
#include "traces/synthetic/deck.h"
#include "traces/synthetic/workloads.h"

namespace sim {
namespace {

constexpr std::int64_t kMostTokens = std::int64_t{1} << 40;        // of a step
constexpr std::int64_t kMostCounters = std::int64_t{1} << 27;      // ranks * experts: 1 GiB
constexpr std::int64_t kMostDrawnChoices = std::int64_t{1} << 30;  // of a layer of a step: 2 GiB

// The packs of one (step, layer): hot tokens take from `hot` and `cold`, the others from `any`.
struct Packs {
  Deck hot;
  Deck cold;
  Deck any;
};

std::vector<std::uint16_t> range(int first, int last) {
  std::vector<std::uint16_t> result(static_cast<std::size_t>(last - first));
  std::iota(result.begin(), result.end(), static_cast<std::uint16_t>(first));
  return result;
}

Packs packs_of(const ResolvedWorkload& workload, int step, int layer, std::uint64_t seed) {
  std::vector<std::uint16_t> hot = hot_set(workload, step, layer, seed);
  std::vector<bool> is_hot(static_cast<std::size_t>(workload.experts), false);
  for (const std::uint16_t e : hot) is_hot[e] = true;
  std::vector<std::uint16_t> cold;
  for (int e = 0; e < workload.experts; ++e) {
    if (!is_hot[static_cast<std::size_t>(e)]) cold.push_back(static_cast<std::uint16_t>(e));
  }
  return {Deck(std::move(hot)), Deck(std::move(cold)),
          Deck(range(workload.idle_experts, workload.experts))};
}

// Spreads hot tokens evenly over all: of any n in a row, share * n up to one.
class HotTokens {
 public:
  HotTokens(double share, double phase) : share_(share), before_(phase) {}
  // How many of the next `tokens` are hot.
  std::int64_t of_next(std::int64_t tokens) {
    seen_ += tokens;
    const double upto = before_ + share_ * static_cast<double>(seen_);
    const std::int64_t hot =
        std::clamp<std::int64_t>(static_cast<std::int64_t>(upto) - hot_, 0, tokens);
    hot_ += hot;
    return hot;
  }

 private:
  double share_;
  double before_;  // phase, 0..1
  std::int64_t seen_ = 0;
  std::int64_t hot_ = 0;
};

class WorkloadSource final : public RoutingSource {
 public:
  WorkloadSource(std::vector<ResolvedWorkload> layers, std::vector<std::int64_t> tokens,
                 std::uint64_t seed)
      : layers_(std::move(layers)),
        tokens_(std::move(tokens)),
        seed_(seed),
        total_(std::accumulate(tokens_.begin(), tokens_.end(), std::int64_t{0})),
        per_token_(total_ <= layers_.front().spec.token_budget) {}

  void fill(int step, int layer, LayerRouting& out) override {
    SIM_CHECK(layer >= 0 && layer < layers(), "a routed layer of the model");
    const ResolvedWorkload& workload = layers_[static_cast<std::size_t>(layer)];
    begin_layer(tokens_, workload.experts, per_token_, out);
    if (step > last_step_) {
      tokens_used_ += total_;
      last_step_ = step;
    }
    RandomStream random(seed_, fmt::format("workload/step {}/layer {}", step, layer));
    HotTokens hot(workload.hot(step) ? workload.hot_share : 0, random.uniform());
    Packs packs = packs_of(workload, step, layer, seed_);
    if (per_token_) {
      fill_tokens(workload, packs, hot, random, out);
    } else {
      fill_counts(workload, packs, hot, random, out);
    }
  }

  int experts(int layer) const override { return layers_[static_cast<std::size_t>(layer)].experts; }
  int layers() const override { return static_cast<int>(layers_.size()); }
  ReuseReport reuse() const override {
    ReuseReport report;
    report.tokens_used = tokens_used_;
    return report;
  }
  std::string description() const override;
  std::vector<std::string> warnings() const override { return {}; }

 private:
  void fill_tokens(const ResolvedWorkload& workload, Packs& packs, HotTokens& hot,
                   RandomStream& random, LayerRouting& out) const {
    const std::size_t k = static_cast<std::size_t>(workload.top_k);
    const std::size_t from_hot = std::min(k, packs.hot.size());
    std::uint16_t* next = make_choices(k, out);
    for (std::size_t rank = 0; rank < tokens_.size(); ++rank) {
      std::int64_t* counts = out.counts.data() + rank * static_cast<std::size_t>(out.experts);
      for (std::int64_t t = 0; t < tokens_[rank]; ++t, next += k) {
        if (hot.of_next(1) == 1) {
          packs.hot.deal(from_hot, random, next);
          packs.cold.deal(k - from_hot, random, next + from_hot);
        } else {
          packs.any.deal(k, random, next);
        }
        for (std::size_t i = 0; i < k; ++i) ++counts[next[i]];
      }
    }
  }

  void fill_counts(const ResolvedWorkload& workload, Packs& packs, HotTokens& hot,
                   RandomStream& random, LayerRouting& out) const {
    const std::int64_t k = workload.top_k;
    const std::int64_t from_hot =
        std::min<std::int64_t>(k, static_cast<std::int64_t>(packs.hot.size()));
    for (std::size_t rank = 0; rank < tokens_.size(); ++rank) {
      std::int64_t* counts = out.counts.data() + rank * static_cast<std::size_t>(out.experts);
      const std::int64_t hot_tokens = hot.of_next(tokens_[rank]);
      packs.hot.count(hot_tokens, from_hot, random, counts);
      packs.cold.count(hot_tokens, k - from_hot, random, counts);
      packs.any.count(tokens_[rank] - hot_tokens, k, random, counts);
    }
  }

  std::vector<ResolvedWorkload> layers_;
  std::vector<std::int64_t> tokens_;
  std::uint64_t seed_;
  std::int64_t total_;
  bool per_token_;
  int last_step_ = -1;
  std::int64_t tokens_used_ = 0;
};

// What the summary says: the name, what was chosen for its parameters, and how it was made.
std::string WorkloadSource::description() const {
  const ResolvedWorkload& first = layers_.front();
  const WorkloadSpec& spec = first.spec;
  const NamedWorkload& name = named(spec.workload);
  std::string text = fmt::format("workload {}", name.name);
  if (name.has("rank")) text += fmt::format(", rank {} of {}", spec.rank, spec.expert_ranks);
  if (first.hot_experts > 0) {
    text += fmt::format(", {} of {} experts hot", first.hot_experts, first.experts);
  }
  if (name.has("idle_ranks")) {
    text += fmt::format(", {} of {} ranks idle", first.idle_ranks, spec.expert_ranks);
  }
  if (name.has("intensity")) {
    text +=
        fmt::format(", {:.6g} times the mean {}", first.intensity,
                    spec.workload == Workload::kSourceRagged ? "of tokens on rank 0" : "of rows");
  }
  if (name.has("period")) text += fmt::format(", moving every {} steps", spec.period);
  if (name.has("burst_steps")) {
    text += fmt::format(" in {} of {} steps", spec.burst_steps, spec.burst_steps + spec.calm_steps);
  }
  text += fmt::format(", top-{}, ", first.top_k);
  return text + (per_token_ ? "dealt per token"
                            : fmt::format("as counts per rank: {} tokens a step are above the "
                                          "budget of {}",
                                          total_, spec.token_budget));
}

}  // namespace

std::unique_ptr<RoutingSource> make_workload(const WorkloadSpec& spec, std::vector<int> experts,
                                             int top_k, std::vector<std::int64_t> tokens_per_rank,
                                             std::uint64_t seed) {
  if (experts.empty()) throw Error("synthetic routing needs at least one routed layer");
  if (tokens_per_rank.empty()) throw Error("routing needs at least one rank");
  std::int64_t total = 0;
  for (const std::int64_t tokens : tokens_per_rank) {
    if (tokens < 0 || tokens > kMostTokens - total) {
      throw Error(fmt::format("{} tokens on a rank", tokens),
                  "a rank has 0 or more, a step at most 2^40");
    }
    total += tokens;
  }
  std::vector<ResolvedWorkload> layers;
  for (const int e : experts) layers.push_back(resolve(spec, e, top_k));
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
  return std::make_unique<WorkloadSource>(std::move(layers),
                                          tokens_of_ranks(spec, std::move(tokens_per_rank)), seed);
}

}  // namespace sim
