#include "topologies/routes.h"

#include <algorithm>
#include <boost/graph/breadth_first_search.hpp>
#include <boost/graph/compressed_sparse_row_graph.hpp>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr std::size_t kLargestCache = std::size_t{256} << 20;  // bytes of next-hop tables
constexpr std::int32_t kFar = std::numeric_limits<std::int32_t>::max();

// Links between switches only, backwards: a search from the last switch finds everyone's distance.
using BackwardGraph =
    boost::compressed_sparse_row_graph<boost::directedS, boost::no_property, boost::no_property,
                                       boost::no_property, std::uint32_t, std::uint32_t>;

// A link and the switch (by its own number) or device at its other end.
struct Hop {
  LinkId link;
  std::int32_t other;
};

// How to reach the switches that hang on the same neighbours, as all leaves hang on all spines: one
// table serves them all, because only the last link differs. For every switch of the component, the
// distance over those neighbours and the links of shortest paths up to them. Made when first asked
// for.
struct NextHops {
  std::vector<std::int32_t> distance;  // by switch number in the component
  std::vector<std::uint32_t> first;    // into `hops`; one more than switches
  std::vector<Hop> hops;               // in the order of link ids
  std::uint64_t last_used = 0;
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

// Writes the distance of every vertex that the search meets.
struct RecordDistance : boost::default_bfs_visitor {
  std::vector<std::int32_t>& distance;
  std::uint32_t begin;
  RecordDistance(std::vector<std::int32_t>& d, std::uint32_t b) : distance(d), begin(b) {}
  template <class Edge, class Graph>
  void tree_edge(Edge edge, const Graph& graph) {
    distance[target(edge, graph) - begin] = distance[source(edge, graph) - begin] + 1;
  }
};

}  // namespace

struct Routes::Impl {
  const Cluster& cluster;
  int devices;
  // Switches are numbered component by component (joined in either direction), so that a table
  // covers one component only: a node's NVSwitch has a table of one entry.
  std::vector<std::int32_t> switch_of_vertex;  // by vertex minus devices
  std::vector<std::uint32_t> component_begin;  // by component; one more than components
  std::vector<std::int32_t> component;         // by switch
  BackwardGraph backward;
  std::vector<std::uint32_t> forward_first;  // by switch
  std::vector<Hop> forward;                  // switch to switch
  std::vector<std::uint32_t> out_first;      // by device
  std::vector<Hop> out;                      // device to switch
  std::vector<std::uint32_t> in_first;       // by device
  std::vector<Hop> in;                       // switch to device
  std::vector<std::uint32_t> direct_first;   // by device
  std::vector<Hop> direct;                   // device to device
  std::vector<std::uint32_t> into_first;     // by switch
  std::vector<Hop> into;                     // switch to switch, by the end; `other` is the start
  std::vector<std::size_t> family;           // by switch: those with the same sources
  std::vector<std::vector<std::uint32_t>> sources;  // by family: switches with a link to it, sorted
  std::vector<std::unique_ptr<NextHops>> tables;    // by family
  std::vector<boost::default_color_type> color;
  std::size_t cached_bytes = 0;
  std::uint64_t clock = 0;

  explicit Impl(const Cluster& given) : cluster(given), devices(given.device_count()) {
    number_switches();
    build_graphs();
    find_families();
  }

  bool is_device(VertexId v) const { return v.value() < devices; }
  std::int32_t switch_of(VertexId v) const {
    return switch_of_vertex[static_cast<std::size_t>(v.value() - devices)];
  }

  void number_switches();
  void build_graphs();
  void find_families();
  const NextHops& table_to(std::int32_t destination);
  std::unique_ptr<NextHops> make_table(const std::vector<std::uint32_t>& last_but_one);
  void forget_old_tables();

  std::span<const Hop> slice(const std::vector<Hop>& hops, const std::vector<std::uint32_t>& first,
                             std::size_t i) const {
    return {hops.data() + first[i], hops.data() + first[i + 1]};
  }
  std::int32_t distance_between(std::int32_t from, std::int32_t to);  // kFar: no way
  // The fewest switch-to-switch links between the two devices, and how many pairs of first and last
  // link are that short. `chosen` selects one of them.
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

void Routes::Impl::number_switches() {
  const std::size_t switches = cluster.vertex_names.size() - static_cast<std::size_t>(devices);
  std::vector<std::int32_t> parent(switches);
  for (std::size_t i = 0; i < switches; ++i) parent[i] = static_cast<std::int32_t>(i);
  const auto root = [&parent](std::int32_t x) {
    while (parent[static_cast<std::size_t>(x)] != x) {
      auto& up = parent[static_cast<std::size_t>(x)];
      up = parent[static_cast<std::size_t>(up)];
      x = up;
    }
    return x;
  };
  for (const Link& link : cluster.links) {
    if (is_device(link.from) || is_device(link.to)) continue;
    const std::int32_t a = root(link.from.value() - devices);
    const std::int32_t b = root(link.to.value() - devices);
    parent[static_cast<std::size_t>(std::max(a, b))] = std::min(a, b);
  }
  // Roots are the smallest of their component, so this order is by component, then by vertex.
  std::vector<std::pair<std::int32_t, std::int32_t>> order(switches);
  for (std::size_t i = 0; i < switches; ++i) {
    order[i] = {root(static_cast<std::int32_t>(i)), static_cast<std::int32_t>(i)};
  }
  std::sort(order.begin(), order.end());
  switch_of_vertex.resize(switches);
  component.resize(switches);
  for (std::size_t i = 0; i < switches; ++i) {
    if (i == 0 || order[i].first != order[i - 1].first) {
      component_begin.push_back(static_cast<std::uint32_t>(i));
    }
    switch_of_vertex[static_cast<std::size_t>(order[i].second)] = static_cast<std::int32_t>(i);
    component[i] = static_cast<std::int32_t>(component_begin.size()) - 1;
  }
  component_begin.push_back(static_cast<std::uint32_t>(switches));
  color.resize(switches);
}

namespace {

// Adds one of the links to or from `other`; false when there is none.
bool pick_link(std::span<const Hop> hops, std::int32_t other, std::uint64_t hash,
               std::vector<LinkId>& links) {
  std::size_t count = 0;
  for (const Hop& hop : hops) count += hop.other == other ? 1 : 0;
  if (count == 0) return false;
  std::size_t skip = pick(hash, count);
  for (const Hop& hop : hops) {
    if (hop.other != other || skip-- > 0) continue;
    links.push_back(hop.link);
    return true;
  }
  return false;
}

// Sorts (row, hop) pairs into rows; a row keeps the order of link ids in which the pairs came.
void into_rows(std::size_t rows, const std::vector<std::pair<std::int32_t, Hop>>& pairs,
               std::vector<std::uint32_t>& first, std::vector<Hop>& hops) {
  first.assign(rows + 1, 0);
  for (const auto& [row, hop] : pairs) ++first[static_cast<std::size_t>(row) + 1];
  for (std::size_t i = 0; i < rows; ++i) first[i + 1] += first[i];
  hops.resize(pairs.size());
  std::vector<std::uint32_t> next(first.begin(), first.end() - 1);
  for (const auto& [row, hop] : pairs) hops[next[static_cast<std::size_t>(row)]++] = hop;
}

}  // namespace

void Routes::Impl::build_graphs() {
  std::vector<std::pair<std::int32_t, Hop>> between, between_back, leaving, arriving, straight;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> edges;
  for (std::size_t i = 0; i < cluster.links.size(); ++i) {
    const Link& link = cluster.links[i];
    const LinkId id(static_cast<std::int64_t>(i));
    if (is_device(link.from) && is_device(link.to)) {
      straight.push_back({link.from.value(), {id, link.to.value()}});
    } else if (is_device(link.from)) {
      leaving.push_back({link.from.value(), {id, switch_of(link.to)}});
    } else if (is_device(link.to)) {
      arriving.push_back({link.to.value(), {id, switch_of(link.from)}});
    } else {
      between.push_back({switch_of(link.from), {id, switch_of(link.to)}});
      between_back.push_back({switch_of(link.to), {id, switch_of(link.from)}});
      edges.emplace_back(switch_of(link.to), switch_of(link.from));
    }
  }
  const auto device_rows = static_cast<std::size_t>(devices);
  into_rows(device_rows, straight, direct_first, direct);
  into_rows(device_rows, leaving, out_first, out);
  into_rows(device_rows, arriving, in_first, in);
  into_rows(component.size(), between, forward_first, forward);
  into_rows(component.size(), between_back, into_first, into);
  backward = BackwardGraph(boost::edges_are_unsorted_multi_pass, edges.begin(), edges.end(),
                           static_cast<std::uint32_t>(component.size()));
}

void Routes::Impl::find_families() {
  std::map<std::vector<std::uint32_t>, std::size_t> known;
  family.resize(component.size());
  for (std::size_t i = 0; i < component.size(); ++i) {
    std::vector<std::uint32_t> starts;
    for (const Hop& hop : slice(into, into_first, i)) {
      starts.push_back(static_cast<std::uint32_t>(hop.other));
    }
    std::sort(starts.begin(), starts.end());
    starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
    const auto [entry, is_new] = known.emplace(starts, sources.size());
    if (is_new) sources.push_back(std::move(starts));
    family[i] = entry->second;
  }
  tables.resize(sources.size());
}

std::unique_ptr<NextHops> Routes::Impl::make_table(const std::vector<std::uint32_t>& last_but_one) {
  auto table = std::make_unique<NextHops>();
  if (last_but_one.empty()) return table;
  const auto group = static_cast<std::size_t>(component[last_but_one.front()]);
  const std::uint32_t begin = component_begin[group];
  const std::uint32_t size = component_begin[group + 1] - begin;
  table->distance.assign(size, kFar);
  for (const std::uint32_t start : last_but_one) table->distance[start - begin] = 1;
  std::fill_n(color.begin() + begin, size, boost::white_color);
  boost::queue<std::uint32_t> queue;
  boost::breadth_first_visit(
      backward, last_but_one.begin(), last_but_one.end(), queue,
      RecordDistance(table->distance, begin),
      boost::make_iterator_property_map(color.begin(), get(boost::vertex_index, backward)));
  table->first.reserve(size + 1);
  for (std::uint32_t i = 0; i < size; ++i) {
    table->first.push_back(static_cast<std::uint32_t>(table->hops.size()));
    const std::int32_t here = table->distance[i];
    if (here == kFar || here == 1) continue;
    for (const Hop& hop : slice(forward, forward_first, begin + i)) {
      if (table->distance[static_cast<std::uint32_t>(hop.other) - begin] == here - 1) {
        table->hops.push_back(hop);
      }
    }
  }
  table->first.push_back(static_cast<std::uint32_t>(table->hops.size()));
  return table;
}

const NextHops& Routes::Impl::table_to(std::int32_t destination) {
  const std::size_t which = family[static_cast<std::size_t>(destination)];
  auto& slot = tables[which];
  if (slot == nullptr) {
    if (cached_bytes > kLargestCache) forget_old_tables();
    slot = make_table(sources[which]);
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
  const std::int32_t group = component[static_cast<std::size_t>(from)];
  if (group != component[static_cast<std::size_t>(to)]) return kFar;
  const NextHops& table = table_to(to);
  if (table.distance.empty()) return kFar;
  const std::uint32_t begin = component_begin[static_cast<std::size_t>(group)];
  return table.distance[static_cast<std::uint32_t>(from) - begin];
}

Routes::Impl::Ends Routes::Impl::shortest_ends(std::size_t source, std::size_t destination,
                                               std::uint64_t hash) {
  Ends ends;
  const auto firsts = slice(out, out_first, source);
  const auto lasts = slice(in, in_first, destination);
  const auto visit = [&](auto&& use) {
    for (const Hop& last : lasts) {
      for (const Hop& first : firsts) use(first, last, distance_between(first.other, last.other));
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
      component_begin[static_cast<std::size_t>(component[static_cast<std::size_t>(to)])];
  while (table.distance[static_cast<std::uint32_t>(here) - begin] > 1) {
    const auto next = slice(table.hops, table.first, static_cast<std::uint32_t>(here) - begin);
    hash = mix(hash + 1);
    const Hop& hop = next[next.size() == 1 ? 0 : pick(hash, next.size())];
    links.push_back(hop.link);
    here = hop.other;
  }
  pick_link(slice(into, into_first, static_cast<std::size_t>(to)), here, mix(hash + 1), links);
}

bool Routes::Impl::add_links(std::size_t source, std::size_t destination, std::uint64_t hash,
                             std::vector<LinkId>& links) {
  if (pick_link(slice(direct, direct_first, source), static_cast<std::int32_t>(destination),
                mix(hash), links)) {
    return true;
  }
  const Ends ends = shortest_ends(source, destination, hash);
  if (ends.count == 0) return false;
  links.push_back(ends.first->link);
  add_switch_links(ends.first->other, ends.last->other, hash, links);
  links.push_back(ends.last->link);
  return true;
}

Routes::Routes(const Cluster& cluster) : impl_(std::make_unique<Impl>(cluster)) {}
Routes::~Routes() = default;

Route Routes::route(DeviceId source, DeviceId destination, int path) {
  Route result;
  route_into(source, destination, path, result);
  return result;
}

void Routes::route_into(DeviceId source, DeviceId destination, int path, Route& result) {
  const int devices = impl_->devices;
  SIM_CHECK(source.valid() && source.value() < devices, "the source is a device of the cluster");
  SIM_CHECK(destination.valid() && destination.value() < devices,
            "the destination is a device of the cluster");
  SIM_CHECK(source != destination, "bytes for the own rank cross no link");
  SIM_CHECK(path >= 0, "paths are counted from 0");
  const std::uint64_t pair = (static_cast<std::uint64_t>(source.value()) << 32) |
                             static_cast<std::uint64_t>(destination.value());
  const std::uint64_t hash = mix(mix(pair) + static_cast<std::uint64_t>(path));
  result.links.clear();
  result.latency = Duration(0);
  if (!impl_->add_links(source.index(), destination.index(), hash, result.links)) {
    const auto& names = impl_->cluster.vertex_names;
    throw Error("no path leads from " + names[source.index()] + " to " +
                    names[destination.index()] + " in cluster '" + impl_->cluster.name + "'",
                "GPUs forward nothing for others: join their switches");
  }
  for (const LinkId link : result.links) {
    result.latency += impl_->cluster.links[link.index()].latency;
  }
}

bool Routes::reachable(DeviceId source, DeviceId destination) {
  if (source == destination) return true;
  std::vector<LinkId> links;
  return impl_->add_links(source.index(), destination.index(), 0, links);
}

}  // namespace sim
