#include "sim/workloads/flows/flow_table.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "sim/input/suggestion.h"
#include "sim/workloads/flows/route_index.h"
#include "sim/workloads/flows/text_scanner.h"
#include "sim/workloads/flows/text_writer.h"
#include "topologies/routes.h"

namespace sim {
namespace {

enum Column : std::size_t { kSource, kDestination, kBytes, kStart, kWeight, kCap };
constexpr std::array<std::string_view, 6> kColumns = {"src",     "dst",    "bytes",
                                                      "start_s", "weight", "cap_bytes_per_s"};
constexpr std::size_t kRequired = 4;

void split(std::string_view line, std::vector<std::string_view>& fields) {
  fields.clear();
  for (std::size_t comma = line.find(','); comma != std::string_view::npos;
       comma = line.find(',')) {
    fields.push_back(line.substr(0, comma));
    line.remove_prefix(comma + 1);
  }
  fields.push_back(line);
}

class TableReader {
 public:
  TableReader(const std::string& file, const Cluster& cluster)
      : file_(file), cluster_(cluster), text_(file) {}

  FlowTable read() {
    read_header();
    std::string_view line;
    while (text_.line(line)) {
      if (line.empty()) continue;
      row(line);
    }
    find_routes();
    const StarvedFlow starved = find_starved(table_.set);
    if (starved.link >= 0) {
      throw Error(Place{file_, lines_[starved.flow]},
                  "the flow starves: link " +
                      cluster_.links[static_cast<std::size_t>(starved.link)].name +
                      " of its route has no capacity",
                  "it would wait forever");
    }
    return std::move(table_);
  }

 private:
  void read_header() {
    std::string_view line;
    if (!text_.line(line)) text_.fail("the file is empty", "its first line names the columns");
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
    if (line.substr(0, kByteOrderMark.size()) == kByteOrderMark)
      line.remove_prefix(kByteOrderMark.size());
    table_.header = line;
    split(line, fields_);
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      const auto found = std::find(kColumns.begin(), kColumns.end(), fields_[i]);
      if (found == kColumns.end()) {
        const std::string name(fields_[i].substr(0, 40));
        text_.fail("there is no column '" + name + "'",
                   suggest(name, std::vector<std::string>(kColumns.begin(), kColumns.end())));
      }
      std::optional<std::size_t>& at = at_[static_cast<std::size_t>(found - kColumns.begin())];
      if (at) text_.fail("the column '" + std::string(*found) + "' stands here twice");
      at = i;
    }
    for (std::size_t c = 0; c < kRequired; ++c) {
      if (!at_[c]) {
        text_.fail("the column '" + std::string(kColumns[c]) + "' is missing",
                   "the first line is src,dst,bytes,start_s[,weight][,cap_bytes_per_s]");
      }
    }
    columns_ = fields_.size();
  }

  std::string_view field(Column column) const { return fields_[*at_[column]]; }
  std::string_view filled(Column column) const {
    if (field(column).empty()) text_.fail("'" + std::string(kColumns[column]) + "' is empty");
    return field(column);
  }
  std::uint64_t device(Column column) const {
    const std::uint64_t id =
        text_.integer(filled(column), INT32_MAX, std::string(kColumns[column]).c_str());
    if (id >= cluster_.devices.size()) {
      text_.fail(std::string(kColumns[column]) + " is " + std::to_string(id) + ", but " +
                     cluster_.name + " has " + std::to_string(cluster_.devices.size()) +
                     " GPUs, counted from 0",
                 "--set nodes=N makes it larger");
    }
    return id;
  }
  double positive(Column column) const {
    const double value = text_.number(filled(column), std::string(kColumns[column]).c_str());
    if (value == 0) text_.fail(std::string(kColumns[column]) + " must be more than 0");
    return value;
  }

  void row(std::string_view line) {
    split(line, fields_);
    if (fields_.size() != columns_) {
      text_.fail("the line has " + std::to_string(fields_.size()) + " fields, the first one " +
                 std::to_string(columns_));
    }
    const std::uint64_t source = device(kSource), destination = device(kDestination);
    if (source == destination) {
      text_.fail("a flow from GPU " + std::to_string(source) + " to itself",
                 "what stays on a GPU crosses no link: leave it out");
    }
    FlowSet& set = table_.set;
    Flow flow;
    flow.bytes = text_.whole(filled(kBytes), "bytes");
    flow.start_s = text_.number(filled(kStart), "start_s");
    if (set.flows.size() == INT32_MAX) text_.fail("too many flows");
    set.flows.push_back(flow);
    if (at_[kWeight]) set.weights.push_back(positive(kWeight));
    if (at_[kCap]) set.caps_bytes_per_s.push_back(field(kCap).empty() ? kNoCap : positive(kCap));
    pairs_.push_back(RouteIndex::key(source, destination));
    lines_.push_back(text_.place().line);
    table_.rows.emplace_back(line);
  }

  // One route per pair in use, in the order of the pairs.
  void find_routes() {
    FlowSet& set = table_.set;
    for (const Link& link : cluster_.links) set.capacities.push_back(link.capacity.count());
    std::vector<std::uint64_t> keys = pairs_;
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    Routes routes(cluster_);
    RouteIndex index;
    std::vector<std::pair<std::int32_t, double>> crossed;  // link, bytes on it per byte
    for (const std::uint64_t key : keys) {
      index.add(key);
      const DeviceId source(static_cast<std::int64_t>(key >> 32));
      const DeviceId destination(static_cast<std::int64_t>(key & UINT32_MAX));
      const double latency_s = add_paths(routes, source, destination, crossed);
      for (const auto& [link, multiplier] : crossed) {
        set.route_links.push_back(link);
        set.route_multipliers.push_back(multiplier);
      }
      set.route_first.push_back(static_cast<std::uint32_t>(set.route_links.size()));
      set.route_latency_s.push_back(latency_s);
    }
    index.sort_and_find_double();
    for (std::size_t f = 0; f < pairs_.size(); ++f) set.flows[f].route = index.find(pairs_[f]);
  }

  // Between scale-up domains a flow is spread evenly over the cluster's paths per flow. Returns the
  // longest latency.
  double add_paths(Routes& routes, DeviceId source, DeviceId destination,
                   std::vector<std::pair<std::int32_t, double>>& crossed) {
    const bool inside = cluster_.devices[source.index()].scale_up_domain ==
                        cluster_.devices[destination.index()].scale_up_domain;
    const int paths = inside ? 1 : std::max(1, cluster_.paths_per_flow);
    Duration latency{0};
    crossed.clear();
    for (int path = 0; path < paths; ++path) {
      routes.route_into(source, destination, path, route_);
      latency = std::max(latency, route_.latency);
      for (const LinkId link : route_.links) crossed.emplace_back(link.value(), 1.0 / paths);
    }
    std::sort(crossed.begin(), crossed.end());
    std::size_t kept = 0;
    for (std::size_t i = 0; i < crossed.size(); ++i) {
      if (kept > 0 && crossed[kept - 1].first == crossed[i].first) {
        crossed[kept - 1].second += crossed[i].second;
      } else {
        crossed[kept++] = crossed[i];
      }
    }
    crossed.resize(kept);
    return to_seconds(latency);
  }

  static constexpr double kNoCap = std::numeric_limits<double>::infinity();

  std::string file_;
  const Cluster& cluster_;
  TextScanner text_;
  FlowTable table_;
  std::array<std::optional<std::size_t>, kColumns.size()> at_;
  std::size_t columns_ = 0;
  std::vector<std::string_view> fields_;
  std::vector<std::uint64_t> pairs_;  // per flow
  std::vector<int> lines_;            // per flow
  Route route_;
};

}  // namespace

FlowTable read_flow_table(const std::string& file, const Cluster& cluster) {
  return TableReader(file, cluster).read();
}

void write_flow_table(const std::string& file, const FlowTable& table,
                      const std::vector<double>& finish_s) {
  TextWriter out(file);
  out.add(table.header).add(",finish_s\n");
  for (std::size_t f = 0; f < finish_s.size(); ++f)
    out.add(table.rows[f]).add(',').add(finish_s[f]).add('\n');
  out.close();
}

}  // namespace sim
