#include "traces/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <numeric>
#include <utility>

#include "sim/core/error.h"
#include "traces/replay_counts.h"
#include "traces/replay_order.h"
#include "traces/replay_rows.h"

namespace sim {
namespace {

constexpr std::array kReplayRules = {
    ReplayRuleName{ReplayRule::kAuto, "auto", "recorded when the trace has steps, else requests"},
    ReplayRuleName{ReplayRule::kRecorded, "recorded", "the trace's own steps and source ranks"},
    ReplayRuleName{ReplayRule::kRequests, "requests",
                   "requests fill the slots of the ranks, one position per step"},
    ReplayRuleName{ReplayRule::kSample, "sample", "independent rows, with replacement"},
};

constexpr std::array kAdaptRules = {
    AdaptRuleName{AdaptRule::kNone, "none", "the trace's layers must be the model's"},
    AdaptRuleName{AdaptRule::kCycleLayers, "cycle-layers",
                  "layer l replays trace layer l mod n; a shorter model replays the first ones"},
};

constexpr std::int64_t kMostTokens = std::int64_t{1} << 40;
constexpr std::int64_t kMostHeldChoices = std::int64_t{1} << 30;  // of a layer of a step: 2 GiB

std::string_view rule_name(ReplayRule rule) {
  for (const ReplayRuleName& r : kReplayRules) {
    if (r.rule == rule) return r.name;
  }
  return "";
}

class TokenReplay final : public RoutingSource {
 public:
  TokenReplay(std::string path, std::unique_ptr<RowStore> rows, std::unique_ptr<ReplayOrder> order,
              ReplayRule rule, std::vector<int> layer_of, std::int64_t slots, std::string detail,
              std::vector<std::string> warnings)
      : path_(std::move(path)),
        rows_(std::move(rows)),
        order_(std::move(order)),
        rule_(rule),
        layer_of_(std::move(layer_of)),
        detail_(std::move(detail)),
        warnings_(std::move(warnings)),
        used_(static_cast<std::size_t>(rows_->rows()), false) {
    report_.distinct_tokens_available = static_cast<std::int64_t>(rows_->places().places.size());
    report_.requests_available = rows_->places().steps ? 0 : rows_->places().group_count();
    report_.concurrent_slots = slots;
  }

  void fill(int step, int layer, LayerRouting& out) override {
    SIM_CHECK(step >= 0 && layer >= 0 && layer < layers(), "a step and a routed layer");
    // Steps that nobody asked for are not used; a step asked for again is not used again.
    if (step != step_) {
      order_->rows_of(step, step_rows_);
      rows_->prepare(step_rows_);
      step_ = step;
      if (step > last_counted_) {
        last_counted_ = step;
        count(step_rows_);
      }
    }
    rows_->gather(layer_of_[static_cast<std::size_t>(layer)], out);
  }

  int experts(int layer) const override {
    return rows_->header()
        .experts[static_cast<std::size_t>(layer_of_[static_cast<std::size_t>(layer)])];
  }
  int layers() const override { return static_cast<int>(layer_of_.size()); }
  ReuseReport reuse() const override { return report_; }
  std::string description() const override {
    return fmt::format("replay of {} by {}{}", std::filesystem::path(path_).filename().string(),
                       rule_name(rule_), detail_);
  }
  std::vector<std::string> warnings() const override {
    std::vector<std::string> list = warnings_;
    if (report_.tokens_used > report_.distinct_tokens_used) {
      list.push_back(fmt::format(
          "recorded tokens are used again: {} tokens of this run are {} of the trace's {} "
          "({:.2f} uses each)",
          report_.tokens_used, report_.distinct_tokens_used, report_.distinct_tokens_available,
          static_cast<double>(report_.tokens_used) /
              static_cast<double>(report_.distinct_tokens_used)));
    }
    return list;
  }

 private:
  void count(const StepRows& step) {
    for (const std::int64_t row : step.rows) {
      ++report_.tokens_used;
      auto seen = used_[static_cast<std::size_t>(row)];
      if (!seen) ++report_.distinct_tokens_used;
      seen = true;
    }
  }

  std::string path_;
  std::unique_ptr<RowStore> rows_;
  std::unique_ptr<ReplayOrder> order_;
  ReplayRule rule_;
  std::vector<int> layer_of_;
  std::string detail_;
  std::vector<std::string> warnings_;
  std::vector<bool> used_;
  ReuseReport report_;
  StepRows step_rows_;
  int step_ = -1;
  int last_counted_ = -1;
};

// Which trace layer each routed layer of the model replays.
std::vector<int> match_layers(const std::string& path, const TraceHeader& header,
                              const RoutingShape& shape, AdaptRule adapt) {
  const int layers = static_cast<int>(shape.experts.size());
  if (layers != header.layers() && adapt == AdaptRule::kNone) {
    throw Error(
        Place{path},
        fmt::format("the trace has {} routed layers, the model has {}", header.layers(), layers),
        "replay a trace of this model, or set routing.adapt: cycle-layers");
  }
  if (header.top_k != shape.top_k) {
    throw Error(Place{path},
                fmt::format("a token of the trace chooses up to {} experts, of the model {}",
                            header.top_k, shape.top_k),
                "replay a trace of this model");
  }
  std::vector<int> layer_of;
  for (int layer = 0; layer < layers; ++layer) {
    const int from = layer % header.layers();
    const int have = header.experts[static_cast<std::size_t>(from)];
    const int need = shape.experts[static_cast<std::size_t>(layer)];
    if (have != need) {
      throw Error(Place{path},
                  fmt::format("routed layer {} has {} experts in the trace, {} in the model", layer,
                              have, need),
                  "replay a trace of this model");
    }
    layer_of.push_back(from);
  }
  return layer_of;
}

std::int64_t check_tokens(const std::vector<std::int64_t>& tokens_per_rank, int top_k) {
  if (tokens_per_rank.empty()) throw Error("routing needs at least one rank");
  std::int64_t total = 0;
  for (const std::int64_t tokens : tokens_per_rank) {
    if (tokens < 0 || tokens > kMostTokens - total) {
      throw Error(fmt::format("{} tokens on a rank", tokens),
                  "a rank has 0 or more, a step at most 2^40");
    }
    total += tokens;
  }
  if (top_k < 1) throw Error(fmt::format("top-k is at least 1, not {}", top_k));
  return total;
}

ReplayRule resolve_rule(const std::string& path, const TraceHeader& header, ReplayRule rule) {
  if (rule == ReplayRule::kAuto) {
    return header.has_steps ? ReplayRule::kRecorded : ReplayRule::kRequests;
  }
  if (rule == ReplayRule::kRecorded && !header.has_steps) {
    throw Error(Place{path}, "the trace has no recorded steps, so it cannot replay them",
                "use the rule requests or sample");
  }
  if (rule == ReplayRule::kRequests && header.has_steps) {
    throw Error(Place{path}, "the trace has steps, not requests",
                "use the rule recorded or sample");
  }
  return rule;
}

// What a user should know before the first step.
std::vector<std::string> early_warnings(const RowPlaces& places, ReplayRule rule, bool prefill,
                                        const std::vector<std::int64_t>& tokens_per_rank,
                                        std::int64_t total) {
  std::vector<std::string> list;
  if (rule == ReplayRule::kRequests && !prefill && places.group_count() < total) {
    list.push_back(fmt::format(
        "{} requests for {} slots: the same request runs in several slots at once, so tokens agree "
        "more than in a real batch",
        places.group_count(), total));
  }
  if (rule != ReplayRule::kRecorded) return list;
  std::int64_t last_rank = 0;
  for (const RowPlaces::Place& place : places.places) last_rank = std::max(last_rank, place.second);
  const auto ranks = static_cast<std::int64_t>(tokens_per_rank.size());
  if (last_rank + 1 < ranks) {
    list.push_back(fmt::format("the trace was recorded on {} ranks: ranks {} to {} have no tokens",
                               last_rank + 1, last_rank + 1, ranks - 1));
  }
  const std::int64_t recorded = places.group_size(0);
  if (recorded != total) {
    list.push_back(
        fmt::format("the first recorded step has {} tokens, the workload asks for {}: "
                    "the recorded ones are replayed",
                    recorded, total));
  }
  return list;
}

void check_ranks(const std::string& path, const RowPlaces& places, std::size_t ranks) {
  for (const RowPlaces::Place& place : places.places) {
    if (place.second < static_cast<std::int64_t>(ranks)) continue;
    throw Error(Place{path},
                fmt::format("the trace was recorded on rank {}, the cluster has {} ranks",
                            place.second, ranks),
                "use more ranks, or the rule sample");
  }
}

}  // namespace

std::span<const ReplayRuleName> replay_rules() { return kReplayRules; }
std::span<const AdaptRuleName> adapt_rules() { return kAdaptRules; }

std::optional<ReplayRule> parse_replay_rule(std::string_view name) {
  for (const ReplayRuleName& r : kReplayRules) {
    if (r.name == name) return r.rule;
  }
  return std::nullopt;
}

std::optional<AdaptRule> parse_adapt_rule(std::string_view name) {
  for (const AdaptRuleName& r : kAdaptRules) {
    if (r.name == name) return r.rule;
  }
  return std::nullopt;
}

std::unique_ptr<RoutingSource> make_replay(const std::string& path, ReplayRule rule,
                                           const RoutingShape& shape,
                                           std::vector<std::int64_t> tokens_per_rank,
                                           std::uint64_t seed, AdaptRule adapt,
                                           const ReplayOptions& options) {
  const std::int64_t total = check_tokens(tokens_per_rank, shape.top_k);
  const TraceHeader header = TraceReader(path).header();
  std::vector<int> layer_of = match_layers(path, header, shape, adapt);
  const bool drawn = header.kind == TraceKind::kCounts && total > options.token_budget;
  if (!drawn && total > kMostHeldChoices / shape.top_k) {
    throw Error(Place{path},
                fmt::format("{} tokens of top-{} in a step need more than 2 GiB per layer", total,
                            shape.top_k),
                "use fewer tokens per step");
  }
  if (header.kind == TraceKind::kCounts) {
    if (rule == ReplayRule::kRequests || rule == ReplayRule::kRecorded) {
      throw Error(Place{path}, "a trace of counts has no recorded tokens",
                  "leave the rule out, or use sample: tokens are drawn from the counts");
    }
    if (options.gate_weights) {
      throw Error(Place{path},
                  "a trace of counts has no gate weights, and overflow by score needs them",
                  "use priority: order");
    }
    return make_count_replay(path, std::move(layer_of), shape.top_k, std::move(tokens_per_rank),
                             seed, options);
  }
  rule = resolve_rule(path, header, rule);
  auto rows =
      std::make_unique<RowStore>(path, options.tag, options.gate_weights, options.memory_budget);
  const RowPlaces& places = rows->places();
  if (rule == ReplayRule::kRecorded) check_ranks(path, places, tokens_per_rank.size());
  std::vector<std::string> warnings =
      early_warnings(places, rule, options.prefill, tokens_per_rank, total);
  std::string detail = fmt::format(", seed {}", seed);
  if (rule == ReplayRule::kRecorded) detail = fmt::format(", {} steps", places.group_count());
  if (!options.tag.empty()) detail += fmt::format(", tag {}", options.tag);
  if (static_cast<int>(shape.experts.size()) != header.layers()) {
    detail += fmt::format(", adapt cycle-layers ({} recorded for {})", header.layers(),
                          shape.experts.size());
  }
  const bool prefill = options.prefill && !places.steps;
  const std::int64_t slots = rule == ReplayRule::kRequests && !prefill ? total : 0;
  std::unique_ptr<ReplayOrder> order;
  if (rule == ReplayRule::kRecorded) {
    order = make_recorded_order(places, static_cast<int>(tokens_per_rank.size()));
  } else if (rule == ReplayRule::kSample) {
    order = make_sample_order(places, std::move(tokens_per_rank), prefill, seed);
  } else if (prefill) {
    order = make_request_prefill_order(places, std::move(tokens_per_rank), seed);
  } else {
    order = make_request_order(places, std::move(tokens_per_rank), seed);
  }
  return std::make_unique<TokenReplay>(path, std::move(rows), std::move(order), rule,
                                       std::move(layer_of), slots, std::move(detail),
                                       std::move(warnings));
}

}  // namespace sim
