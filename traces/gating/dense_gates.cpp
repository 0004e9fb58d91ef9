// Gates in which every expert takes part: softmax, hierarchical, Soft MoE slots, merged experts.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "traces/gating/gate_rows.h"
#include "traces/gating/gates.h"

namespace sim {
namespace {

// Adds a row of (weight, expert), greatest weight first.
class DenseRow {
 public:
  void add(double weight, std::size_t expert) { entries_.push_back({weight, expert}); }
  void end(GateChoices& out) {
    std::stable_sort(entries_.begin(), entries_.end(),
                     [](const Entry& a, const Entry& b) { return a.weight > b.weight; });
    for (const Entry& entry : entries_) out.add(entry.expert, entry.weight);
    out.end_row();
    entries_.clear();
  }

 private:
  struct Entry {
    double weight;
    std::size_t expert;
  };
  std::vector<Entry> entries_;
};

void add_all(std::span<const double> weights, DenseRow& row, GateChoices& out) {
  for (std::size_t e = 0; e < weights.size(); ++e) row.add(weights[e], e);
  row.end(out);
}

// The greatest divisor of n that is at most its square root.
int middle_divisor(int n) {
  int best = 1;
  for (int d = 1; d * d <= n; ++d) best = n % d == 0 ? d : best;
  return best;
}

}  // namespace

Gate softmax_gate(YamlMap&, const GateShape& shape) {
  Gate gate = plain_gate(shape, shape.experts);
  gate.route = [](const GateInput& in) {
    GateChoices out;
    DenseRow row;
    for (std::int64_t t = 0; t < in.tokens; ++t)
      add_all(softmax_of(score_row(in, 0, t, in.experts)), row, out);
    return out;
  };
  return gate;
}

// Scores: groups, then experts. The expert's weight is softmax over the kept groups times softmax
// over the kept experts of its group.
Gate hierarchical_gate(YamlMap& keys, const GateShape& shape) {
  int groups =
      static_cast<int>(keys.count_or("groups", middle_divisor(shape.experts), {1, shape.experts}));
  if (shape.experts % groups != 0) {
    keys.mistake("groups", std::to_string(groups) + " groups do not divide " +
                               std::to_string(shape.experts) + " experts");
    groups = 1;
  }
  const int size = shape.experts / groups;
  const int all_groups = static_cast<int>(keys.count_or("top_groups", 0, {0, groups}));
  const int all_experts = static_cast<int>(keys.count_or("k", 0, {0, size}));
  const int kept_groups = all_groups == 0 ? groups : all_groups;
  const int kept_experts = all_experts == 0 ? size : all_experts;
  Gate gate;
  gate.score_widths = {groups, shape.experts};
  gate.most_choices = kept_groups * kept_experts;
  gate.score_columns = groups + static_cast<double>(kept_groups) * size;
  gate.route = [groups, size, kept_groups, kept_experts](const GateInput& in) {
    GateChoices out;
    DenseRow row;
    BestOf best_groups;
    BestOf best_experts;
    std::vector<double> outer;
    std::vector<double> inner;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const auto group_scores = score_row(in, 0, t, groups);
      const auto chosen = best_groups.of(group_scores, kept_groups);
      softmax_of(group_scores, chosen, outer);
      for (std::size_t g = 0; g < chosen.size(); ++g) {
        const std::size_t first = chosen[g] * static_cast<std::size_t>(size);
        const auto scores =
            score_row(in, 1, t, in.experts).subspan(first, static_cast<std::size_t>(size));
        const auto experts = best_experts.of(scores, kept_experts);
        softmax_of(scores, experts, inner);
        for (std::size_t i = 0; i < experts.size(); ++i)
          row.add(outer[g] * inner[i], first + experts[i]);
      }
      row.end(out);
    }
    return out;
  };
  return gate;
}

// Scores: a column per slot. dispatch = softmax over the rank's tokens of a slot's column, combine
// = softmax over slots of a token's row.
Gate soft_moe_gate(YamlMap& keys, const GateShape& shape) {
  const int per_expert =
      static_cast<int>(keys.count_or("slots", 1, {1, std::max(1, kMostColumns / shape.experts)}));
  const int slots = shape.experts * per_expert;
  Gate gate;
  gate.score_widths = {slots};
  gate.slots = slots;
  gate.most_choices = 1;
  gate.score_columns = slots;
  gate.route = [per_expert, slots](const GateInput& in) {
    GateChoices out;
    out.rows_are_slots = true;
    const std::vector<TokenRange> ranges = token_ranges(in, true);
    const auto tokens = static_cast<std::size_t>(in.tokens);
    const auto width = static_cast<std::size_t>(slots);
    out.dispatch.assign(ranges.size() * width * tokens, 0.0);
    out.combine.reserve(tokens * width);
    std::vector<double> column;
    for (std::size_t r = 0; r < ranges.size(); ++r) {
      for (std::size_t slot = 0; slot < width; ++slot) {
        column.clear();
        for (std::int64_t t = ranges[r].first; t < ranges[r].last; ++t)
          column.push_back(score_row(in, 0, t, slots)[slot]);
        const std::vector<double> mix = softmax_of(column);
        std::copy(mix.begin(), mix.end(),
                  out.dispatch.begin() + static_cast<std::ptrdiff_t>((r * width + slot) * tokens) +
                      ranges[r].first);
        out.add(slot / static_cast<std::size_t>(per_expert), 1);
        out.end_row();
        out.slot_ranks.push_back(ranges[r].rank);
      }
    }
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const std::vector<double> row = softmax_of(score_row(in, 0, t, slots));
      out.combine.insert(out.combine.end(), row.begin(), row.end());
    }
    return out;
  };
  return gate;
}

// SMEAR: the experts' parameters are averaged with these weights. With `per: source-rank` the
// logits are averaged over a rank's tokens first, so that all share one merged expert.
Gate merged_gate(YamlMap& keys, const GateShape& shape) {
  static const std::array<std::string, 2> kWords = {"token", "source-rank"};
  const bool shared = keys.choice_or("per", "token", kWords) == "source-rank";
  Gate gate = plain_gate(shape, shape.experts);
  gate.route = [shared](const GateInput& in) {
    GateChoices out;
    DenseRow row;
    for (const TokenRange& range : token_ranges(in, true)) {
      std::vector<double> mean(static_cast<std::size_t>(in.experts), 0.0);
      for (std::int64_t t = range.first; t < range.last; ++t) {
        const auto scores = score_row(in, 0, t, in.experts);
        for (std::size_t e = 0; e < mean.size(); ++e)
          mean[e] += scores[e] / static_cast<double>(range.size());
      }
      const std::vector<double> merged = softmax_of(mean);
      for (std::int64_t t = range.first; t < range.last; ++t)
        add_all(shared ? merged : softmax_of(score_row(in, 0, t, in.experts)), row, out);
    }
    return out;
  };
  return gate;
}

}  // namespace sim
