// Gates whose number of experts differs from token to token or from step to step.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "traces/gating/gate_rows.h"
#include "traces/gating/gates.h"

namespace sim {
namespace {

void add_softmax_row(std::span<const double> row, std::span<const std::uint32_t> chosen,
                     std::vector<double>& weights, GateChoices& out) {
  softmax_of(row, chosen, weights);
  for (std::size_t i = 0; i < chosen.size(); ++i) out.add(chosen[i], weights[i]);
  out.end_row();
}

}  // namespace

// k of step s: k_first + (k_last - k_first) * s / steps, rounded, then k_last. The scores have to
// be those of a router that stays as it was drawn; this gate only grows k.
Gate frozen_random_gate(YamlMap& keys, const GateShape& shape) {
  const int first = static_cast<int>(keys.count_or("k_first", 1, {1, shape.experts}));
  const int last = static_cast<int>(keys.count_or(
      "k_last", std::max(first, std::min(shape.top_k, shape.experts)), {first, shape.experts}));
  const std::int64_t steps = keys.count_or("steps", 1000, {1, 1 << 30});
  Gate gate = plain_gate(shape, last);
  gate.trained = false;
  gate.fixed_count = first == last;
  gate.route = [first, last, steps](const GateInput& in) {
    const double part = std::min(1.0, static_cast<double>(in.step) / static_cast<double>(steps));
    const int k = static_cast<int>(std::lround(first + (last - first) * part));
    GateChoices out;
    BestOf best;
    std::vector<double> weights;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const auto row = score_row(in, 0, t, in.experts);
      add_softmax_row(row, best.of(row, k), weights, out);
    }
    return out;
  };
  return gate;
}

// Weights are the probabilities themselves.
Gate top_p_gate(YamlMap& keys, const GateShape& shape) {
  const double p = keys.number_or("p", 0.4, {0, 1});
  Gate gate = plain_gate(shape, shape.experts);
  gate.fixed_count = false;
  gate.route = [p](const GateInput& in) {
    GateChoices out;
    BestOf best;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const std::vector<double> probability = softmax_of(score_row(in, 0, t, in.experts));
      double sum = 0;
      for (const std::uint32_t e : best.of(probability, in.experts)) {
        out.add(e, probability[e]);
        sum += probability[e];
        // The sum of all may fall short of 1 by rounding.
        if (sum >= p - 1e-12) break;
      }
      out.end_row();
    }
    return out;
  };
  return gate;
}

// Scores: experts, then nulls. Weights by softmax over the true experts among the k chosen; a token
// may choose nulls only.
Gate null_experts_gate(YamlMap& keys, const GateShape& shape) {
  const int nulls = static_cast<int>(keys.count_or("nulls", shape.experts, {0, 65536}));
  const int columns = shape.experts + nulls;
  const int k = static_cast<int>(keys.count_or("k", std::min(shape.top_k, columns), {1, columns}));
  Gate gate = plain_gate(shape, std::min(k, shape.experts));
  gate.score_widths = {columns};
  gate.score_columns = columns;
  gate.null_experts = nulls;
  gate.fixed_count = nulls == 0;
  gate.route = [k, nulls, columns](const GateInput& in) {
    GateChoices out;
    out.null_counts.assign(static_cast<std::size_t>(nulls), 0);
    BestOf best;
    std::vector<std::uint32_t> experts;
    std::vector<double> weights;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const auto row = score_row(in, 0, t, columns);
      experts.clear();
      const auto chosen = best.of(row, k);
      out.first_columns.push_back(chosen.front());
      for (const std::uint32_t e : chosen) {
        if (e < static_cast<std::uint32_t>(in.experts)) {
          experts.push_back(e);
        } else {
          ++out.null_counts[e - static_cast<std::uint32_t>(in.experts)];
        }
      }
      add_softmax_row(row, experts, weights, out);
    }
    return out;
  };
  return gate;
}

// Scores: logits; with a mask a second matrix, whose entries above 0 keep a chosen expert.
Gate top_any_gate(YamlMap& keys, const GateShape& shape) {
  std::vector<std::int64_t> ks = keys.counts_or_empty("ks", {1, shape.experts});
  if (ks.empty()) ks = {1, std::min(2, shape.experts)};
  const bool masked = keys.flag_or("mask", false);
  Gate gate = plain_gate(shape, static_cast<int>(*std::max_element(ks.begin(), ks.end())));
  gate.fixed_count =
      !masked && std::all_of(ks.begin(), ks.end(), [&](std::int64_t k) { return k == ks.front(); });
  if (masked) {
    gate.score_widths = {shape.experts, shape.experts};
    gate.score_columns = 2.0 * shape.experts;
  }
  gate.route = [ks, masked](const GateInput& in) {
    const int k = static_cast<int>(ks[static_cast<std::size_t>(in.step) % ks.size()]);
    GateChoices out;
    BestOf best;
    std::vector<std::uint32_t> kept;
    std::vector<double> weights;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const auto row = score_row(in, 0, t, in.experts);
      kept.clear();
      for (const std::uint32_t e : best.of(row, k)) {
        if (kept.empty() || !masked || score_row(in, 1, t, in.experts)[e] > 0) kept.push_back(e);
      }
      add_softmax_row(row, kept, weights, out);
    }
    return out;
  };
  return gate;
}

namespace {

// 0 below -gamma/2, 1 above gamma/2, a cubic between.
double smooth_step(double x, double gamma) {
  if (x <= -gamma / 2) return 0;
  if (x >= gamma / 2) return 1;
  return -2 / (gamma * gamma * gamma) * x * x * x + 3 / (2 * gamma) * x + 0.5;
}

}  // namespace

// Scores: k * experts leaf logits, then k * (experts - 1) nodes in heap order. A node sends a token
// left with probability smooth_step(score); tree t reaches leaf e with probability v, and
//   g_e = sum_t v[t,e] exp(leaf[t,e]) / sum over all t, e of the same.
// Once every split is sure a tree reaches one leaf along log2(experts) nodes; that path is what
// score_columns counts.
Gate comet_gate(YamlMap& keys, const GateShape& shape) {
  int k = read_k(keys, shape);
  const double gamma = keys.number_or("gamma", 1, {1e-9, 1e9});
  if (!std::has_single_bit(static_cast<unsigned>(shape.experts))) {
    keys.mistake("", std::to_string(shape.experts) + " experts are no binary tree's leaves",
                 "comet needs a power of two");
  }
  if (k > kMostColumns / shape.experts) {
    keys.mistake("k", "so many trees have more than 2^24 leaves", "take fewer trees");
    k = 1;
  }
  const int nodes = shape.experts - 1;
  Gate gate;
  gate.score_widths = {k * shape.experts, std::max(1, k * nodes)};
  gate.most_choices = shape.experts;
  gate.fixed_count = false;
  gate.score_columns = k * (std::bit_width(static_cast<unsigned>(shape.experts)) - 1.0) + k;
  gate.route = [k, gamma, nodes](const GateInput& in) {
    GateChoices out;
    BestOf best;
    const auto experts = static_cast<std::size_t>(in.experts);
    std::vector<double> reach(2 * experts);  // heap order from 1: nodes, then leaves
    std::vector<double> reached_leaves(static_cast<std::size_t>(k) * experts);
    std::vector<double> weight(experts);
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const auto leaves = score_row(in, 0, t, k * in.experts);
      const auto splits = score_row(in, 1, t, std::max(1, k * nodes));
      // Of the leaves that are reached: beside a greater one elsewhere they could all vanish.
      double greatest = -std::numeric_limits<double>::infinity();
      std::fill(weight.begin(), weight.end(), 0.0);
      double sum = 0;
      for (std::size_t tree = 0; tree < static_cast<std::size_t>(k); ++tree) {
        reach[1] = 1;
        for (std::size_t node = 1; node < experts; ++node) {
          const double left =
              smooth_step(splits[tree * static_cast<std::size_t>(nodes) + node - 1], gamma);
          reach[2 * node] = reach[node] * left;
          reach[2 * node + 1] = reach[node] * (1 - left);
        }
        for (std::size_t e = 0; e < experts; ++e) {
          const std::size_t leaf = tree * experts + e;
          reached_leaves[leaf] = reach[experts + e];
          if (reached_leaves[leaf] > 0) greatest = std::max(greatest, leaves[leaf]);
        }
      }
      for (std::size_t leaf = 0; leaf < reached_leaves.size(); ++leaf) {
        if (reached_leaves[leaf] <= 0) continue;
        const double w = reached_leaves[leaf] * std::exp(leaves[leaf] - greatest);
        weight[leaf % experts] += w;
        sum += w;
      }
      const auto reached =
          std::count_if(weight.begin(), weight.end(), [](double w) { return w > 0; });
      for (const std::uint32_t e : best.of(weight, static_cast<int>(reached)))
        out.add(e, weight[e] / sum);
      out.end_row();
    }
    return out;
  };
  return gate;
}

}  // namespace sim
