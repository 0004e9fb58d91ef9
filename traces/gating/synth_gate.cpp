#include "traces/gating/synth_gate.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sim/core/error.h"
#include "traces/gating/balance_terms.h"
#include "traces/gating/gate_generator.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

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
int most_choices(GateGenerator& generator, int steps) {
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
  RowWriter(TraceWriter& writer, const GateGenerator& generator, std::vector<std::uint32_t> tags)
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
  const GateGenerator& generator_;
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
  GateGenerator generator(trace, seed);
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
