// Gates without a router: tables of token ids and chance.
#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include <fmt/format.h>

#include "sim/core/error.h"
#include "traces/gating/gate_rows.h"
#include "traces/gating/gates.h"

namespace sim {
namespace {

// Draws k distinct experts of `experts`, each set equally likely; adds them with weight 1/k.
class RandomRow {
 public:
  void draw(RandomStream& random, int experts, int k) {
    chosen_.clear();
    while (chosen_.size() < static_cast<std::size_t>(k)) {  // Floyd's sampling
      const auto last = static_cast<std::uint64_t>(experts - k) + chosen_.size();
      const auto e = static_cast<std::size_t>(random.below(last + 1));
      const bool taken = std::find(chosen_.begin(), chosen_.end(), e) != chosen_.end();
      chosen_.push_back(taken ? static_cast<std::size_t>(last) : e);
    }
  }
  void add_to(GateChoices& out) const {
    for (const std::size_t e : chosen_) out.add(e, 1.0 / static_cast<double>(chosen_.size()));
    out.end_row();
  }

 private:
  std::vector<std::size_t> chosen_;
};

Gate unscored_gate(int choices) {
  Gate gate;
  gate.most_choices = choices;
  return gate;
}

// Most frequent token ids first, each to the expert with the least frequency so far.
std::vector<std::uint16_t> balanced_table(std::span<const double> frequencies, int experts) {
  std::vector<std::size_t> order(frequencies.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return frequencies[a] > frequencies[b]; });
  std::vector<double> load(static_cast<std::size_t>(experts), 0.0);
  std::vector<std::uint16_t> table(frequencies.size());
  for (const std::size_t id : order) {
    const auto least = std::min_element(load.begin(), load.end());
    table[id] = static_cast<std::uint16_t>(least - load.begin());
    *least += frequencies[id];
  }
  return table;
}

GateChoices hash_balanced(const GateInput& in, const std::vector<std::uint16_t>& table) {
  std::vector<std::uint16_t> names(static_cast<std::size_t>(in.experts));
  std::iota(names.begin(), names.end(), std::uint16_t{0});
  RandomStream random(in.seed, fmt::format("gating/hash/layer {}", in.layer));
  random.shuffle(names);  // each layer has its own table, each as balanced
  GateChoices out;
  for (const std::int64_t id : in.token_ids) {
    if (id < 0 || id >= static_cast<std::int64_t>(table.size())) {
      throw Error(fmt::format("gate 'hash' has no frequency of token id {}", id),
                  fmt::format("its balanced table has ids 0 to {}", table.size() - 1));
    }
    out.add(names[table[static_cast<std::size_t>(id)]], 1);
    out.end_row();
  }
  return out;
}

}  // namespace

// random: the k experts of an id are drawn from a stream named by layer and id, so no table is
// held.
Gate hash_gate(YamlMap& keys, const GateShape& shape) {
  static const std::array<std::string, 2> kTables = {"random", "balanced"};
  const bool balanced = keys.choice_or("table", "random", kTables) == "balanced";
  if (balanced && keys.has("k"))
    keys.mistake("k", "a balanced table has one expert per token id", "leave k out");
  const int k = balanced ? 1 : read_k(keys, shape);
  if (balanced && shape.token_frequencies.empty())
    keys.mistake("table", "a balanced table needs the frequency of every token id");
  Gate gate = unscored_gate(k);
  auto table = std::make_shared<const std::vector<std::uint16_t>>(
      balanced ? balanced_table(shape.token_frequencies, shape.experts)
               : std::vector<std::uint16_t>{});
  gate.route = [k, balanced, table](const GateInput& in) {
    if (static_cast<std::int64_t>(in.token_ids.size()) != in.tokens)
      throw Error("gate 'hash' needs token ids, and these tokens have none");
    if (balanced) return hash_balanced(in, *table);
    GateChoices out;
    RandomRow row;
    for (const std::int64_t id : in.token_ids) {
      RandomStream random(in.seed, fmt::format("gating/hash/layer {}/token {}", in.layer, id));
      row.draw(random, in.experts, k);
      row.add_to(out);
    }
    return out;
  };
  return gate;
}

Gate random_gate(YamlMap& keys, const GateShape& shape) {
  static const std::array<std::string, 2> kUnits = {"token", "step"};
  const int k = read_k(keys, shape);
  const bool same = keys.choice_or("per", "token", kUnits) == "step";
  Gate gate = unscored_gate(k);
  gate.route = [k, same](const GateInput& in) {
    RandomStream random = gate_stream(in, "random");
    GateChoices out;
    RandomRow row;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      if (t == 0 || !same) row.draw(random, in.experts, k);
      row.add_to(out);
    }
    return out;
  };
  return gate;
}

Gate random_1_gate(YamlMap&, const GateShape& shape) {
  Gate gate = plain_gate(shape, 1);
  gate.route = [](const GateInput& in) {
    RandomStream random = gate_stream(in, "random-1");
    GateChoices out;
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      const auto e = static_cast<std::size_t>(random.below(static_cast<std::uint64_t>(in.experts)));
      out.add(e, softmax_of(score_row(in, 0, t, in.experts))[e]);
      out.end_row();
    }
    return out;
  };
  return gate;
}

// When the experts do not divide the tokens, the first experts take one more.
Gate random_partition_gate(YamlMap& keys, const GateShape&) {
  const bool per_rank = read_per_source_rank(keys);
  Gate gate = unscored_gate(1);
  gate.route = [per_rank](const GateInput& in) {
    RandomStream random = gate_stream(in, "random-partition");
    GateChoices out;
    for (const TokenRange& range : token_ranges(in, per_rank)) {
      std::vector<std::uint16_t> experts;
      const std::vector<std::int64_t> parts = equal_parts(range.size(), in.experts);
      for (std::size_t e = 0; e < parts.size(); ++e)
        experts.insert(experts.end(), static_cast<std::size_t>(parts[e]),
                       static_cast<std::uint16_t>(e));
      random.shuffle(experts);
      for (const std::uint16_t e : experts) {
        out.add(e, 1);
        out.end_row();
      }
    }
    return out;
  };
  return gate;
}

// Domain d has the experts [d E / D, (d + 1) E / D).
Gate domain_random_gate(YamlMap& keys, const GateShape& shape) {
  if (shape.domains > shape.experts) {
    keys.mistake("",
                 fmt::format("{} domains cannot share {} experts", shape.domains, shape.experts),
                 "each domain needs an expert of its own");
  }
  const std::int64_t domains = shape.domains;
  Gate gate = unscored_gate(1);
  gate.route = [domains](const GateInput& in) {
    RandomStream random = gate_stream(in, "domain-random");
    GateChoices out;
    for (std::size_t t = 0; t < static_cast<std::size_t>(in.tokens); ++t) {
      const std::int64_t domain = in.domains.empty() ? 0 : in.domains[t];
      SIM_CHECK(domain >= 0 && domain < domains, "a domain that the gate was made for");
      const std::int64_t first = domain * in.experts / domains;
      const std::int64_t size = (domain + 1) * in.experts / domains - first;
      out.add(static_cast<std::size_t>(first) +
                  static_cast<std::size_t>(random.below(static_cast<std::uint64_t>(size))),
              1);
      out.end_row();
    }
    return out;
  };
  return gate;
}

}  // namespace sim
