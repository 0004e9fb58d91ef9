// Which token goes to which expert in one layer of one step: what a workload replays.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sim {

// One routed block of one step over all source ranks.
//
// Per-token form: tokens of rank r are [rank_begin[r], rank_begin[r+1]); choices of token t are
// choices[choice_begin[t] .. choice_begin[t+1]). Count form (per_token == false): `counts` and,
// where known, rank_begin. counts[r * experts + e] = choices of rank r's tokens that fall on expert
// e; filled in both forms.
struct LayerRouting {
  int ranks = 0;
  int experts = 0;
  bool per_token = true;
  std::vector<std::int64_t> rank_begin;    // ranks + 1
  std::vector<std::int64_t> choice_begin;  // tokens + 1
  std::vector<std::uint16_t> choices;
  std::vector<std::int64_t> counts;  // ranks * experts

  std::int64_t tokens() const { return rank_begin.empty() ? 0 : rank_begin.back(); }
  std::int64_t tokens_of(int rank) const {
    return rank_begin[static_cast<std::size_t>(rank) + 1] -
           rank_begin[static_cast<std::size_t>(rank)];
  }
};

// How often the replay used a recorded token again: the mapping is worth up to 2x of the imbalance,
// so it is reported.
struct ReuseReport {
  std::int64_t distinct_tokens_available = 0;  // 0: synthetic, nothing to reuse
  std::int64_t tokens_used = 0;
  std::int64_t distinct_tokens_used = 0;
  std::int64_t requests_available = 0;
  std::int64_t concurrent_slots = 0;
};

// Capacity factors that were applied: one per source rank, or per group of ranks that share a
// capacity.
struct CapacityFactors {
  double sum = 0;
  double most = 0;
  std::int64_t count = 0;

  void add(const CapacityFactors& more) {
    sum += more.sum;
    most = most > more.most ? most : more.most;
    count += more.count;
  }
  double mean() const { return count > 0 ? sum / static_cast<double>(count) : 0; }
};

// Gives the routing of any (step, layer). Layers are routed layers, counted from 0 in the order of
// the model's routed blocks. Calls come with rising step; all layers of a step before the next.
// Same arguments, same answer.
class RoutingSource {
 public:
  virtual ~RoutingSource() = default;
  virtual void fill(int step, int layer, LayerRouting& out) = 0;
  virtual int experts(int layer) const = 0;
  virtual int layers() const = 0;
  // Choices over capacity that the last fill() of the layer has left out.
  virtual std::int64_t dropped(int /*layer*/) const { return 0; }
  virtual CapacityFactors factors(int /*layer*/) const { return {}; }  // of that fill
  virtual ReuseReport reuse() const = 0;
  virtual std::string description()
      const = 0;  // one line for the summary: "replay of x.moetrace by requests, ..."
  virtual std::vector<std::string> warnings() const = 0;
};

}  // namespace sim
