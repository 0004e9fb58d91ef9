// Gates that add noise to the scores or choose by chance among the best.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "traces/gating/gate_rows.h"
#include "traces/gating/gates.h"

namespace sim {
namespace {

double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

// Temperature of a step: from `first` to `last` in `steps` steps, linearly, then constant.
double falling(double first, double last, std::int64_t steps, int step) {
  const double part = std::min(1.0, static_cast<double>(step) / static_cast<double>(steps));
  return first + (last - first) * part;
}

// The experts whose probability reaches the threshold, best first; at least the best one.
std::span<const std::uint32_t> above(std::span<const double> p, double threshold, BestOf& best) {
  const auto passed = std::count_if(p.begin(), p.end(), [&](double x) { return x >= threshold; });
  return best.of(p, std::max(1, static_cast<int>(passed)));
}

}  // namespace

// Weight 1 each: the choice is not scaled. With Gumbel noise the weight is the sample's softmax.
Gate hard_gate(YamlMap& keys, const GateShape& shape) {
  const double threshold = keys.number_or("threshold", 0, {0, 1});
  const bool noisy = keys.flag_or("gumbel", false);
  if (!noisy && keys.has("temperature"))
    keys.mistake("temperature", "only Gumbel noise has a temperature", "add gumbel=true");
  const double temperature = keys.number_or("temperature", 1, {1e-6, 1e6});
  Gate gate = plain_gate(shape, threshold > 0 ? shape.experts : 1);
  gate.fixed_count = threshold <= 0;
  gate.route = [threshold, noisy, temperature](const GateInput& in) {
    RandomStream random = gate_stream(in, "hard");
    GateChoices out;
    BestOf best;
    std::vector<double> row;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const auto scores = score_row(in, 0, t, in.experts);
      row.assign(scores.begin(), scores.end());
      if (noisy) {
        for (double& s : row) s = (s + gumbel(random)) / temperature;
      }
      const std::vector<double> p = softmax_of(row);
      const auto chosen = threshold > 0 ? above(p, threshold, best) : best.of(p, 1);
      for (const std::uint32_t e : chosen) out.add(e, noisy ? p[e] : 1);
      out.end_row();
    }
    return out;
  };
  return gate;
}

// gaussian: top-k of softmax(logits + eps), weights those probabilities. learned: softmax over the
// k greatest of logits + N(0, 1) * softplus(second matrix).
Gate noisy_top_k_gate(YamlMap& keys, const GateShape& shape) {
  static const std::array<std::string, 2> kForms = {"gaussian", "learned"};
  const int k = read_k(keys, shape);
  const bool learned = keys.choice_or("noise", "gaussian", kForms) == "learned";
  if (learned && keys.has("sigma"))
    keys.mistake("sigma", "learned noise takes its deviation from the second matrix",
                 "leave sigma out");
  const double sigma = keys.number_or("sigma", 1, {0, 1e6});
  Gate gate = plain_gate(shape, k);
  if (learned) {
    gate.score_widths = {shape.experts, shape.experts};
    gate.score_columns = 2.0 * shape.experts;
  }
  gate.route = [k, learned, sigma](const GateInput& in) {
    RandomStream random = gate_stream(in, "noisy-top-k");
    GateChoices out;
    BestOf best;
    std::vector<double> row;
    std::vector<double> weights;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const auto scores = score_row(in, 0, t, in.experts);
      row.assign(scores.begin(), scores.end());
      for (std::size_t e = 0; e < row.size(); ++e) {
        const double deviation = learned ? softplus(score_row(in, 1, t, in.experts)[e]) : sigma;
        row[e] += deviation * random.normal();
      }
      const auto chosen = best.of(row, k);
      if (learned) {
        softmax_of(row, chosen, weights);
      } else {
        const std::vector<double> p = softmax_of(row);
        weights.clear();
        for (const std::uint32_t e : chosen) weights.push_back(p[e]);
      }
      for (std::size_t i = 0; i < chosen.size(); ++i) out.add(chosen[i], weights[i]);
      out.end_row();
    }
    return out;
  };
  return gate;
}

Gate gshard_gate(YamlMap& keys, const GateShape& shape) {
  CapacityRule rule;
  rule.kind = CapacityKind::kFixed;
  rule.factor = keys.number_or("capacity_factor", 1, {0.01, 1e6});
  if (shape.experts < 2) keys.mistake("", "a second expert needs two experts");
  Gate gate = plain_gate(shape, 2);
  gate.fixed_count = false;
  gate.capacity = rule;
  gate.route = [](const GateInput& in) {
    RandomStream random = gate_stream(in, "gshard-top-2");
    GateChoices out;
    BestOf best;
    std::vector<double> weights;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const auto row = score_row(in, 0, t, in.experts);
      const auto chosen = best.of(row, 2);
      softmax_of(row, chosen, weights);
      out.add(chosen[0], weights[0]);
      if (random.uniform() < 2 * weights[1]) out.add(chosen[1], weights[1]);
      out.end_row();
    }
    return out;
  };
  return gate;
}

Gate dense_to_sparse_gate(YamlMap& keys, const GateShape& shape) {
  const double first = keys.number_or("temperature_first", 2, {1e-6, 1e6});
  const double last = keys.number_or("temperature_last", 0.3, {1e-6, 1e6});
  const std::int64_t steps = keys.count_or("steps", 1000, {1, 1 << 30});
  const double threshold = keys.number_or("threshold", 1.0 / shape.experts, {0, 1});
  const bool noisy = keys.flag_or("noise", true);
  Gate gate = plain_gate(shape, shape.experts);
  gate.fixed_count = false;
  gate.route = [=](const GateInput& in) {
    RandomStream random = gate_stream(in, "dense-to-sparse");
    const double temperature = falling(first, last, steps, in.step);
    GateChoices out;
    BestOf best;
    std::vector<double> row;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const auto scores = score_row(in, 0, t, in.experts);
      row.assign(scores.begin(), scores.end());
      for (double& s : row) s = (s + (noisy ? gumbel(random) : 0)) / temperature;
      const std::vector<double> p = softmax_of(row);
      for (const std::uint32_t e : above(p, threshold, best)) out.add(e, p[e]);
      out.end_row();
    }
    return out;
  };
  return gate;
}

}  // namespace sim
