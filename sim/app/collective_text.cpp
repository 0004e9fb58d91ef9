#include "sim/app/collective_text.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "analysis/summary.h"

namespace sim {
namespace {

bool shares_buffer(std::string_view operation) {
  return operation == "all-to-all" || operation == "all-gather" || operation == "reduce-scatter";
}

// Elements as nccl-tests count them: of the whole buffer, or of one rank's share of it.
std::int64_t element_count(const CollectiveSweep& sweep, std::int64_t size) {
  const double elements = static_cast<double>(size) / bytes_per_value(sweep.dtype);
  return static_cast<std::int64_t>(shares_buffer(sweep.operation) ? elements / sweep.ranks
                                                                  : elements);
}

// A bandwidth of a row: its name in the table and in JSON, and what it counts.
struct Rate {
  std::string heading;
  std::string key;
  double bytes = 0;  // per rank, mean over ranks
};

// What DeepEP's tests and TensorRT-LLM print: one copy per (token, expert) is counted whole; where
// a token travels once per node or rank, the nodes and ranks that it touches, the own ones
// included.
std::vector<Rate> exchange_rates(const CollectiveSweep& sweep, const CollectiveRow& row) {
  const double copy = static_cast<double>(row.bytes_per_copy.count());
  if (!sweep.distinct_copies)
    return {{"GB/s", "selections_bandwidth_bytes_per_s", row.selections.value() * copy}};
  std::vector<Rate> rates;
  if (!sweep.once_per_node) {
    return {{"GB/s", "rank_copies_bandwidth_bytes_per_s", row.rank_copies.value() * copy}};
  }
  if (sweep.domains > 1) {
    rates.push_back({"RDMA GB/s", "rdma_bandwidth_bytes_per_s", row.node_copies.value() * copy});
  }
  rates.push_back({"NVLink GB/s", "nvlink_bandwidth_bytes_per_s", row.rank_copies.value() * copy});
  return rates;
}

std::string rates_defined(const CollectiveSweep& sweep) {
  if (!sweep.exchange) {
    return fmt::format("algbw is size over time, busbw is algbw x {:.6g} (nccl-tests)",
                       bus_factor(sweep.operation, sweep.ranks));
  }
  if (!sweep.distinct_copies) {
    return "GB/s counts every (token, expert) copy of a rank, its own included (DeepEP low "
           "latency)";
  }
  if (!sweep.once_per_node) {
    return "GB/s counts every rank that a token goes to, its own included (TensorRT-LLM)";
  }
  const std::string nvlink =
      "NVLink GB/s every rank that a token goes to, its own included (DeepEP normal)";
  return sweep.domains > 1
             ? "RDMA GB/s counts every node that a token goes to, its own included, " + nvlink
             : nvlink;
}

std::string size_defined(const CollectiveSweep& sweep) {
  if (sweep.exchange) return "tokens of each rank";
  if (sweep.operation == "all-to-all") return "bytes that a rank sends, its own share included";
  if (sweep.operation == "all-gather") return "bytes of the gathered buffer";
  if (sweep.operation == "reduce-scatter") return "bytes of the buffer that is reduced";
  return "bytes of a rank's buffer";
}

double busiest_rate(const CollectiveRow& row) {
  return row.run.busiest_link_bytes / to_seconds(row.run.time);
}

// On whose word: one line, or one for each of several that the sizes use.
std::string constants_text(const CollectiveSweep& sweep) {
  std::string text;
  const CollectiveRow* last = nullptr;
  for (const CollectiveRow& row : sweep.rows) {
    if (last != nullptr && last->label == row.label && last->source == row.source) continue;
    text += fmt::format("  constants  {}{}: {}\n",
                        last == nullptr ? "" : fmt::format("from {} on ", row.size), row.label,
                        row.source);
    last = &row;
  }
  return text;
}

std::string micro(double seconds) { return fmt::format("{:.2f}", seconds * 1e6); }
std::string giga(double bytes_per_s) { return fmt::format("{:.2f}", bytes_per_s * 1e-9); }

TextTable make_table(const CollectiveSweep& sweep, bool detail) {
  TextTable table;
  table.add_column(sweep.exchange ? "tokens" : "size B", Align::kRight);
  if (sweep.exchange) {
    table.add_column("B of a copy", Align::kRight);
  } else {
    table.add_column("count", Align::kRight);
    table.add_column("type");
  }
  table.add_column("time us", Align::kRight);
  if (sweep.exchange) {
    table.add_column("slowest us", Align::kRight);
    for (const Rate& rate : exchange_rates(sweep, sweep.rows.front()))
      table.add_column(rate.heading, Align::kRight);
  } else {
    table.add_column("algbw GB/s", Align::kRight);
    table.add_column("busbw GB/s", Align::kRight);
  }
  if (detail) {
    table.add_column("start-up us", Align::kRight);
    table.add_column("network us", Align::kRight);
    table.add_column("sharing us", Align::kRight);
    table.add_column("transfers", Align::kRight);
    table.add_column("busiest link");
    table.add_column("GB/s on it", Align::kRight);
  }
  return table;
}

std::vector<std::string> cells_of(const CollectiveSweep& sweep, const CollectiveRow& row,
                                  bool detail) {
  std::vector<std::string> cells = {std::to_string(row.size)};
  if (sweep.exchange) {
    cells.push_back(std::to_string(row.bytes_per_copy.count()));
    cells.push_back(micro(row.run.mean_s));
    cells.push_back(micro(to_seconds(row.run.time)));
    for (const Rate& rate : exchange_rates(sweep, row))
      cells.push_back(giga(rate.bytes / row.run.mean_s));
  } else {
    const double rate = static_cast<double>(row.size) / row.run.mean_s;
    cells.push_back(std::to_string(element_count(sweep, row.size)));
    cells.emplace_back(to_text(sweep.dtype));
    cells.push_back(micro(row.run.mean_s));
    cells.push_back(giga(rate));
    cells.push_back(giga(rate * bus_factor(sweep.operation, sweep.ranks)));
  }
  if (detail) {
    const LoneCauses& causes = row.run.causes;
    cells.push_back(micro(to_seconds(causes.startup)));
    cells.push_back(micro(to_seconds(causes.network)));
    cells.push_back(micro(to_seconds(causes.congestion)));
    cells.push_back(std::to_string(row.run.transfers));
    cells.push_back(row.run.busiest_link.empty() ? "none" : row.run.busiest_link);
    cells.push_back(giga(busiest_rate(row)));
  }
  return cells;
}

}  // namespace

double bus_factor(std::string_view operation, int ranks) {
  const double others = static_cast<double>(ranks - 1) / ranks;
  if (operation == "all-reduce") return 2 * others;
  return shares_buffer(operation) ? others : 1;
}

std::string sweep_text(const CollectiveSweep& sweep, bool detail) {
  std::string text = fmt::format("{} by {}: {}\n", sweep.operation, sweep.algorithm, sweep.where);
  if (sweep.exchange) {
    text += fmt::format("  tokens     {}, hidden {}, {}; each rank's tokens drawn{}\n",
                        to_text(sweep.dtype), sweep.hidden, sweep.routing,
                        sweep.estimated ? " (too many: distinct copies are expectations)" : "");
  }
  text += fmt::format("  size       {}\n", size_defined(sweep));
  text += fmt::format("  time       mean over ranks, from reaching the operation to its end{}\n",
                      sweep.operation == "dispatch" ? ", without the size exchange" : "");
  text += fmt::format("  bandwidth  {}\n", rates_defined(sweep));
  if (sweep.fidelity == "ports") {
    text += "  fidelity   ports: a send and a receive per rank\n";
  }
  text += constants_text(sweep) + "\n";
  TextTable table = make_table(sweep, detail);
  for (const CollectiveRow& row : sweep.rows) table.add_row(cells_of(sweep, row, detail));
  return text + table.text();
}

std::string sweep_json(const CollectiveSweep& sweep) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const CollectiveRow& row : sweep.rows) {
    nlohmann::ordered_json json;
    json["op"] = sweep.operation;
    json["algorithm"] = sweep.algorithm;
    json["cluster"] = sweep.cluster;
    json["nodes"] = sweep.nodes;
    json["ranks"] = sweep.ranks;
    json["fidelity"] = sweep.fidelity;
    json["size"] = row.size;
    json["size_unit"] = sweep.exchange ? "tokens" : "bytes";
    json["dtype"] = to_text(sweep.dtype);
    json["time_s"] = row.run.mean_s;
    json["slowest_rank_s"] = to_seconds(row.run.time);
    const double wire = row.run.busiest_link_bytes / row.run.mean_s;
    if (sweep.exchange) {
      const std::vector<Rate> rates = exchange_rates(sweep, row);
      json["algorithm_bandwidth_bytes_per_s"] = rates.front().bytes / row.run.mean_s;
      json["bus_bandwidth_bytes_per_s"] = wire;
      for (const Rate& rate : rates) json[rate.key] = rate.bytes / row.run.mean_s;
      json["bytes_per_copy"] = row.bytes_per_copy.count();
      nlohmann::ordered_json copies;
      if (row.selections) copies["selections"] = *row.selections;
      if (row.rank_copies) copies["distinct_ranks"] = *row.rank_copies;
      if (row.node_copies) copies["distinct_nodes"] = *row.node_copies;
      json["copies_per_rank"] = std::move(copies);
    } else {
      const double rate = static_cast<double>(row.size) / row.run.mean_s;
      json["count"] = element_count(sweep, row.size);
      json["algorithm_bandwidth_bytes_per_s"] = rate;
      json["bus_bandwidth_bytes_per_s"] = rate * bus_factor(sweep.operation, sweep.ranks);
    }
    json["startup_s"] = to_seconds(row.run.causes.startup);
    json["network_s"] = to_seconds(row.run.causes.network);
    json["sharing_s"] = to_seconds(row.run.causes.congestion);
    json["transfers"] = row.run.transfers;
    if (!row.run.busiest_link.empty()) json["busiest_link"] = row.run.busiest_link;
    json["label"] = row.label;
    json["source"] = row.source;
    rows.push_back(std::move(json));
  }
  return rows.dump(2) + "\n";
}

}  // namespace sim
