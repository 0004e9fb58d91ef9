#include "topologies/calibration/exchange_form.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "sim/core/error.h"

namespace sim {
namespace {

enum class Unit { kPerRow, kPerRank, kPerNode };

struct Wires {
  std::string_view algorithm;
  Unit unit;
  bool nvlink;  // false: ranks of one node talk through their NICs too
};

constexpr Wires kWires[] = {
    {"nccl", Unit::kPerRow, true},
    {"deepep-low-latency", Unit::kPerRow, true},
    {"deepep-low-latency-no-nvlink", Unit::kPerRow, false},
    {"deepep-normal", Unit::kPerNode, true},
    {"nvlink-one-sided", Unit::kPerRank, true},
    {"nvlink-two-sided", Unit::kPerRank, true},
};

const Wires& wires_of(const MeasuredRow& row) {
  for (const Wires& wires : kWires) {
    if (wires.algorithm == row.algorithm) return wires;
  }
  throw Error(fmt::format("row {}: algorithm '{}' has no closed form", row.id, row.algorithm));
}

double bytes_of(const MeasuredRow& row, double header_bytes) {
  const double hidden = static_cast<double>(row.hidden);
  const double header = row.operation == "dispatch" ? header_bytes : 0;
  if (row.dtype == "bf16") return 2 * hidden + header;
  if (row.dtype == "fp8") return hidden + 4 * std::ceil(hidden / 128) + header;
  if (row.dtype == "nvfp4") return std::ceil(hidden * 9 / 16) + header;
  throw Error(fmt::format("row {}: '{}' is not a type that tokens travel in", row.id, row.dtype));
}

// NVLink domains among the row's GPUs: the first ranks / nodes of each of the first nodes.
int domains_of(const MeasuredRow& row, const Cluster& cluster) {
  std::set<int> domains;
  const auto in_node = static_cast<std::size_t>(row.ranks / row.nodes);
  for (int n = 0; n < row.nodes; ++n) {
    if (n >= cluster.node_count()) {
      throw Error(fmt::format("row {}: cluster '{}' has {} nodes, not {}", row.id, cluster.name,
                              cluster.node_count(), row.nodes));
    }
    const ClusterNode& node = cluster.nodes[static_cast<std::size_t>(n)];
    for (std::size_t i = 0; i < std::min(in_node, node.devices.size()); ++i) {
      domains.insert(cluster.devices[node.devices[i].index()].scale_up_domain);
    }
  }
  return static_cast<int>(domains.size());
}

double power(double base, double exponent) {
  return exponent == 0 ? 1.0 : std::pow(base, exponent);
}

double copy_seconds(const StartupCost& cost, const ExchangeLoad& load, double extra) {
  if (!cost.copy_per_sm || load.sms <= 0) return 0;
  const double per_copy =
      load.bytes_per_copy / cost.copy_per_sm->count() + to_seconds(cost.per_copy);
  const double weight = load.node_copies < 0 ? 1 : cost.rank_copies;  // low latency: rows
  return ((weight * load.copies + extra) * per_copy + load.tokens * to_seconds(cost.per_token)) /
         load.sms;
}

}  // namespace

ExchangeRates exchange_rates(const Cluster& cluster) {
  ExchangeRates rates;
  // Every generator gives a GPU its links by their kind: NVLink from the GPU itself, and NICs
  // either from it or, behind PCIe, from vertices of their own; per GPU the NICs' sum is shared
  // evenly.
  double nics = 0;
  for (const Link& link : cluster.links) {
    if (link.kind == LinkKind::kNvlink && link.from.value() == 0)
      rates.nvlink += link.capacity.count();
    if (link.kind == LinkKind::kNic) nics += link.capacity.count();
  }
  rates.nic = nics / 2 / std::max(1, cluster.device_count());  // each NIC has two directions
  return rates;
}

ExchangeLoad exchange_load(const MeasuredRow& row, const Cluster& cluster, int device_sms,
                           int default_sms, double header_bytes) {
  const Wires& wires = wires_of(row);
  TokenShape shape;
  shape.tokens = row.tokens;
  shape.top_k = row.top_k;
  shape.experts = row.experts;
  shape.ranks = row.ranks;
  shape.nodes = wires.nvlink ? domains_of(row, cluster) : row.ranks;
  shape.top_groups = row.top_groups;
  shape.spread = row.balanced ? TokenSpread::kBalanced : TokenSpread::kUniform;
  const TokenTraffic traffic = count_traffic(shape, 1);
  const TokenTraffic::PerPort& port = wires.unit == Unit::kPerRow    ? traffic.per_row
                                      : wires.unit == Unit::kPerRank ? traffic.per_rank
                                                                     : traffic.per_node;
  ExchangeLoad load;
  load.ranks = row.ranks;
  load.nodes = row.nodes;
  load.experts = row.experts;
  load.tokens = static_cast<double>(row.tokens);
  load.bytes_per_copy = bytes_of(row, header_bytes);
  load.nic_bytes = port.nic * load.bytes_per_copy;
  load.nvlink_bytes = port.nvlink * load.bytes_per_copy;
  load.messages = row.ranks - 1;
  load.several_nodes = row.nodes > 1;
  if (wires.unit == Unit::kPerRow) {
    // Low latency works expert by expert: as many SMs as rounds of experts leave busy.
    load.copies = load.tokens * row.top_k;
    const int rounds = (row.experts + device_sms - 1) / std::max(1, device_sms);
    load.sms = (row.experts + rounds - 1) / std::max(1, rounds);
  } else {
    load.copies = load.tokens * traffic.ranks_per_token;
    load.node_copies = load.tokens * traffic.nodes_per_token;
    load.sms = row.sms > 0 ? row.sms : default_sms;
  }
  return load;
}

double exchange_seconds(const StartupCost& cost, const ExchangeLoad& load,
                        const ExchangeRates& rates) {
  double start = to_seconds(cost.base);
  if (load.several_nodes) {
    start += to_seconds(cost.multi_node) + to_seconds(cost.per_doubling) * std::log2(load.nodes);
  }
  start += to_seconds(cost.per_256_experts) * load.experts / 256.0 +
           to_seconds(cost.per_message) * load.messages;
  start *= power(load.ranks / 8.0, cost.world_exponent);
  if (cost.pipeline_fill > Duration(0) && load.sms > 0) {
    start += to_seconds(cost.pipeline_fill) * (1 - std::exp(-load.tokens / (4.0 * load.sms)));
  }
  start += to_seconds(cost.serial_per_token) * load.tokens;
  const double slower = power(load.ranks / 8.0, cost.rate_exponent);
  double wire = 0;
  if (load.nic_bytes > 0) {
    wire = std::max(wire, load.nic_bytes / (rates.nic * cost.nic_efficiency) * slower);
  }
  if (load.nvlink_bytes > 0) {
    wire = std::max(wire, load.nvlink_bytes / (rates.nvlink * cost.nvlink_efficiency) * slower);
  }
  // Low latency counts no copies beside the rows; normal kernels also read each node's copy.
  const double extra = load.node_copies < 0 ? 0
                       : load.several_nodes ? load.node_copies
                                            : cost.extra_copies * load.tokens;
  const double moved = std::max(wire, copy_seconds(cost, load, extra));
  if (cost.wire_base == Duration(0)) return start + moved;
  return std::pow(std::pow(start, 4) + std::pow(to_seconds(cost.wire_base) + moved, 4), 0.25);
}

}  // namespace sim
