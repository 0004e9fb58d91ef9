#include "tests/speed/scenarios.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "sim/core/error.h"

namespace sim::speed {
namespace {

constexpr int kPerNode = 8;
constexpr int kLeafNodes = 16;  // nodes on one leaf of a rail
constexpr double kTokenBytes = 7168;
constexpr double kBytesPerGpu = 4096.0 * 8 * kTokenBytes;
constexpr double kNvlink = 450e9, kPort = 50e9;  // bytes/s
constexpr std::uint64_t kSeed = 1;

struct Fabric {
  int gpus, leaf_nodes, leaves_per_rail, uplinks;
  bool ideal;
  explicit Fabric(const Scenario& s)
      : gpus(s.gpus),
        leaf_nodes(std::min(kLeafNodes, s.gpus / kPerNode)),
        leaves_per_rail((s.gpus / kPerNode + leaf_nodes - 1) / leaf_nodes),
        uplinks(std::max(1, static_cast<int>(leaf_nodes / s.oversubscription))),
        ideal(s.ideal_spraying) {}
  int spines() const { return ideal ? 1 : uplinks; }
  int leaves() const { return leaves_per_rail * kPerNode; }
  int links() const { return 4 * gpus + 2 * leaves() * spines(); }
  double capacity(int link) const {
    if (link < 2 * gpus) return kNvlink;
    return link < 4 * gpus || !ideal ? kPort : kPort * uplinks;
  }
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
  void add_route(int from, int to, FlowSet& set) const {
    const int up = 4 * gpus, down = up + leaves() * spines();
    if (from / kPerNode == to / kPerNode) {
      set.route_links.insert(set.route_links.end(), {from, gpus + to});
    } else if (leaf(from) == leaf(to)) {
      set.route_links.insert(set.route_links.end(), {2 * gpus + from, 3 * gpus + to});
    } else {
      const int s = spine(from, to);
      set.route_links.insert(set.route_links.end(),
                             {2 * gpus + from, up + leaf(from) * spines() + s,
                              down + leaf(to) * spines() + s, 3 * gpus + to});
    }
    set.route_first.push_back(static_cast<std::uint32_t>(set.route_links.size()));
    set.route_latency_s.push_back(0);
  }
};

std::vector<double> popularity(int gpus) {
  std::mt19937_64 random(kSeed);
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
std::vector<double> row(int from, const std::string& pattern, const std::vector<double>& popular) {
  std::vector<double> bytes(popular.size(), 0);
  std::mt19937_64 random(kSeed * 1000003 + static_cast<std::uint64_t>(from) + 1);
  std::normal_distribution<double> normal(0, 0.3);
  if (pattern == "tokens") {
    std::discrete_distribution<std::size_t> pick(popular.begin(), popular.end());
    const int picks = static_cast<int>(kBytesPerGpu / kTokenBytes);
    for (int i = 0; i < picks; ++i) bytes[pick(random)] += kTokenBytes;
  } else if (pattern == "uniform") {
    std::fill(bytes.begin(), bytes.end(),
              std::floor(kBytesPerGpu / static_cast<double>(bytes.size() - 1)));
  } else {
    for (std::size_t to = 0; to < bytes.size(); ++to)
      bytes[to] = std::max(1.0, std::floor(kBytesPerGpu * popular[to] * std::exp(normal(random))));
  }
  bytes[static_cast<std::size_t>(from)] = 0;
  return bytes;
}

// The routes of all pairs; from * gpus + to -> route.
std::vector<std::uint32_t> add_all_routes(const Fabric& fabric, FlowSet& set) {
  const std::size_t gpus = static_cast<std::size_t>(fabric.gpus);
  std::vector<std::uint32_t> route(gpus * gpus);
  for (int from = 0; from < fabric.gpus; ++from) {
    for (int to = 0; to < fabric.gpus; ++to) {
      if (from == to) continue;
      route[static_cast<std::size_t>(from) * gpus + static_cast<std::size_t>(to)] =
          static_cast<std::uint32_t>(set.route_count());
      fabric.add_route(from, to, set);
    }
  }
  return route;
}

// One exchange of the decode step: every GPU sends `bytes_per_copy` per token and GPU that holds
// one of the token's experts, or with `back` receives it. It starts when the sender arrives.
void add_exchange(const std::vector<std::vector<int>>& copies, double bytes_per_copy, bool back,
                  const std::vector<double>& arrival_s, const std::vector<std::uint32_t>& route,
                  FlowSet& set) {
  const std::size_t gpus = copies.size();
  for (std::size_t from = 0; from < gpus; ++from) {
    for (std::size_t to = 0; to < gpus; ++to) {
      const int tokens = back ? copies[to][from] : copies[from][to];
      if (from == to || tokens == 0) continue;
      set.flows.push_back({tokens * bytes_per_copy, arrival_s[from], route[from * gpus + to]});
    }
  }
}

void add_decode_step(int gpus, const std::vector<std::uint32_t>& route, FlowSet& set) {
  constexpr int kLayers = 58, kTokens = 128, kExperts = 256, kTopK = 8;
  constexpr double kDispatchCopy = 7168 + 7168 / 128 * 4.0, kCombineCopy = 2 * 7168.0;
  constexpr double kLayerS = 1e-3, kCombineAfterS = 350e-6, kSpreadS = 30e-6;
  std::mt19937_64 random(kSeed);
  std::uniform_real_distribution<double> spread(0, kSpreadS);
  const std::size_t n = static_cast<std::size_t>(gpus);
  const auto arrivals = [&](double at) {
    std::vector<double> times(n);
    for (double& time : times) time = at + std::floor(spread(random) * 1e12) * 1e-12;
    return times;
  };
  for (int layer = 0; layer < kLayers; ++layer) {
    std::vector<double> weight(kExperts);
    for (int e = 0; e < kExperts; ++e)
      weight[static_cast<std::size_t>(e)] = std::pow(e + 1.0, -0.4);
    std::shuffle(weight.begin(), weight.end(), random);
    std::discrete_distribution<int> pick(weight.begin(), weight.end());
    std::vector<std::vector<int>> copies(n, std::vector<int>(n, 0));
    for (std::size_t from = 0; from < n; ++from) {
      for (int token = 0; token < kTokens; ++token) {
        std::vector<int> chosen, holders;
        while (chosen.size() < kTopK) {
          const int expert = pick(random);
          if (std::find(chosen.begin(), chosen.end(), expert) != chosen.end()) continue;
          chosen.push_back(expert);
          holders.push_back(expert * gpus / kExperts);
        }
        std::sort(holders.begin(), holders.end());
        holders.erase(std::unique(holders.begin(), holders.end()), holders.end());
        for (const int holder : holders) ++copies[from][static_cast<std::size_t>(holder)];
      }
    }
    const double at = layer * kLayerS;
    add_exchange(copies, kDispatchCopy, false, arrivals(at), route, set);
    add_exchange(copies, kCombineCopy, true, arrivals(at + kCombineAfterS), route, set);
  }
}

}  // namespace

const std::vector<std::string>& patterns() {
  static const std::vector<std::string> names = {"uniform",   "skew",     "tokens",
                                                 "staggered", "slow-nic", "decode"};
  return names;
}

FlowSet make(const Scenario& scenario) {
  SIM_CHECK(std::find(patterns().begin(), patterns().end(), scenario.pattern) != patterns().end(),
            "the pattern is one of patterns()");
  SIM_CHECK(scenario.gpus > 0 && scenario.gpus % kPerNode == 0, "nodes have 8 GPUs");
  const Fabric fabric(scenario);
  FlowSet set;
  for (int link = 0; link < fabric.links(); ++link) set.capacities.push_back(fabric.capacity(link));
  if (scenario.pattern == "slow-nic")
    set.capacities[static_cast<std::size_t>(2 * fabric.gpus)] /= 4;
  const std::vector<std::uint32_t> route = add_all_routes(fabric, set);
  if (scenario.pattern == "decode") {
    add_decode_step(scenario.gpus, route, set);
    return set;
  }
  const std::vector<double> popular = popularity(scenario.gpus);
  std::mt19937_64 random(kSeed);
  const std::size_t gpus = static_cast<std::size_t>(scenario.gpus);
  for (std::size_t from = 0; from < gpus; ++from) {
    const std::vector<double> bytes = row(static_cast<int>(from), scenario.pattern, popular);
    // Within a tenth of the time that a GPU needs to send all of it.
    const double start = scenario.pattern == "staggered"
                             ? std::floor(static_cast<double>(random() % 470'000'000)) * 1e-12
                             : 0;
    for (std::size_t to = 0; to < gpus; ++to) {
      if (bytes[to] > 0) set.flows.push_back({bytes[to], start, route[from * gpus + to]});
    }
  }
  return set;
}

}  // namespace sim::speed
