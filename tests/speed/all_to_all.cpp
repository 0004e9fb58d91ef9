#include "tests/speed/all_to_all.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace sim::speed {
namespace {

constexpr int kPerNode = 8;
constexpr int kLeafNodes = 16;  // nodes on one leaf of a rail
constexpr double kTokenBytes = 7168;
constexpr double kBytesPerGpu = 4096.0 * 8 * kTokenBytes;
constexpr double kNvlink = 450e9, kPort = 50e9;  // bytes/s

struct Fabric {
  int gpus, leaf_nodes, leaves_per_rail;
  explicit Fabric(int n)
      : gpus(n),
        leaf_nodes(std::min(kLeafNodes, n / kPerNode)),
        leaves_per_rail((n / kPerNode + leaf_nodes - 1) / leaf_nodes) {}
  int spines() const { return leaf_nodes; }
  int leaves() const { return leaves_per_rail * kPerNode; }
  int links() const { return 4 * gpus + 2 * leaves() * spines(); }
  int leaf(int gpu) const {
    return (gpu % kPerNode) * leaves_per_rail + gpu / kPerNode / leaf_nodes;
  }
  int spine(int from, int to) const {
    std::uint64_t x = (static_cast<std::uint64_t>(from) << 32) | static_cast<std::uint64_t>(to);
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdULL;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ULL;
    x ^= x >> 33;
    return static_cast<int>(static_cast<std::uint32_t>(x) % static_cast<std::uint32_t>(spines()));
  }
  std::vector<ResourceUse> route(int from, int to) const {
    std::vector<int> links;
    if (from / kPerNode == to / kPerNode) {
      links = {from, gpus + to};
    } else if (leaf(from) == leaf(to)) {
      links = {2 * gpus + from, 3 * gpus + to};
    } else {
      const int s = spine(from, to);
      links = {2 * gpus + from, 4 * gpus + leaf(from) * spines() + s,
               4 * gpus + (leaves() + leaf(to)) * spines() + s, 3 * gpus + to};
    }
    std::vector<ResourceUse> uses;
    for (const int link : links) uses.push_back({ResourceId(link), 1});
    return uses;
  }
};

std::vector<double> popularity(int gpus, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::size_t> order(static_cast<std::size_t>(gpus));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), random);
  std::vector<double> popular(order.size());
  double sum = 0;
  for (std::size_t i = 0; i < order.size(); ++i)
    sum += popular[order[i]] = std::pow(static_cast<double>(i) + 1, -0.8);
  for (double& p : popular) p /= sum;
  return popular;
}

// Bytes that `from` sends to every GPU.
std::vector<double> row(int from, Sizes sizes, const std::vector<double>& popular,
                        std::uint64_t seed) {
  std::vector<double> bytes(popular.size(), 0);
  std::mt19937_64 random(seed * 1000003 + static_cast<std::uint64_t>(from) + 1);
  std::normal_distribution<double> normal(0, 0.3);
  std::discrete_distribution<std::size_t> pick(popular.begin(), popular.end());
  if (sizes == Sizes::kTokens) {
    const int picks = static_cast<int>(kBytesPerGpu / kTokenBytes);
    for (int i = 0; i < picks; ++i) bytes[pick(random)] += kTokenBytes;
  } else {
    for (std::size_t to = 0; to < bytes.size(); ++to) {
      bytes[to] =
          sizes == Sizes::kUniform
              ? std::floor(kBytesPerGpu / static_cast<double>(bytes.size() - 1))
              : std::max(1.0, std::floor(kBytesPerGpu * popular[to] * std::exp(normal(random))));
    }
  }
  bytes[static_cast<std::size_t>(from)] = 0;
  return bytes;
}

}  // namespace

AllToAll make_all_to_all(int gpus, Sizes sizes, std::uint64_t seed) {
  const Fabric fabric(gpus);
  const std::vector<double> popular = popularity(gpus, seed);
  AllToAll result;
  for (int link = 0; link < fabric.links(); ++link)
    result.capacities.push_back(link < 2 * gpus ? kNvlink : kPort);
  for (int from = 0; from < gpus; ++from) {
    const std::vector<double> bytes = row(from, sizes, popular, seed);
    for (int to = 0; to < gpus; ++to) {
      const double amount = bytes[static_cast<std::size_t>(to)];
      if (amount > 0)
        result.transfers.push_back({fabric.route(from, to), static_cast<std::int64_t>(amount)});
    }
  }
  return result;
}

}  // namespace sim::speed
