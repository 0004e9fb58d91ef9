#include "sim/workloads/flows/flow_scenario.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "sim/workloads/flows/route_index.h"
#include "sim/workloads/flows/text_scanner.h"
#include "sim/workloads/flows/text_writer.h"

namespace sim {
namespace {

constexpr std::uint64_t kMostHosts = INT32_MAX;
constexpr std::uint64_t kMostThings = INT32_MAX;  // links, routes, flows, links of all routes
// What the shortest line takes: "link 0 1 0\n".
constexpr std::uint64_t kLinkBytes = 11, kRouteBytes = 14, kFlowBytes = 13, kWordBytes = 2;

constexpr double kAbsent = -1;  // capacity of a link whose line has not come yet

class ScenarioReader {
 public:
  explicit ScenarioReader(const std::string& file) : file_(file), text_(file) {}

  FlowSet read() {
    if (text_.keyword() != "flowscenario" || text_.word() != "1") {
      text_.fail("this is not a flow scenario", "its first line is 'flowscenario 1'");
    }
    for (std::string_view keyword = text_.keyword(); !keyword.empty(); keyword = text_.keyword()) {
      if (keyword == "flow") {
        flow();
      } else if (keyword == "route") {
        route();
      } else if (keyword == "link") {
        link();
      } else if (keyword == "hosts") {
        once(hosts_, "hosts");
        hosts_ = text_.integer(text_.word(), kMostHosts, "the number of hosts");
      } else if (keyword == "links") {
        once(links_, "links");
        links_ = count("links", kLinkBytes);
        set_.capacities.assign(text_.size() ? *links_ : 0, kAbsent);
        latencies_.assign(set_.capacities.size(), 0);
      } else if (keyword == "routes") {
        once(routes_, "routes");
        routes_ = count("routes", kRouteBytes);
        if (text_.size()) reserve_routes(*routes_);
      } else if (keyword == "flows") {
        once(flows_, "flows");
        flows_ = count("flows", kFlowBytes);
        if (text_.size()) {
          set_.flows.reserve(*flows_);
          pairs_.reserve(*flows_);
        }
      } else {
        text_.fail("unknown keyword '" + std::string(keyword.substr(0, 40)) + "'",
                   "the keywords are hosts, links, link, routes, route, flows, flow");
      }
    }
    finish();
    return std::move(set_);
  }

 private:
  void once(const std::optional<std::uint64_t>& value, const char* what) const {
    if (value) text_.fail(std::string("'") + what + "' stands here a second time");
  }
  std::uint64_t count(const char* what, std::uint64_t least_bytes) {
    const std::uint64_t n = text_.integer(text_.word(), kMostThings, "the count");
    text_.reservation(n, least_bytes, what);
    return n;
  }
  void reserve_routes(std::size_t n) {
    index_.reserve(n);
    set_.route_first.reserve(n + 1);
    set_.route_latency_s.reserve(n);
  }
  std::uint64_t host(const char* what) {
    const std::uint64_t id = text_.integer(text_.word(), kMostHosts, what);
    if (!hosts_) text_.fail("'hosts' must come before what names a host");
    if (id >= *hosts_) {
      text_.fail(std::string(what) + " is " + std::to_string(id) + ", but there are " +
                 std::to_string(*hosts_) + " hosts, 0 to " +
                 std::to_string(static_cast<std::int64_t>(*hosts_) - 1));
    }
    return id;
  }
  // Of a link that `links` has room for; grows the list when the file's size is not known.
  std::size_t link_id() {
    const std::uint64_t id = text_.integer(text_.word(), kMostThings, "the link");
    if (!links_) text_.fail("'links' must come before what names a link");
    if (id >= *links_) {
      text_.fail("there is no link " + std::to_string(id) + "; 'links' announces " +
                 std::to_string(*links_));
    }
    return static_cast<std::size_t>(id);
  }

  void link() {
    const std::size_t id = link_id();
    if (id >= set_.capacities.size()) {
      if (id > 2 * seen_links_ + 1000000)
        text_.fail("link " + std::to_string(id) + " comes too early",
                   "number the links of a pipe in order");
      set_.capacities.resize(id + 1, kAbsent);
      latencies_.resize(id + 1, 0);
    }
    if (set_.capacities[id] != kAbsent) {
      text_.fail("link " + std::to_string(id) + " stands here a second time");
    }
    set_.capacities[id] = text_.number(text_.word(), "the capacity");
    latencies_[id] = text_.number(text_.word(), "the latency");
    ++seen_links_;
  }

  void route() {
    const std::uint64_t source = host("the source"), destination = host("the destination");
    const std::uint64_t length = text_.integer(text_.word(), kMostThings, "the number of links");
    if (length == 0) text_.fail("a route needs a link: nothing would limit its flows");
    text_.reservation(length, kWordBytes, "links of one route");
    double latency = 0;
    const std::size_t first = set_.route_links.size();
    for (std::uint64_t i = 0; i < length; ++i) {
      const std::size_t id = link_id();
      if (id >= set_.capacities.size() || set_.capacities[id] == kAbsent) {
        text_.fail("the route crosses link " + std::to_string(id) + ", which has no line yet",
                   "the link lines come before the routes");
      }
      set_.route_links.push_back(static_cast<std::int32_t>(id));
      latency += latencies_[id];
    }
    refuse_links_crossed_twice(first);
    if (set_.route_links.size() > kMostThings) text_.fail("the routes have too many links");
    index_.add(RouteIndex::key(source, destination));
    set_.route_first.push_back(static_cast<std::uint32_t>(set_.route_links.size()));
    set_.route_latency_s.push_back(latency);
  }
  void refuse_links_crossed_twice(std::size_t first) {
    constexpr std::size_t kShort = 16;
    const auto begin = set_.route_links.begin() + static_cast<std::ptrdiff_t>(first);
    const auto end = set_.route_links.end();
    std::optional<std::int32_t> twice;
    if (static_cast<std::size_t>(end - begin) <= kShort) {
      for (auto a = begin; a != end; ++a) {
        if (std::find(begin, a, *a) != a) twice = *a;
      }
    } else {
      sorted_.assign(begin, end);
      std::sort(sorted_.begin(), sorted_.end());
      const auto found = std::adjacent_find(sorted_.begin(), sorted_.end());
      if (found != sorted_.end()) twice = *found;
    }
    if (twice) text_.fail("the route crosses link " + std::to_string(*twice) + " twice");
  }

  void flow() {
    const std::uint64_t source = host("the source"), destination = host("the destination");
    if (source == destination) {
      text_.fail("a flow from host " + std::to_string(source) + " to itself",
                 "what stays on a host crosses no link: leave it out");
    }
    Flow added;
    added.bytes = text_.whole(text_.word(), "the number of bytes");
    added.start_s = text_.number(text_.word(), "the start");
    if (set_.flows.size() == kMostThings) text_.fail("too many flows");
    set_.flows.push_back(added);
    pairs_.push_back(RouteIndex::key(source, destination));
  }

  void finish() {
    expect(hosts_, "hosts", hosts_.value_or(0));
    expect(links_, "links", seen_links_);
    expect(routes_, "routes", index_.size());
    expect(flows_, "flows", set_.flows.size());
    if (const auto twice = index_.sort_and_find_double()) {
      const std::uint64_t key = index_.key_of(*twice);
      throw Error(place_of("route", *twice),
                  "the route from " + pair(key) + " stands here a second time");
    }
    for (std::size_t f = 0; f < pairs_.size(); ++f) {
      set_.flows[f].route = index_.find(pairs_[f]);
      if (set_.flows[f].route != RouteIndex::kNone) continue;
      throw Error(place_of("flow", f), "there is no route from " + pair(pairs_[f]),
                  "add 'route " + std::to_string(pairs_[f] >> 32) + " " +
                      std::to_string(pairs_[f] & UINT32_MAX) + " K LINK...'");
    }
    const StarvedFlow starved = find_starved(set_);
    if (starved.link < 0) return;
    throw Error(place_of("flow", starved.flow),
                "flow " + std::to_string(starved.flow) + " starves: link " +
                    std::to_string(starved.link) + " of its route has no capacity",
                "it would wait forever");
  }
  void expect(const std::optional<std::uint64_t>& announced, const char* what,
              std::uint64_t seen) const {
    if (!announced) {
      throw Error(Place{file_}, std::string("'") + what + "' is missing", "is it truncated?");
    }
    if (*announced == seen) return;
    throw Error(Place{file_},
                "'" + std::string(what) + "' announces " + std::to_string(*announced) +
                    ", but there are " + std::to_string(seen),
                seen < *announced ? "is the file truncated?" : "");
  }
  static std::string pair(std::uint64_t key) {
    return std::to_string(key >> 32) + " to " + std::to_string(key & UINT32_MAX);
  }
  // Of the n-th such line: looked for only when something is wrong with it. A pipe cannot be read
  // again.
  Place place_of(const char* keyword, std::size_t n) const {
    if (!text_.size()) return {file_};
    TextScanner again(file_);
    std::size_t seen = 0;
    for (std::string_view word = again.keyword(); !word.empty(); word = again.keyword()) {
      if (word == keyword && seen++ == n) return again.place();
    }
    return {file_};
  }

  std::string file_;
  TextScanner text_;
  FlowSet set_;
  std::vector<double> latencies_;
  std::optional<std::uint64_t> hosts_, links_, routes_, flows_;
  std::uint64_t seen_links_ = 0;
  RouteIndex index_;
  std::vector<std::uint64_t> pairs_;  // per flow
  std::vector<std::int32_t> sorted_;
};

}  // namespace

FlowSet read_flow_scenario(const std::string& file) { return ScenarioReader(file).read(); }

void write_flow_times(const std::string& file, const std::vector<double>& finish_s) {
  TextWriter out(file);
  for (std::size_t f = 0; f < finish_s.size(); ++f) {
    out.add(static_cast<std::uint64_t>(f)).add(' ').add(finish_s[f]).add('\n');
  }
  out.close();
}

}  // namespace sim
