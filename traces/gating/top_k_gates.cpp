// Gates that take a fixed number of the best scores.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "sim/core/error.h"
#include "traces/gating/gate_rows.h"
#include "traces/gating/gates.h"

namespace sim {
namespace {

// The softmax over the chosen entries.
void softmax_at(std::span<const double> row, std::span<const std::uint32_t> chosen,
                std::vector<double>& out) {
  softmax_of(row, chosen, out);
}

// The softmax over a whole row, at the chosen entries.
void probabilities_at(std::span<const double> row, std::span<const std::uint32_t> chosen,
                      std::vector<double>& out) {
  const std::vector<double> all = softmax_of(row);
  out.clear();
  for (const std::uint32_t e : chosen) out.push_back(all[e]);
}

void scale_to_one(std::vector<double>& weights) {
  double sum = 0;
  for (const double w : weights) sum += w;
  if (sum <= 0) return;
  for (double& w : weights) w /= sum;
}

void add_row(std::span<const std::uint32_t> chosen, std::span<const double> weights,
             GateChoices& out) {
  for (std::size_t i = 0; i < chosen.size(); ++i) out.add(chosen[i], weights[i]);
  out.end_row();
}

// Every token's k best of matrix `matrix`; `weigh` fills their weights.
template <class Weigh>
void take_best(const GateInput& in, std::size_t matrix, int k, Weigh weigh, GateChoices& out) {
  BestOf best;
  std::vector<double> weights;
  for (std::int64_t t = 0; t < in.tokens; ++t) {
    const auto row = score_row(in, matrix, t, in.experts);
    const auto chosen = best.of(row, k);
    weigh(row, chosen, weights);
    add_row(chosen, weights, out);
  }
}

// `sigmoid` or `softmax`, applied to a row of logits: the affinities that DeepSeek selects from.
enum class Affinity { kSigmoid, kSoftmax };

Affinity read_affinity(YamlMap& keys) {
  static const std::array<std::string, 2> kWords = {"sigmoid", "softmax"};
  return keys.choice_or("score", "sigmoid", kWords) == "softmax" ? Affinity::kSoftmax
                                                                 : Affinity::kSigmoid;
}

std::vector<double> affinities(std::span<const double> row, Affinity affinity) {
  if (affinity == Affinity::kSoftmax) return softmax_of(row);
  std::vector<double> out(row.begin(), row.end());
  for (double& s : out) s = sigmoid(s);
  return out;
}

double bias_of(const GateInput& in, std::size_t expert) {
  return in.bias.empty() ? 0 : in.bias[expert];
}

}  // namespace

Gate top_k_gate(YamlMap& keys, const GateShape& shape) {
  const int k = read_k(keys, shape);
  const bool normalise = keys.flag_or("normalise", true);
  Gate gate = plain_gate(shape, k);
  gate.route = [k, normalise](const GateInput& in) {
    GateChoices out;
    if (normalise) {
      take_best(in, 0, k, softmax_at, out);
    } else {
      take_best(in, 0, k, probabilities_at, out);
    }
    return out;
  };
  return gate;
}

Gate switch_gate(YamlMap& keys, const GateShape& shape) {
  CapacityRule rule;
  rule.kind = CapacityKind::kFixed;
  rule.factor = keys.number_or("capacity_factor", 1.25, {0.01, 1e6});
  Gate gate = plain_gate(shape, 1);
  gate.capacity = rule;
  gate.route = [](const GateInput& in) {
    GateChoices out;
    take_best(in, 0, 1, probabilities_at, out);
    return out;
  };
  return gate;
}

Gate sigmoid_gate(YamlMap& keys, const GateShape& shape) {
  const int k = read_k(keys, shape);
  const bool normalise = keys.flag_or("normalise", false);
  Gate gate = plain_gate(shape, k);
  gate.route = [k, normalise](const GateInput& in) {
    GateChoices out;
    const auto weigh = [normalise](std::span<const double> row,
                                   std::span<const std::uint32_t> chosen,
                                   std::vector<double>& weights) {
      weights.clear();
      for (const std::uint32_t e : chosen) weights.push_back(sigmoid(row[e]));
      if (normalise) scale_to_one(weights);
    };
    take_best(in, 0, k, weigh, out);
    return out;
  };
  return gate;
}

// Scores: the projected tokens, `dimension` columns. The expert vectors are the input's; without
// them each (seed, layer) has its own, drawn once from N(0, 1).
Gate cosine_gate(YamlMap& keys, const GateShape& shape) {
  const int k = read_k(keys, shape);
  const int dimension =
      static_cast<int>(keys.count_or("dimension", std::max(1, shape.experts / 2), {1, 65536}));
  const double temperature = keys.number_or("temperature", 0.07, {1e-6, 1e6});
  Gate gate = plain_gate(shape, k);
  gate.score_widths = {dimension};
  gate.has_logits = false;
  gate.score_columns = dimension + static_cast<double>(shape.experts) * dimension;
  gate.route = [k, dimension, temperature](const GateInput& in) {
    const auto width = static_cast<std::size_t>(dimension);
    const auto experts = static_cast<std::size_t>(in.experts);
    std::vector<double> vectors(in.expert_vectors.begin(), in.expert_vectors.end());
    if (vectors.empty()) {
      RandomStream random(in.seed, "gating/cosine/layer " + std::to_string(in.layer));
      for (std::size_t i = 0; i < experts * width; ++i) vectors.push_back(random.normal());
    }
    SIM_CHECK(vectors.size() == experts * width, "a vector per expert");
    const auto norm = [](std::span<const double> v) {
      return std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
    };
    GateChoices out;
    BestOf best;
    std::vector<double> row(experts);
    std::vector<double> weights;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const auto token = score_row(in, 0, t, dimension);
      for (std::size_t e = 0; e < experts; ++e) {
        const auto vector = std::span<const double>(vectors).subspan(e * width, width);
        const double lengths = norm(token) * norm(vector);
        const double dot = std::inner_product(token.begin(), token.end(), vector.begin(), 0.0);
        row[e] = lengths > 0 ? dot / lengths / temperature : 0;
      }
      const auto chosen = best.of(row, k);
      probabilities_at(row, chosen, weights);
      add_row(chosen, weights, out);
    }
    return out;
  };
  return gate;
}

Gate rank_k_gate(YamlMap& keys, const GateShape& shape) {
  const int rank =
      static_cast<int>(keys.count_or("rank", std::min(2, shape.experts), {1, shape.experts}));
  Gate gate = plain_gate(shape, 1);
  gate.route = [rank](const GateInput& in) {
    GateChoices out;
    BestOf best;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const auto row = score_row(in, 0, t, in.experts);
      const std::uint32_t e = best.of(row, rank).back();
      out.add(e, softmax_of(row)[e]);
      out.end_row();
    }
    return out;
  };
  return gate;
}

// Scores: one matrix per round. The rows of a round follow those of the round before.
Gate chained_gate(YamlMap& keys, const GateShape& shape) {
  const int k = read_k(keys, shape);
  const int rounds = static_cast<int>(keys.count_or("rounds", 2, {1, 64}));
  Gate gate = plain_gate(shape, k);
  gate.rounds = rounds;
  gate.score_widths.assign(static_cast<std::size_t>(rounds), shape.experts);
  gate.score_columns = static_cast<double>(rounds) * shape.experts;
  gate.route = [k, rounds](const GateInput& in) {
    GateChoices out;
    for (int round = 0; round < rounds; ++round)
      take_best(in, static_cast<std::size_t>(round), k, softmax_at, out);
    return out;
  };
  return gate;
}

// DeepSeek-V2: softmax scores, a group's score is its greatest. V3: sigmoid scores plus bias, a
// group's score is the sum of its two greatest. Weights are the scores without bias, scaled to 1.
Gate group_limited_gate(YamlMap& keys, const GateShape& shape) {
  static const std::array<std::string, 2> kSums = {"top-2-sum", "max"};
  const int k = read_k(keys, shape);
  int groups = static_cast<int>(keys.count_or("groups", 1, {1, shape.experts}));
  if (shape.experts % groups != 0) {
    keys.mistake("groups", std::to_string(groups) + " groups do not divide " +
                               std::to_string(shape.experts) + " experts");
    groups = 1;
  }
  const int size = shape.experts / groups;
  const int least = (k + size - 1) / size;
  const int limit =
      static_cast<int>(keys.count_or("limit", std::max(least, (groups + 1) / 2), {least, groups}));
  const Affinity affinity = read_affinity(keys);
  const int summed = keys.choice_or("group_score", "top-2-sum", kSums) == "max" ? 1 : 2;
  Gate gate = plain_gate(shape, k);
  gate.route = [=](const GateInput& in) {
    GateChoices out;
    BestOf best;
    const auto width = static_cast<std::size_t>(size);
    std::vector<double> selection;
    std::vector<double> weights;
    std::vector<double> group_scores(static_cast<std::size_t>(groups));
    std::vector<bool> kept(group_scores.size());
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const std::vector<double> score = affinities(score_row(in, 0, t, in.experts), affinity);
      selection = score;
      for (std::size_t e = 0; e < selection.size(); ++e) selection[e] += bias_of(in, e);
      for (std::size_t g = 0; g < group_scores.size(); ++g) {
        const auto members = std::span<const double>(selection).subspan(g * width, width);
        group_scores[g] = 0;
        for (const std::uint32_t e : best.of(members, std::min(summed, size)))
          group_scores[g] += members[e];
      }
      std::fill(kept.begin(), kept.end(), false);
      for (const std::uint32_t g : best.of(group_scores, limit)) kept[g] = true;
      for (std::size_t e = 0; e < selection.size(); ++e) {
        if (!kept[e / width]) selection[e] = -std::numeric_limits<double>::infinity();
      }
      const auto chosen = best.of(selection, k);
      weights.clear();
      for (const std::uint32_t e : chosen) weights.push_back(score[e]);
      scale_to_one(weights);
      add_row(chosen, weights, out);
    }
    return out;
  };
  return gate;
}

Gate loss_free_gate(YamlMap& keys, const GateShape& shape) {
  const int k = read_k(keys, shape);
  const Affinity affinity = read_affinity(keys);
  Gate gate = plain_gate(shape, k);
  gate.route = [k, affinity](const GateInput& in) {
    GateChoices out;
    BestOf best;
    std::vector<double> weights;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const std::vector<double> score = affinities(score_row(in, 0, t, in.experts), affinity);
      std::vector<double> selection = score;
      for (std::size_t e = 0; e < selection.size(); ++e) selection[e] += bias_of(in, e);
      const auto chosen = best.of(selection, k);
      weights.clear();
      for (const std::uint32_t e : chosen) weights.push_back(score[e]);
      scale_to_one(weights);
      add_row(chosen, weights, out);
    }
    return out;
  };
  return gate;
}

}  // namespace sim
