// Gates that even out the experts' loads: expert choice, Sinkhorn, token rounding.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "traces/gating/gate_rows.h"
#include "traces/gating/gates.h"

namespace sim {
namespace {

// Softmax of every row of the first matrix.
std::vector<double> all_probabilities(const GateInput& in) {
  std::vector<double> p;
  p.reserve(in.scores[0].size());
  for (std::int64_t t = 0; t < in.tokens; ++t) {
    const std::vector<double> row = softmax_of(score_row(in, 0, t, in.experts));
    p.insert(p.end(), row.begin(), row.end());
  }
  return p;
}

// Which tokens an expert has, gathered expert by expert, given out token by token.
class Picks {
 public:
  explicit Picks(const GateInput& in)
      : experts_(static_cast<std::size_t>(in.experts)),
        picked_(static_cast<std::size_t>(in.tokens) * experts_, 0) {}
  void add(std::int64_t token, std::size_t expert) { at(token, expert) = 1; }
  void remove(std::int64_t token, std::size_t expert) { at(token, expert) = 0; }
  bool has(std::int64_t token, std::size_t expert) const {
    return picked_[static_cast<std::size_t>(token) * experts_ + expert] != 0;
  }
  // The experts of a token, greatest probability first.
  std::span<const std::uint32_t> of(std::int64_t token, std::span<const double> p) {
    row_.clear();
    for (std::size_t e = 0; e < experts_; ++e) {
      if (has(token, e)) row_.push_back(static_cast<std::uint32_t>(e));
    }
    const auto weights = p.subspan(static_cast<std::size_t>(token) * experts_, experts_);
    std::stable_sort(row_.begin(), row_.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return weights[a] > weights[b]; });
    return row_;
  }

 private:
  std::uint8_t& at(std::int64_t token, std::size_t expert) {
    return picked_[static_cast<std::size_t>(token) * experts_ + expert];
  }
  std::size_t experts_;
  std::vector<std::uint8_t> picked_;
  std::vector<std::uint32_t> row_;
};

// Tokens of a range by their probability for one expert, greatest first; ties: the earlier token.
std::vector<std::int64_t> by_liking(const TokenRange& range, std::span<const double> p,
                                    std::size_t experts, std::size_t expert) {
  std::vector<std::int64_t> tokens(static_cast<std::size_t>(range.size()));
  std::iota(tokens.begin(), tokens.end(), range.first);
  std::stable_sort(tokens.begin(), tokens.end(), [&](std::int64_t a, std::int64_t b) {
    return p[static_cast<std::size_t>(a) * experts + expert] >
           p[static_cast<std::size_t>(b) * experts + expert];
  });
  return tokens;
}

}  // namespace

Gate expert_choice_gate(YamlMap& keys, const GateShape& shape) {
  const int k = read_k(keys, shape);
  const bool per_rank = read_per_source_rank(keys);
  Gate gate = plain_gate(shape, shape.experts);
  gate.fixed_count = false;
  gate.route = [k, per_rank](const GateInput& in) {
    const std::vector<double> p = all_probabilities(in);
    const auto experts = static_cast<std::size_t>(in.experts);
    Picks picks(in);
    for (const TokenRange& range : token_ranges(in, per_rank)) {
      const std::int64_t each = expert_capacity(1, range.size(), k, in.experts);
      for (std::size_t e = 0; e < experts; ++e) {
        const std::vector<std::int64_t> tokens = by_liking(range, p, experts, e);
        for (std::int64_t i = 0; i < each; ++i) picks.add(tokens[static_cast<std::size_t>(i)], e);
      }
    }
    GateChoices out;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      for (const std::uint32_t e : picks.of(t, p))
        out.add(e, p[static_cast<std::size_t>(t) * experts + e]);
      out.end_row();
    }
    return out;
  };
  return gate;
}

// Sinkhorn's iteration on potentials: rows are normalised by softmax(logits + potential), columns
// by moving the potential. A row's order is that of logits + potential; weights are the plain
// softmax.
Gate sinkhorn_gate(YamlMap& keys, const GateShape& shape) {
  const int k = read_k(keys, shape);
  const std::int64_t iterations = keys.count_or("iterations", 20, {1, 100000});
  const bool per_rank = read_per_source_rank(keys);
  CapacityRule rule;
  rule.kind = CapacityKind::kFixed;
  rule.factor = keys.number_or("capacity_factor", 2, {0.01, 1e6});
  Gate gate = plain_gate(shape, k);
  gate.capacity = rule;
  gate.route = [k, iterations, per_rank](const GateInput& in) {
    GateChoices out;
    BestOf best;
    const auto experts = static_cast<std::size_t>(in.experts);
    std::vector<double> moved(experts);
    const auto move = [&](std::int64_t t, std::span<const double> potential) {
      const auto row = score_row(in, 0, t, in.experts);
      for (std::size_t e = 0; e < experts; ++e) moved[e] = row[e] + potential[e];
    };
    for (const TokenRange& range : token_ranges(in, per_rank)) {
      std::vector<double> potential(experts, 0.0);
      for (std::int64_t i = 0; i < iterations; ++i) {
        std::vector<double> load(experts, 0.0);
        for (std::int64_t t = range.first; t < range.last; ++t) {
          move(t, potential);
          const std::vector<double> p = softmax_of(moved);
          for (std::size_t e = 0; e < experts; ++e) load[e] += p[e];
        }
        const double even = static_cast<double>(range.size()) / in.experts;
        // A column that underflowed to nothing is left where it is.
        for (std::size_t e = 0; e < experts; ++e)
          potential[e] -= load[e] > 0 ? std::log(load[e] / even) : 0;
      }
      for (std::int64_t t = range.first; t < range.last; ++t) {
        move(t, potential);
        const std::vector<double> p = softmax_of(score_row(in, 0, t, in.experts));
        for (const std::uint32_t e : best.of(moved, k)) out.add(e, p[e]);
        out.end_row();
      }
    }
    return out;
  };
  return gate;
}

// Up to the next multiple when that is no further than the one below (at half: up). When an expert
// cannot have so many tokens, the multiple below. Weights by softmax over the token's final
// experts.
Gate token_rounding_gate(YamlMap& keys, const GateShape& shape) {
  static const std::array<std::string, 3> kWords = {"nearest", "up", "down"};
  const int k = read_k(keys, shape);
  const std::int64_t tile = keys.count_or("tile", 128, {1, 1 << 20});
  const std::string way = keys.choice_or("round", "nearest", kWords);
  const bool per_rank = read_per_source_rank(keys);
  Gate gate = plain_gate(shape, shape.experts);
  gate.fixed_count = false;
  gate.route = [k, tile, way, per_rank](const GateInput& in) {
    const std::vector<double> p = all_probabilities(in);
    const auto experts = static_cast<std::size_t>(in.experts);
    Picks picks(in);
    BestOf best;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      for (const std::uint32_t e : best.of(score_row(in, 0, t, in.experts), k)) picks.add(t, e);
    }
    for (const TokenRange& range : token_ranges(in, per_rank)) {
      for (std::size_t e = 0; e < experts; ++e) {
        const std::vector<std::int64_t> tokens = by_liking(range, p, experts, e);
        const auto count = std::count_if(tokens.begin(), tokens.end(),
                                         [&](std::int64_t t) { return picks.has(t, e); });
        const std::int64_t below = count / tile * tile;
        const bool up = count > below && way != "down" &&
                        (way == "up" || 2 * (count - below) >= tile) &&
                        below + tile <= range.size();
        std::int64_t off = up ? below + tile - count : below - count;
        for (std::size_t i = 0; i < tokens.size() && off > 0; ++i) {
          if (picks.has(tokens[i], e)) continue;
          picks.add(tokens[i], e);
          --off;
        }
        for (std::size_t i = tokens.size(); i-- > 0 && off < 0;) {
          if (!picks.has(tokens[i], e)) continue;
          picks.remove(tokens[i], e);
          ++off;
        }
      }
    }
    GateChoices out;
    std::vector<double> weights;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const auto chosen = picks.of(t, p);
      softmax_of(score_row(in, 0, t, in.experts), chosen, weights);
      for (std::size_t i = 0; i < chosen.size(); ++i) out.add(chosen[i], weights[i]);
      out.end_row();
    }
    return out;
  };
  return gate;
}

}  // namespace sim
