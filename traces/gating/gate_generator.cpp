#include "traces/gating/gate_generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>

#include "sim/core/error.h"
#include "sim/core/random.h"

namespace sim {
namespace {

constexpr double kMostNumbers = 1 << 27;  // of 8 bytes: 1 GiB

std::optional<BalanceRule> read_balance(YamlMap& keys, const Gate& gate, std::string_view name) {
  std::optional<YamlMap> map = keys.map_if("balance");
  if (!map) return std::nullopt;
  std::vector<std::string> names;
  for (const BalanceTerm& term : balance_terms()) names.emplace_back(term.name);
  const std::string word = map->choice("term", names);
  BalanceRule rule;
  rule.coefficient = map->number("coefficient", {0, 1e6});
  map->finish();
  if (std::find(names.begin(), names.end(), word) == names.end()) return std::nullopt;
  rule.term = &balance_term(word);
  const bool biased = name == "loss-free-bias" || name == "group-limited";
  if (rule.term->add_force == nullptr && !biased) {
    map->mistake("term", "loss-free moves the bias of the selection",
                 "use the gate loss-free-bias or group-limited");
  } else if (!gate.has_logits) {
    map->mistake("term", fmt::format("gate '{}' has no logit per expert to push", name));
  } else if (!gate.trained) {
    map->mistake("term", fmt::format("the router of gate '{}' is never trained", name));
  } else if (word == "load" && !gate.fixed_count && gate.null_experts == 0) {
    map->mistake(
        "term",
        fmt::format("load is a token's chance to be among the k best, and gate '{}' has no "
                    "fixed k",
                    name),
        "use switch or importance");
  }
  return rule;
}

}  // namespace

GateGenerator::GateGenerator(const GateTrace& trace, std::uint64_t seed)
    : trace_(trace), seed_(seed) {
  const std::unique_ptr<YamlDocument> document =
      YamlDocument::parse("{}", fmt::format("gate {}", trace.gate));
  for (const std::string& assignment : trace.set) document->set(assignment);
  gating_function(trace.gate);  // an unknown name before anything else
  Mistakes mistakes;
  YamlMap keys(document->root(), fmt::format("gate '{}'", trace.gate), mistakes);
  ScoreModelSpec spec;
  if (std::optional<YamlMap> scores = keys.map_if("scores")) {
    spec = read_score_model(*scores);
    scores->finish();
  }
  domains_ = static_cast<int>(keys.count_or("domains", 1, {1, 1 << 16}));
  scores_.emplace(spec, seed);
  GateShape shape;
  shape.experts = trace.experts;
  shape.top_k = trace.top_k;
  shape.ranks = trace.ranks;
  shape.domains = domains_;
  shape.token_frequencies = scores_->token_frequencies();
  gate_ = make_gate(trace.gate, keys, shape);
  balance_ = read_balance(keys, gate_, trace.gate);
  keys.finish();
  mistakes.throw_if_any();
  check_sizes(spec);
  for (int rank = 0; rank < trace.ranks; ++rank)
    source_ranks_.insert(source_ranks_.end(), static_cast<std::size_t>(trace.tokens_per_rank),
                         rank);
  restart();
}

void GateGenerator::restart() {
  biases_.assign(static_cast<std::size_t>(trace_.layers), {});
  step_ = -1;
}

std::vector<GateChoices> GateGenerator::next_step() {
  ++step_;
  const auto tokens = static_cast<std::int64_t>(source_ranks_.size());
  token_ids_ = scores_->token_ids(step_, tokens);
  token_domains_.clear();
  RandomStream random(seed_, fmt::format("gating/domains/step {}", step_));
  for (std::int64_t t = 0; t < tokens && domains_ > 1; ++t)
    token_domains_.push_back(
        static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(domains_))));
  std::vector<GateChoices> layers;
  for (int layer = 0; layer < trace_.layers; ++layer) layers.push_back(one_layer(layer));
  return layers;
}

GateChoices GateGenerator::one_layer(int layer) {
  std::vector<double>& bias = biases_[static_cast<std::size_t>(layer)];
  const bool in_logits = balance_ && balance_->term->add_force != nullptr;
  const std::vector<double> none;
  matrices_.resize(gate_.score_widths.size());
  GateInput in;
  for (std::size_t m = 0; m < matrices_.size(); ++m) {
    const int width = gate_.score_widths[m];
    scores_->fill(step_, layer, static_cast<int>(m), width, m == 0 && gate_.has_logits, token_ids_,
                  m == 0 && in_logits ? bias : none, matrices_[m]);
    in.scores.emplace_back(matrices_[m]);
  }
  in.tokens = static_cast<std::int64_t>(source_ranks_.size());
  in.experts = trace_.experts;
  in.token_ids = token_ids_;
  in.source_ranks = source_ranks_;
  in.domains = token_domains_;
  if (!in_logits) in.bias = bias;
  in.seed = seed_;
  in.step = step_;
  in.layer = layer;
  GateChoices choices = route(gate_, in);
  if (balance_) push(in, choices, bias);
  return choices;
}

void GateGenerator::push(const GateInput& in, const GateChoices& choices,
                         std::vector<double>& bias) const {
  BalanceInput balance;
  balance.tokens = in.tokens;
  balance.experts = in.experts;
  balance.null_experts = gate_.null_experts;
  balance.logits = in.scores[0];
  const auto columns = static_cast<std::size_t>(balance.columns());
  std::vector<std::int64_t> counts(columns, 0);
  std::vector<std::int64_t> first(columns, 0);
  // The logits are those of the first round: so are the counts.
  const std::int64_t rows = gate_.rounds > 1 ? in.tokens : choices.rows();
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto chosen = choices.of(row);
    for (const std::uint16_t e : chosen) ++counts[e];
    if (!choices.first_columns.empty()) {
      ++first[choices.first_columns[static_cast<std::size_t>(row)]];
    } else if (!chosen.empty()) {
      ++first[chosen.front()];
    }
  }
  std::copy(choices.null_counts.begin(), choices.null_counts.end(), counts.begin() + in.experts);
  balance.top_k =
      static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0})) /
      static_cast<double>(std::max<std::int64_t>(1, rows));
  balance.counts = counts;
  balance.first_counts = first;
  bias.resize(columns, 0.0);
  if (balance_->term->add_force == nullptr) {
    const std::vector<double> loads(counts.begin(), counts.end());
    loss_free_update(bias, loads, balance_->coefficient);
    return;
  }
  std::vector<double> force(balance.logits.size(), 0.0);
  balance_->term->add_force(balance, -balance_->coefficient, force);
  for (std::size_t i = 0; i < force.size(); ++i) bias[i % columns] += force[i];
}

void GateGenerator::check_sizes(const ScoreModelSpec& spec) const {
  const double tokens =
      static_cast<double>(trace_.ranks) * static_cast<double>(trace_.tokens_per_rank);
  double widest = trace_.experts;
  double router = 0;
  for (const int width : gate_.score_widths) {
    widest += width;
    router += static_cast<double>(width) * static_cast<double>(spec.clusters) * trace_.layers;
  }
  const double rows =
      gate_.slots > 0 ? static_cast<double>(gate_.slots) * trace_.ranks : tokens * gate_.rounds;
  const double held = rows * trace_.layers * gate_.most_choices;
  const double mixes = gate_.slots > 0 ? rows * tokens : 0;
  if (tokens * widest * 2 + router + held + mixes * trace_.layers > kMostNumbers) {
    throw Error(fmt::format("a step of {:.0f} tokens, {} layers and {} experts needs more than "
                            "1 GiB with gate '{}'",
                            tokens, trace_.layers, trace_.experts, trace_.gate),
                "take fewer tokens per rank, ranks or layers");
  }
}

}  // namespace sim
