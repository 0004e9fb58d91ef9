#include "topologies/calibration/token_traffic.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "sim/core/error.h"
#include "sim/core/random.h"

namespace sim {
namespace {

void check(const TokenShape& shape) {
  const auto refuse = [](const std::string& why) { throw Error("tokens of a benchmark: " + why); };
  if (shape.tokens <= 0 || shape.top_k <= 0 || shape.experts <= 0 || shape.ranks <= 0 ||
      shape.nodes <= 0) {
    refuse("tokens, top-k, experts, ranks and nodes must be positive");
  }
  if (shape.top_k > shape.experts) {
    refuse("top-k " + std::to_string(shape.top_k) + " of " + std::to_string(shape.experts) +
           " experts");
  }
  if (shape.ranks % shape.nodes != 0) {
    refuse(std::to_string(shape.ranks) + " ranks do not fill " + std::to_string(shape.nodes) +
           " nodes evenly");
  }
  if (shape.top_groups > 0 &&
      (shape.experts % shape.nodes != 0 ||
       std::min(shape.top_groups, shape.nodes) * (shape.experts / shape.nodes) < shape.top_k)) {
    refuse("the best " + std::to_string(shape.top_groups) + " nodes do not hold top-k experts");
  }
  const double choices = static_cast<double>(shape.tokens) * shape.ranks *
                         (shape.top_groups > 0 ? shape.experts : shape.top_k);
  if (choices > 2147483648.0) refuse("more choices than are worth drawing");
}

// The experts of one token after another.
class ExpertDraw {
 public:
  ExpertDraw(const TokenShape& shape, std::uint64_t seed)
      : shape_(shape), random_(seed, "benchmark-tokens"), order_(size(shape.experts)) {
    std::iota(order_.begin(), order_.end(), 0);
    chosen_.resize(size(shape.top_k));
  }
  const std::vector<int>& next() {
    if (shape_.top_groups > 0 && shape_.top_groups < shape_.nodes) {
      limited();
    } else {
      for (std::size_t i = 0; i < chosen_.size(); ++i) {  // a partial shuffle
        std::swap(order_[i], order_[i + size(random_.below(order_.size() - i))]);
        chosen_[i] = order_[i];
      }
    }
    return chosen_;
  }

 private:
  template <class Integer>
  static std::size_t size(Integer value) {
    return static_cast<std::size_t>(value);
  }
  // Scores for all, the nodes with the best single score, the best experts inside (DeepEP's test).
  void limited() {
    const std::size_t per_node = size(shape_.experts / shape_.nodes);
    scores_.resize(order_.size());
    for (double& score : scores_) score = random_.uniform();
    groups_.resize(size(shape_.nodes));
    std::iota(groups_.begin(), groups_.end(), 0);
    best_.resize(groups_.size());
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      best_[g] =
          *std::max_element(scores_.begin() + static_cast<std::ptrdiff_t>(g * per_node),
                            scores_.begin() + static_cast<std::ptrdiff_t>((g + 1) * per_node));
    }
    std::partial_sort(groups_.begin(), groups_.begin() + shape_.top_groups, groups_.end(),
                      [&](int a, int b) { return best_[size(a)] > best_[size(b)]; });
    candidates_.clear();
    for (int i = 0; i < shape_.top_groups; ++i) {
      for (std::size_t e = 0; e < per_node; ++e) {
        candidates_.push_back(static_cast<int>(size(groups_[size(i)]) * per_node + e));
      }
    }
    std::partial_sort_copy(candidates_.begin(), candidates_.end(), chosen_.begin(), chosen_.end(),
                           [&](int a, int b) { return scores_[size(a)] > scores_[size(b)]; });
  }

  TokenShape shape_;
  RandomStream random_;
  std::vector<int> order_;
  std::vector<int> chosen_;
  std::vector<int> groups_;
  std::vector<int> candidates_;
  std::vector<double> scores_;
  std::vector<double> best_;
};

// Copies that each rank's ports send and receive.
struct Ports {
  explicit Ports(int ranks) : nic(static_cast<std::size_t>(2 * ranks)), nvlink(nic) {}
  void add(std::size_t from, std::size_t to, bool same_node) {
    if (from == to) return;
    std::vector<std::int64_t>& port = same_node ? nvlink : nic;
    ++port[2 * from];
    ++port[2 * to + 1];
  }
  TokenTraffic::PerPort mean() const { return {mean_of(nic), mean_of(nvlink)}; }
  static double mean_of(const std::vector<std::int64_t>& port) {
    std::int64_t sum = 0;
    for (std::size_t r = 0; r < port.size(); r += 2) sum += std::max(port[r], port[r + 1]);
    return static_cast<double>(sum) / (static_cast<double>(port.size()) / 2);
  }
  std::vector<std::int64_t> nic;
  std::vector<std::int64_t> nvlink;
};

// The first experts % ranks ranks hold one expert more.
std::size_t rank_of(std::size_t expert, std::size_t experts, std::size_t ranks) {
  const std::size_t least = experts / ranks;
  const std::size_t larger = experts % ranks;
  const std::size_t in_larger = larger * (least + 1);
  return expert < in_larger ? expert / (least + 1) : larger + (expert - in_larger) / least;
}

TokenTraffic balanced(const TokenShape& shape) {
  TokenTraffic traffic;
  const double spread = std::min(shape.ranks, shape.top_k);
  const double tokens = static_cast<double>(shape.tokens);
  const double in_node = static_cast<double>(shape.ranks) / shape.nodes;
  traffic.ranks_per_token = spread;
  // Consecutive ranks: a token that goes to s ranks touches ceil(s / in_node) nodes.
  traffic.nodes_per_token = std::min<double>(shape.nodes, std::ceil(spread / in_node));
  traffic.remote_nodes_per_token = traffic.nodes_per_token * (shape.nodes - 1) / shape.nodes;
  const double share = tokens / shape.ranks;  // of each rank's tokens, per destination rank
  const auto wires = [&](double copies) {
    return TokenTraffic::PerPort{share * copies * (shape.ranks - in_node),
                                 share * copies * (in_node - 1)};
  };
  traffic.per_row = wires(shape.top_k);
  traffic.per_rank = wires(spread);
  traffic.per_node.nic = tokens * traffic.remote_nodes_per_token;
  traffic.per_node.nvlink = share * spread * shape.nodes * (in_node - 1);
  return traffic;
}

}  // namespace

double expected_groups(int groups, int experts, int top_k) {
  SIM_CHECK(groups > 0 && experts % groups == 0 && top_k > 0 && top_k <= experts,
            "equal groups of experts");
  double untouched = 1;  // C(E - E/G, k) / C(E, k), factor by factor
  for (int i = 0; i < top_k; ++i) {
    untouched *= std::max(0.0, static_cast<double>(experts - experts / groups - i)) /
                 static_cast<double>(experts - i);
  }
  return groups * (1 - untouched);
}

TokenTraffic count_traffic(const TokenShape& shape, std::uint64_t seed) {
  check(shape);
  if (shape.spread == TokenSpread::kBalanced) return balanced(shape);
  const std::size_t ranks = static_cast<std::size_t>(shape.ranks);
  const std::size_t nodes = static_cast<std::size_t>(shape.nodes);
  const std::size_t in_node = ranks / nodes;
  const std::size_t experts = static_cast<std::size_t>(shape.experts);
  ExpertDraw draw(shape, seed);
  Ports rows(shape.ranks), copies(shape.ranks), forwards(shape.ranks);
  std::int64_t touched_ranks = 0, touched_nodes = 0, remote_nodes = 0;
  std::vector<std::int64_t> rank_seen(ranks, -1), node_seen(nodes, -1);
  std::int64_t token = 0;
  for (std::size_t s = 0; s < ranks; ++s) {
    const std::size_t home = s / in_node;
    for (std::int64_t t = 0; t < shape.tokens; ++t, ++token) {
      for (const int expert : draw.next()) {
        const std::size_t d = rank_of(static_cast<std::size_t>(expert), experts, ranks);
        const std::size_t n = d / in_node;
        const std::size_t relay = n * in_node + s % in_node;  // same rail
        rows.add(s, d, n == home);
        if (node_seen[n] != token) {
          node_seen[n] = token;
          ++touched_nodes;
          if (n != home) {
            ++remote_nodes;
            forwards.add(s, relay, false);
          }
        }
        if (rank_seen[d] == token) continue;
        rank_seen[d] = token;
        ++touched_ranks;
        copies.add(s, d, n == home);
        forwards.add(n == home ? s : relay, d, true);
      }
    }
  }
  TokenTraffic traffic;
  const double all = static_cast<double>(token);
  traffic.ranks_per_token = static_cast<double>(touched_ranks) / all;
  traffic.nodes_per_token = static_cast<double>(touched_nodes) / all;
  traffic.remote_nodes_per_token = static_cast<double>(remote_nodes) / all;
  traffic.per_row = rows.mean();
  traffic.per_rank = copies.mean();
  traffic.per_node = forwards.mean();
  return traffic;
}

}  // namespace sim
