// NCCL's all-reduce by two binary trees over the nodes, with chains inside them: sums go up, the
// result comes down, in chunks, both at once. Either tree has half of the bytes, and a node that
// has children in one is a leaf in the other, so no node sends or receives more than 2 S between
// nodes. P. Sanders, J. Speck, J. L. Traeff, "Two-tree algorithms for full bandwidth broadcast,
// reduction and scan", Parallel Computing 35 (2009); NCCL 2.4 ("Massively scale your deep learning
// training").
#include <algorithm>
#include <cmath>
#include <vector>

#include "sim/policies/collectives/collective_builder.h"

namespace sim {
namespace {

// In the tree over 0..n-1 whose leaves are the odd numbers; -1 above the root, 0.
int parent_of(int node, int n) {
  if (node == 0) return -1;
  const int lowest = node & -node;
  const int up = (node ^ lowest) | (lowest << 1);
  return up < n ? up : node ^ lowest;
}

// The second tree is the first one mirrored (n even) or moved on by one (n odd).
int place_in_tree(int tree, int node, int n) {
  if (tree == 0) return node;
  return n % 2 == 0 ? n - 1 - node : (node + n - 1) % n;
}

}  // namespace

void double_tree_all_reduce(CollectiveBuilder& builder) {
  const auto& nodes = builder.nodes();
  const int n = static_cast<int>(nodes.size());
  std::size_t most = 0;
  std::size_t channels = nodes.front().size();
  for (const auto& node : nodes) {
    most = std::max(most, node.size());
    channels = std::min(channels, node.size());
  }
  const int depth = n > 1 ? static_cast<int>(std::ceil(std::log2(n))) : 0;
  builder.start(2 * (depth + static_cast<int>(most) - 1));
  std::vector<std::int32_t> everyone(static_cast<std::size_t>(builder.ranks()));
  for (std::size_t r = 0; r < everyone.size(); ++r) everyone[r] = static_cast<std::int32_t>(r);

  const auto both_ways = [&](std::int32_t a, std::int32_t b) {
    const Duration up = builder.hop(a, b);
    return std::max(up, builder.hop(b, a));
  };
  const double share = builder.bytes() / static_cast<double>(channels) / 2;
  std::vector<Duration> to_parent(static_cast<std::size_t>(n));
  for (std::size_t c = 0; c < channels; ++c) {
    for (int tree = 0; tree < 2; ++tree) {
      const auto head = [&](int place) {  // the second tree is over the nodes in another order
        const auto& node = nodes[static_cast<std::size_t>(place)];
        return node[c % node.size()];
      };
      std::vector<int> node_at(static_cast<std::size_t>(n));
      for (int k = 0; k < n; ++k) node_at[static_cast<std::size_t>(place_in_tree(tree, k, n))] = k;
      Duration chain{0};
      for (const auto& node : nodes) {
        Duration here{0};
        for (std::size_t i = 0; i + 1 < node.size(); ++i)
          here += both_ways(node[(c + i + 1) % node.size()], node[(c + i) % node.size()]);
        chain = std::max(chain, here);
      }
      for (int place = 1; place < n; ++place) {
        const int up = parent_of(place, n);
        to_parent[static_cast<std::size_t>(place)] =
            both_ways(head(node_at[static_cast<std::size_t>(place)]),
                      head(node_at[static_cast<std::size_t>(up)]));
      }
      Duration longest{0};
      for (int place = 1; place < n; ++place) {
        Duration way{0};
        for (int at = place; at > 0; at = parent_of(at, n))
          way += to_parent[static_cast<std::size_t>(at)];
        longest = std::max(longest, way);
      }
      builder.flush(everyone, share, (longest + chain) * 2);
    }
  }
}

}  // namespace sim
