#include "traces/gating/capacity_routing.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sim/core/error.h"

namespace sim {
namespace {

// The routing of a source without the choices that find their expert full. A dropped choice makes
// no row and no traffic; its token goes on with the choices it has left, perhaps none. With
// kTogether the tokens of `group_ranks` ranks in a row (an expert-parallel group) have one
// capacity; every such group has experts of its own.
class Capped final : public RoutingSource {
 public:
  Capped(std::unique_ptr<RoutingSource> inner, const CapacityRule& rule, int top_k, int group_ranks,
         std::shared_ptr<const std::vector<float>> gate_weights)
      : inner_(std::move(inner)),
        rule_(rule),
        top_k_(top_k),
        group_ranks_(group_ranks),
        gate_weights_(std::move(gate_weights)),
        dropped_(static_cast<std::size_t>(inner_->layers()), 0),
        factors_(dropped_.size()) {}

  void fill(int step, int layer, LayerRouting& out) override {
    inner_->fill(step, layer, chosen_);
    SIM_CHECK(chosen_.ranks % group_ranks_ == 0, "whole groups of ranks");
    now_ = CapacityFactors{};
    dropped_[static_cast<std::size_t>(layer)] = chosen_.per_token ? drop_choices() : drop_counts();
    factors_[static_cast<std::size_t>(layer)] = now_;
    std::swap(out, chosen_);
  }

  std::int64_t dropped(int layer) const override {
    return dropped_[static_cast<std::size_t>(layer)];
  }
  CapacityFactors factors(int layer) const override {
    return factors_[static_cast<std::size_t>(layer)];
  }
  int experts(int layer) const override { return inner_->experts(layer); }
  int layers() const override { return inner_->layers(); }
  ReuseReport reuse() const override { return inner_->reuse(); }
  std::string description() const override {
    if (rule_.kind == CapacityKind::kDropless ||
        (rule_.kind == CapacityKind::kAdaptive && !rule_.cap)) {
      return inner_->description() + "; experts take all that chose them";
    }
    return fmt::format(
        "{}; experts take {} times their share of {}, overflow by {}", inner_->description(),
        factor_text(),
        rule_.scope == CapacityScope::kTogether ? "all ranks' choices" : "each rank's choices",
        rule_.priority == OverflowPriority::kOrder ? "order" : "score");
  }
  std::vector<std::string> warnings() const override { return inner_->warnings(); }

 private:
  void add_factors(std::span<const double> more) {
    for (const double factor : more) now_.add({factor, factor, 1});
  }

  std::string factor_text() const {
    return rule_.kind == CapacityKind::kFixed ? fmt::format("{:g}", rule_.factor)
                                              : fmt::format("up to {:g}", *rule_.cap);
  }

  // One group's view: tokens and choices are numbered from its first ones.
  ChoiceView view_of_group(int first_rank) {
    const auto first = static_cast<std::size_t>(first_rank);
    const auto last = first + static_cast<std::size_t>(group_ranks_);
    const std::int64_t token0 = chosen_.rank_begin[first];
    const std::int64_t token1 = chosen_.rank_begin[last];
    const std::int64_t choice0 = chosen_.choice_begin[static_cast<std::size_t>(token0)];
    const std::int64_t choice1 = chosen_.choice_begin[static_cast<std::size_t>(token1)];
    rank_begin_.clear();
    for (std::size_t r = first; r <= last; ++r)
      rank_begin_.push_back(chosen_.rank_begin[r] - token0);
    choice_begin_.clear();
    for (std::int64_t t = token0; t <= token1; ++t)
      choice_begin_.push_back(chosen_.choice_begin[static_cast<std::size_t>(t)] - choice0);
    const auto from = static_cast<std::size_t>(choice0);
    const auto count = static_cast<std::size_t>(choice1 - choice0);
    ChoiceView view;
    view.ranks = group_ranks_;
    view.experts = chosen_.experts;
    view.rank_begin = rank_begin_;
    view.choice_begin = choice_begin_;
    view.choices = std::span(chosen_.choices).subspan(from, count);
    if (gate_weights_ && gate_weights_->size() == chosen_.choices.size())
      view.weights = std::span(*gate_weights_).subspan(from, count);
    return view;
  }

  std::int64_t drop_choices() {
    CapacityResult all;
    for (int first = 0; first < chosen_.ranks; first += group_ranks_) {
      const CapacityResult group = apply_capacity(view_of_group(first), top_k_, rule_);
      all.dropped.insert(all.dropped.end(), group.dropped.begin(), group.dropped.end());
      all.kept.insert(all.kept.end(), group.kept.begin(), group.kept.end());
      all.dropped_choices += group.dropped_choices;
      add_factors(group.factor);
    }
    if (all.dropped_choices > 0) chosen_ = without_dropped(chosen_, all);
    return all.dropped_choices;
  }

  std::int64_t drop_counts() {
    const auto experts = static_cast<std::size_t>(chosen_.experts);
    const auto ranks = static_cast<std::size_t>(group_ranks_);
    std::int64_t dropped = 0;
    for (std::size_t first = 0; first < static_cast<std::size_t>(chosen_.ranks); first += ranks) {
      std::vector<std::int64_t> tokens;
      for (std::size_t r = first; r < first + ranks; ++r)
        tokens.push_back(chosen_.tokens_of(static_cast<int>(r)));
      const std::span<std::int64_t> counts =
          std::span(chosen_.counts).subspan(first * experts, ranks * experts);
      const CountCapacity result =
          apply_capacity_to_counts(counts, chosen_.experts, tokens, top_k_, rule_);
      if (result.kept.empty()) {
        throw Error(
            "a step that is counted does not know whose rows overflow a capacity that "
            "ranks share",
            "use capacity per: source-rank, or raise the token budget of the routing");
      }
      std::copy(result.kept.begin(), result.kept.end(), counts.begin());
      dropped += result.dropped_choices;
      add_factors(result.factor);
    }
    return dropped;
  }

  std::unique_ptr<RoutingSource> inner_;
  CapacityRule rule_;
  int top_k_;
  int group_ranks_;
  std::shared_ptr<const std::vector<float>> gate_weights_;
  std::vector<std::int64_t> dropped_;     // per layer
  std::vector<CapacityFactors> factors_;  // per layer
  CapacityFactors now_;                   // of the fill under way
  LayerRouting chosen_;
  std::vector<std::int64_t> rank_begin_, choice_begin_;  // of one group
};

}  // namespace

std::unique_ptr<RoutingSource> with_capacity(
    std::unique_ptr<RoutingSource> inner, const CapacityRule& rule, int top_k, int group_ranks,
    std::shared_ptr<const std::vector<float>> gate_weights) {
  check_capacity(rule);
  SIM_CHECK(group_ranks > 0, "a group has ranks");
  return std::make_unique<Capped>(std::move(inner), rule, top_k, group_ranks,
                                  std::move(gate_weights));
}

}  // namespace sim
