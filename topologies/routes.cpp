#include "topologies/routes.h"

#include <algorithm>
#include <boost/graph/compressed_sparse_row_graph.hpp>
#include <boost/graph/dijkstra_shortest_paths.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>

#include "sim/core/error.h"
#include "topologies/switch_graph.h"

namespace sim {
namespace {

constexpr std::size_t kLargestCache = std::size_t{256} << 20;  // bytes of next-hop tables
constexpr std::int32_t kFar = std::numeric_limits<std::int32_t>::max();

// Links between switches only, backwards: a search from the last switch finds everyone's distance.
struct LinkLength {
  std::int32_t length = 1;
};
using BackwardGraph =
    boost::compressed_sparse_row_graph<boost::directedS, boost::no_property, LinkLength,
                                       boost::no_property, std::uint32_t, std::uint32_t>;

// How to reach the switches that hang on the same neighbours, as all leaves hang on all spines: one
// table serves them all, because only the last link differs. For every switch of the component, the
// length of the way over those neighbours and, unless the last link comes next, the links that
// shortest ways go on with. Made when first asked for.
struct NextHops {
  std::vector<std::int32_t> distance;  // by switch number in the component
  std::vector<std::uint32_t> first;    // into `hops`; one more than switches
  std::vector<Hop> hops;               // in the order of link ids
  std::uint64_t last_used = 0;
  std::span<const Hop> hops_of(std::uint32_t i) const {
    return {hops.data() + first[i], hops.data() + first[i + 1]};
  }
  std::size_t bytes() const {
    return distance.capacity() * sizeof(std::int32_t) + first.capacity() * sizeof(std::uint32_t) +
           hops.capacity() * sizeof(Hop);
  }
};

// splitmix64's finaliser: every bit of the input reaches every bit of the output.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// A number below `bound` out of the upper half of a hash: cheaper than a division.
std::size_t pick(std::uint64_t hash, std::size_t bound) {
  return static_cast<std::size_t>(((hash >> 32) * bound) >> 32);
}

// Adds one of the shortest links to or from `other`; false when there is none.
bool pick_link(std::span<const Hop> hops, std::int32_t other, std::uint64_t hash,
               std::vector<LinkId>& links) {
  std::size_t count = 0;
  std::int32_t length = kFar;
  for (const Hop& hop : hops) {
    if (hop.other != other || hop.length > length) continue;
    count = hop.length < length ? 1 : count + 1;
    length = hop.length;
  }
  if (count == 0) return false;
  std::size_t skip = pick(hash, count);
  for (const Hop& hop : hops) {
    if (hop.other != other || hop.length != length || skip-- > 0) continue;
    links.push_back(hop.link);
    return true;
  }
  return false;
}

}  // namespace

struct Routes::Impl {
  const Cluster& cluster;
  SwitchGraph graph;
  BackwardGraph backward;
  std::vector<std::unique_ptr<NextHops>> tables;  // by family
  std::vector<std::int32_t> search_distance;      // by switch: kFar but while a search runs
  std::size_t cached_bytes = 0;
  std::uint64_t clock = 0;

  Impl(const Cluster& given, const std::vector<bool>& left_out)
      : cluster(given),
        graph(given, left_out),
        tables(graph.sources.size()),
        search_distance(graph.size(), kFar) {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> edges;
    std::vector<LinkLength> lengths;
    for (std::uint32_t i = 0; i < graph.size(); ++i) {
      for (const Hop& hop : graph.into.of(i)) {
        edges.emplace_back(i, static_cast<std::uint32_t>(hop.other));
        lengths.push_back({hop.length});
      }
    }
    backward = BackwardGraph(boost::edges_are_sorted, edges.begin(), edges.end(), lengths.begin(),
                             static_cast<std::uint32_t>(graph.size()));
  }

  const NextHops& table_to(std::int32_t destination);
  std::unique_ptr<NextHops> make_table(const std::vector<LastStep>& last_steps);
  void forget_old_tables();

  std::int32_t distance_between(std::int32_t from, std::int32_t to);  // kFar: no way
  // The length of the shortest way between the two devices, and how many pairs of first and last
  // link are on one that short; `first` and `last` are the pair that the hash selects.
  struct Ends {
    std::int32_t distance = kFar;
    std::size_t count = 0;
    const Hop* first = nullptr;
    const Hop* last = nullptr;
  };
  Ends shortest_ends(std::size_t source, std::size_t destination, std::uint64_t hash);
  void add_switch_links(std::int32_t here, std::int32_t to, std::uint64_t hash,
                        std::vector<LinkId>& links);
  bool add_links(std::size_t source, std::size_t destination, std::uint64_t hash,
                 std::vector<LinkId>& links);
};

// Dijkstra's search, backwards from the last steps, each of which begins with its own length.
std::unique_ptr<NextHops> Routes::Impl::make_table(const std::vector<LastStep>& last_steps) {
  auto table = std::make_unique<NextHops>();
  if (last_steps.empty()) return table;
  const auto group = static_cast<std::size_t>(graph.component[last_steps.front().from]);
  const std::uint32_t begin = graph.component_begin[group];
  const std::uint32_t size = graph.component_begin[group + 1] - begin;
  std::vector<std::uint32_t> starts;
  for (const LastStep& step : last_steps) {
    search_distance[step.from] = step.length;
    starts.push_back(step.from);
  }
  std::vector<boost::default_color_type> color(graph.size());
  const auto index = get(boost::vertex_index, backward);
  boost::dijkstra_shortest_paths_no_init(
      backward, starts.begin(), starts.end(), boost::dummy_property_map(),
      boost::make_iterator_property_map(search_distance.begin(), index),
      get(&LinkLength::length, backward), index, std::less<std::int32_t>(),
      boost::closed_plus<std::int32_t>(kFar), 0, boost::default_dijkstra_visitor(),
      boost::make_iterator_property_map(color.begin(), index));
  std::vector<std::int32_t>& distance = table->distance;
  distance.assign(search_distance.begin() + begin, search_distance.begin() + begin + size);
  std::fill_n(search_distance.begin() + begin, size, kFar);
  std::vector<bool> ends_here(size, false);
  for (const LastStep& step : last_steps) {
    ends_here[step.from - begin] = distance[step.from - begin] == step.length;
  }
  table->first.reserve(size + 1);
  for (std::uint32_t i = 0; i < size; ++i) {
    table->first.push_back(static_cast<std::uint32_t>(table->hops.size()));
    if (distance[i] == kFar || ends_here[i]) continue;
    for (const Hop& hop : graph.forward.of(begin + i)) {
      const std::int32_t other = distance[static_cast<std::uint32_t>(hop.other) - begin];
      if (other != kFar && other + hop.length == distance[i]) table->hops.push_back(hop);
    }
  }
  table->first.push_back(static_cast<std::uint32_t>(table->hops.size()));
  return table;
}

const NextHops& Routes::Impl::table_to(std::int32_t destination) {
  const std::size_t which = graph.family[static_cast<std::size_t>(destination)];
  auto& slot = tables[which];
  if (slot == nullptr) {
    if (cached_bytes > kLargestCache) forget_old_tables();
    slot = make_table(graph.sources[which]);
    cached_bytes += slot->bytes();
  }
  slot->last_used = ++clock;
  return *slot;
}

// Drops the half of the tables that was not used for longest: rare, so its cost is shared by many.
void Routes::Impl::forget_old_tables() {
  std::vector<std::uint64_t> uses;
  for (const auto& table : tables) {
    if (table != nullptr) uses.push_back(table->last_used);
  }
  const auto middle = uses.begin() + static_cast<std::ptrdiff_t>(uses.size() / 2);
  std::nth_element(uses.begin(), middle, uses.end());
  const std::uint64_t oldest_kept = *middle;
  for (auto& table : tables) {
    if (table == nullptr || table->last_used > oldest_kept) continue;
    cached_bytes -= table->bytes();
    table.reset();
  }
}

std::int32_t Routes::Impl::distance_between(std::int32_t from, std::int32_t to) {
  if (from == to) return 0;
  const std::int32_t group = graph.component[static_cast<std::size_t>(from)];
  if (group != graph.component[static_cast<std::size_t>(to)]) return kFar;
  const NextHops& table = table_to(to);
  if (table.distance.empty()) return kFar;
  const std::uint32_t begin = graph.component_begin[static_cast<std::size_t>(group)];
  return table.distance[static_cast<std::uint32_t>(from) - begin];
}

Routes::Impl::Ends Routes::Impl::shortest_ends(std::size_t source, std::size_t destination,
                                               std::uint64_t hash) {
  Ends ends;
  const auto firsts = graph.out.of(source);
  const auto lasts = graph.in.of(destination);
  const auto visit = [&](auto&& use) {
    for (const Hop& last : lasts) {
      for (const Hop& first : firsts) {
        const std::int32_t between = distance_between(first.other, last.other);
        use(first, last, between == kFar ? kFar : first.length + between + last.length);
      }
    }
  };
  visit([&ends](const Hop& first, const Hop& last, std::int32_t distance) {
    if (distance < ends.distance) ends = {distance, 0, &first, &last};
    if (distance == ends.distance && distance != kFar) ++ends.count;
  });
  if (ends.count < 2) return ends;
  std::size_t skip = pick(mix(hash), ends.count);
  visit([&ends, &skip](const Hop& first, const Hop& last, std::int32_t distance) {
    if (distance == ends.distance && skip-- == 0) {
      ends.first = &first;
      ends.last = &last;
    }
  });
  return ends;
}

// REQUIRES: a way exists.
void Routes::Impl::add_switch_links(std::int32_t here, std::int32_t to, std::uint64_t hash,
                                    std::vector<LinkId>& links) {
  if (here == to) return;
  const NextHops& table = table_to(to);
  const std::uint32_t begin =
      graph
          .component_begin[static_cast<std::size_t>(graph.component[static_cast<std::size_t>(to)])];
  while (true) {
    const auto next = table.hops_of(static_cast<std::uint32_t>(here) - begin);
    if (next.empty()) break;
    hash = mix(hash + 1);
    const Hop& hop = next[next.size() == 1 ? 0 : pick(hash, next.size())];
    links.push_back(hop.link);
    here = hop.other;
  }
  pick_link(graph.into.of(static_cast<std::size_t>(to)), here, mix(hash + 1), links);
}

bool Routes::Impl::add_links(std::size_t source, std::size_t destination, std::uint64_t hash,
                             std::vector<LinkId>& links) {
  if (pick_link(graph.direct.of(source), static_cast<std::int32_t>(destination), mix(hash),
                links)) {
    return true;
  }
  const Ends ends = shortest_ends(source, destination, hash);
  if (ends.count == 0) return false;
  links.push_back(ends.first->link);
  add_switch_links(ends.first->other, ends.last->other, hash, links);
  links.push_back(ends.last->link);
  return true;
}

Routes::Routes(const Cluster& cluster)
    : impl_(std::make_unique<Impl>(cluster, std::vector<bool>{})) {}
Routes::~Routes() = default;

Route Routes::route(DeviceId source, DeviceId destination, int path) {
  Route result;
  route_into(source, destination, path, result);
  return result;
}

void Routes::route_into(DeviceId source, DeviceId destination, int path, Route& result) {
  const int devices = impl_->cluster.device_count();
  SIM_CHECK(source.valid() && source.value() < devices, "the source is a device of the cluster");
  SIM_CHECK(destination.valid() && destination.value() < devices,
            "the destination is a device of the cluster");
  SIM_CHECK(source != destination, "bytes for the own rank cross no link");
  SIM_CHECK(path >= 0, "paths are counted from 0");
  const std::uint64_t pair = (static_cast<std::uint64_t>(source.value()) << 32) |
                             static_cast<std::uint64_t>(destination.value());
  const std::uint64_t seed = impl_->cluster.hash_seed;
  const std::uint64_t hash =
      mix(mix(pair) + static_cast<std::uint64_t>(path) + (seed == 0 ? 0 : mix(seed)));
  result.links.clear();
  result.latency = Duration(0);
  if (avoided_count_ > 0 && detours_ == nullptr) {
    detours_ = std::make_unique<Impl>(impl_->cluster, avoided_);
  }
  const bool detour = avoided_count_ > 0 &&
                      detours_->add_links(source.index(), destination.index(), hash, result.links);
  if (!detour && !impl_->add_links(source.index(), destination.index(), hash, result.links)) {
    const auto& names = impl_->cluster.vertex_names;
    throw Error("no path leads from " + names[source.index()] + " to " +
                    names[destination.index()] + " in cluster '" + impl_->cluster.name + "'",
                "GPUs forward nothing for others: join their switches");
  }
  for (const LinkId link : result.links) {
    result.latency += impl_->cluster.links[link.index()].latency;
  }
}

void Routes::avoid(LinkId link, bool avoided) {
  if (avoided_.empty()) avoided_.resize(impl_->cluster.links.size(), false);
  if (avoided_[link.index()] == avoided) return;
  avoided_[link.index()] = avoided;
  avoided_count_ += avoided ? 1 : -1;
  detours_.reset();
}

bool Routes::reachable(DeviceId source, DeviceId destination) {
  if (source == destination) return true;
  std::vector<LinkId> links;
  return impl_->add_links(source.index(), destination.index(), 0, links);
}

}  // namespace sim
