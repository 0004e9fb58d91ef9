// Routing functions: from router scores to each token's experts and weights. One visible table
// (gating.cpp), one function per line; every row of the published functions that we know.
//
// A routing function sees one layer of one step: a matrix of scores (or several: its score_widths
// say which), optionally token ids, domains and source ranks. It is deterministic: what it draws
// depends on (seed, step, layer) and its own name. It knows no topology. Ties go to the lower
// expert (or earlier token).
//
// RL routing and routing networks have no rule of their own here: record them as a trace.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/input/yaml_reader.h"
#include "traces/gating/overflow.h"

namespace sim {

// What a gate is made for.
struct GateShape {
  int experts = 0;
  int top_k = 1;    // default of the key `k`, lowered to the number of experts
  int ranks = 1;    // source ranks
  int domains = 1;  // tags: languages, tasks
  std::span<const double> token_frequencies;  // of token ids 0, 1, ...; empty: not known
};

// One layer's tokens. Spans of tokens that a gate does not use may be empty.
struct GateInput {
  std::int64_t tokens = 0;
  int experts = 0;
  // One matrix per entry of Gate::score_widths, row-major [tokens, width]. The first one holds the
  // router's logits unless the gate's help says otherwise.
  std::vector<std::span<const double>> scores;
  std::span<const std::int64_t> token_ids;
  std::span<const std::int32_t> source_ranks;  // rising; empty: all of rank 0
  std::span<const std::int32_t> domains;       // empty: all of domain 0
  std::span<const double> expert_vectors;      // cosine: [experts, dimension]
  std::span<const double> bias;                // added for the selection only; empty: none
  std::uint64_t seed = 0;
  int step = 0;
  int layer = 0;
};

// Rows and their experts, in order of preference. A row is a token (row = round * tokens + token),
// or, with rows_are_slots, a weighted mix of the tokens of one source rank.
struct GateChoices {
  std::vector<std::int64_t> choice_begin = {0};  // rows + 1
  std::vector<std::uint16_t> choices;            // distinct within a row
  std::vector<float> weights;                    // as long as choices
  // Of gates with nulls only: how often each null was chosen, and the column that each row likes
  // best, where nulls are counted on after the experts.
  std::vector<std::int64_t> null_counts;
  std::vector<std::uint32_t> first_columns;
  bool rows_are_slots = false;
  std::vector<std::int32_t> slot_ranks;  // rows_are_slots: the source rank of each row
  // rows_are_slots: a slot's input is sum over tokens of dispatch[slot * tokens + t] x_t, a token's
  // output the sum over slots of combine[t * slots + slot] times the slot's output.
  std::vector<double> dispatch;
  std::vector<double> combine;

  std::int64_t rows() const { return static_cast<std::int64_t>(choice_begin.size()) - 1; }
  std::span<const std::uint16_t> of(std::int64_t row) const;
  std::span<const float> weights_of(std::int64_t row) const;
  void end_row() { choice_begin.push_back(static_cast<std::int64_t>(choices.size())); }
  void add(std::size_t expert, double weight) {
    choices.push_back(static_cast<std::uint16_t>(expert));
    weights.push_back(static_cast<float>(weight));
  }
};

// A routing function with its parameters set.
struct Gate {
  std::vector<int> score_widths;  // columns of each score matrix
  int most_choices = 0;           // of a row
  bool fixed_count = true;        // every row has exactly most_choices
  int rounds = 1;                 // rows per token
  int null_experts = 0;           // columns of the first matrix that are no experts
  int slots = 0;                  // rows per source rank when rows are slots, else 0
  bool has_logits = false;        // the first matrix holds one logit per expert and null
  bool trained = true;            // false: the router stays as it was drawn
  // Columns of scores that one token has evaluated; the sum of score_widths unless the gate skips
  // some (a tree).
  double score_columns = 0;
  std::optional<CapacityRule> capacity;  // the capacity that its paper pairs it with
  std::function<GateChoices(const GateInput&)> route;
};

// Multiply-adds of the scores, 2 per product: 2 * hidden * score_columns flops per token. Selection
// and softmax, of order experts, are not counted.
double gate_flops_per_token(const Gate& gate, int hidden);

struct GatingFunction {
  std::string_view name;
  std::string_view help;  // the rule, one line
  std::string_view keys;  // its parameters with their defaults, for the documentation
  std::string_view source;
  Gate (*make)(YamlMap& keys, const GateShape& shape);
};

// Every routing function, in the order of the documentation.
std::span<const GatingFunction> gating_functions();
// Throws Error with a suggestion.
const GatingFunction& gating_function(std::string_view name);

// Reads the parameters; mistakes go to the map's list. Does not call keys.finish().
Gate make_gate(std::string_view name, YamlMap& keys, const GateShape& shape);
// From "key=value" texts. Throws Error with every mistake, unknown keys among them.
Gate make_gate(std::string_view name, std::span<const std::string> assignments,
               const GateShape& shape);

// Calls gate.route after checking that the input has what the gate needs. Throws Error when a gate
// that goes by token id gets none.
GateChoices route(const Gate& gate, const GateInput& input);

}  // namespace sim
