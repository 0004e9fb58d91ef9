#include "traces/gating/synth_gate.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>

#include "sim/core/error.h"
#include "sim/core/random.h"
#include "traces/gating/balance_terms.h"
#include "traces/gating/score_model.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

constexpr double kMostNumbers = 1 << 27;  // of 8 bytes: 1 GiB

struct BalanceRule {
  const BalanceTerm* term = nullptr;
  double coefficient = 0;
};

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
  }
  return rule;
}

// Everything that a step needs, and the biases that move from step to step.
class Generator {
 public:
  Generator(const GateTrace& trace, std::uint64_t seed) : trace_(trace), seed_(seed) {
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

  const Gate& gate() const { return gate_; }
  int domains() const { return domains_; }
  const std::vector<std::int32_t>& source_ranks() const { return source_ranks_; }
  const std::vector<std::int64_t>& token_ids() const { return token_ids_; }
  const std::vector<std::int32_t>& token_domains() const { return token_domains_; }

  // Back to the first step: biases at zero.
  void restart() {
    biases_.assign(static_cast<std::size_t>(trace_.layers), {});
    step_ = -1;
  }

  // The choices of every layer of the next step.
  std::vector<GateChoices> next_step() {
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

 private:
  GateChoices one_layer(int layer) {
    std::vector<double>& bias = biases_[static_cast<std::size_t>(layer)];
    const bool in_logits = balance_ && balance_->term->add_force != nullptr;
    const std::vector<double> none;
    matrices_.resize(gate_.score_widths.size());
    GateInput in;
    for (std::size_t m = 0; m < matrices_.size(); ++m) {
      const int width = gate_.score_widths[m];
      scores_->fill(step_, layer, static_cast<int>(m), width, m == 0 && gate_.has_logits,
                    token_ids_, m == 0 && in_logits ? bias : none, matrices_[m]);
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

  void push(const GateInput& in, const GateChoices& choices, std::vector<double>& bias) const {
    BalanceInput balance;
    balance.tokens = in.tokens;
    balance.experts = in.experts;
    balance.null_experts = gate_.null_experts;
    balance.top_k = gate_.most_choices;
    balance.logits = in.scores[0];
    const auto columns = static_cast<std::size_t>(balance.columns());
    std::vector<std::int64_t> counts(columns, 0);
    std::vector<std::int64_t> first(columns, 0);
    for (std::int64_t row = 0; row < choices.rows(); ++row) {
      const auto chosen = choices.of(row);
      for (const std::uint16_t e : chosen) ++counts[e];
      if (!chosen.empty()) ++first[chosen.front()];
    }
    if (gate_.null_experts > 0) {  // which null it was changes nothing: they are one bucket
      counts[static_cast<std::size_t>(in.experts)] =
          choices.rows() * gate_.most_choices - static_cast<std::int64_t>(choices.choices.size());
    }
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

  void check_sizes(const ScoreModelSpec& spec) const {
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

  const GateTrace& trace_;
  std::uint64_t seed_;
  int domains_ = 1;
  std::optional<ScoreModel> scores_;
  Gate gate_;
  std::optional<BalanceRule> balance_;
  std::vector<std::int32_t> source_ranks_;
  std::vector<std::vector<double>> biases_;  // per layer; empty until the first push
  std::vector<std::int64_t> token_ids_;
  std::vector<std::int32_t> token_domains_;
  std::vector<std::vector<double>> matrices_;
  int step_ = -1;
};

double imbalance_of(const std::vector<GateChoices>& layers, int experts) {
  double sum = 0;
  for (const GateChoices& layer : layers) {
    std::vector<std::int64_t> counts(static_cast<std::size_t>(experts), 0);
    for (const std::uint16_t e : layer.choices) ++counts[e];
    const std::vector<double> shares = shares_of(counts);
    sum += *std::max_element(shares.begin(), shares.end()) * experts;
  }
  return sum / static_cast<double>(layers.size());
}

std::int64_t dropped_by(const CapacityRule& rule, const GateChoices& choices,
                        const GateTrace& trace, int top_k) {
  ChoiceView view;
  view.ranks = trace.ranks;
  view.experts = trace.experts;
  std::vector<std::int64_t> rank_begin;
  for (int rank = 0; rank <= trace.ranks; ++rank)
    rank_begin.push_back(rank * trace.tokens_per_rank);
  view.rank_begin = rank_begin;
  view.choice_begin = choices.choice_begin;
  view.choices = choices.choices;
  view.weights = choices.weights;
  return apply_capacity(view, top_k, rule).dropped_choices;
}

// The greatest number of choices that any row has.
int most_choices(Generator& generator, int steps) {
  if (generator.gate().fixed_count) return generator.gate().most_choices;
  std::size_t most = 1;
  for (int step = 0; step < steps; ++step) {
    for (const GateChoices& layer : generator.next_step()) {
      for (std::int64_t row = 0; row < layer.rows(); ++row)
        most = std::max(most, layer.of(row).size());
    }
  }
  generator.restart();
  return static_cast<int>(most);
}

// Turns the layers' choices into rows of a trace.
class RowWriter {
 public:
  RowWriter(TraceWriter& writer, const Generator& generator, std::vector<std::uint32_t> tags)
      : writer_(writer), generator_(generator), tags_(std::move(tags)) {}

  void write(int step, const std::vector<GateChoices>& layers) {
    const auto tokens = static_cast<std::int64_t>(generator_.source_ranks().size());
    for (std::int64_t r = 0; r < layers.front().rows(); ++r) {
      TokenRow row;
      row.step = step;
      const auto token = static_cast<std::size_t>(r % std::max<std::int64_t>(1, tokens));
      if (layers.front().rows_are_slots) {
        row.source_rank = layers.front().slot_ranks[static_cast<std::size_t>(r)];
      } else {
        row.source_rank = generator_.source_ranks()[token];
        row.token_id = generator_.token_ids()[token];
        row.round = static_cast<std::uint32_t>(r / tokens);
        if (!tags_.empty())
          row.tag = tags_[static_cast<std::size_t>(generator_.token_domains()[token])];
      }
      choices_.clear();
      counts_.clear();
      weights_.clear();
      for (const GateChoices& layer : layers) {
        const auto chosen = layer.of(r);
        const auto weights = layer.weights_of(r);
        choices_.insert(choices_.end(), chosen.begin(), chosen.end());
        weights_.insert(weights_.end(), weights.begin(), weights.end());
        counts_.push_back(static_cast<std::uint8_t>(chosen.size()));
      }
      row.choices = choices_;
      row.choice_counts = counts_;
      row.gate_weights = weights_;
      writer_.append(row);
    }
  }

 private:
  TraceWriter& writer_;
  const Generator& generator_;
  std::vector<std::uint32_t> tags_;
  std::vector<std::uint16_t> choices_;
  std::vector<std::uint8_t> counts_;
  std::vector<float> weights_;
};

std::string provenance_of(const GateTrace& trace, std::uint64_t seed) {
  std::string text = fmt::format("synthetic: gate {} on drawn scores", trace.gate);
  for (const std::string& assignment : trace.set) text += " " + assignment;
  return text + fmt::format(", seed {}", seed);
}

}  // namespace

GateTraceReport synth_gate(const GateTrace& trace, std::uint64_t seed, const std::string& path) {
  SIM_CHECK(trace.layers > 0 && trace.steps > 0 && trace.ranks > 0 && trace.tokens_per_rank > 0,
            "a trace has layers, steps, ranks and tokens");
  Generator generator(trace, seed);
  const Gate& gate = generator.gate();
  const int most = most_choices(generator, trace.steps);
  if (most > kMostChoices) {
    throw Error(fmt::format("gate '{}' gives a token {} experts of a layer, a trace holds {}",
                            trace.gate, most, kMostChoices),
                "take fewer experts");
  }
  TraceHeader header;
  header.model = trace.model;
  header.provenance = provenance_of(trace, seed);
  header.experts.assign(static_cast<std::size_t>(trace.layers), trace.experts);
  header.top_k = most;
  header.has_steps = true;
  header.has_gate_weights = true;
  header.has_token_ids = gate.slots == 0;
  header.has_rounds = gate.rounds > 1;
  header.has_tags = generator.domains() > 1 && gate.slots == 0;
  TraceWriter writer(path, header);
  std::vector<std::uint32_t> tags;
  for (int d = 0; d < generator.domains() && header.has_tags; ++d)
    tags.push_back(writer.tag(fmt::format("domain {}", d)));
  RowWriter rows(writer, generator, std::move(tags));
  GateTraceReport report;
  report.score_columns = gate.score_columns;
  report.capacity = gate.capacity;
  for (int step = 0; step < trace.steps; ++step) {
    const std::vector<GateChoices> layers = generator.next_step();
    rows.write(step, layers);
    report.rows += layers.front().rows();
    for (const GateChoices& layer : layers) {
      report.choices += static_cast<std::int64_t>(layer.choices.size());
      if (gate.capacity)
        report.dropped_choices += dropped_by(*gate.capacity, layer, trace, gate.most_choices);
    }
    const double imbalance = imbalance_of(layers, trace.experts);
    if (step == 0) report.first_imbalance = imbalance;
    report.last_imbalance = imbalance;
  }
  writer.finish();
  report.choices_per_row =
      static_cast<double>(report.choices) / (static_cast<double>(report.rows) * trace.layers);
  return report;
}

}  // namespace sim
