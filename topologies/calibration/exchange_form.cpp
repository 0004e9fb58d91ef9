#include "topologies/calibration/exchange_form.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "sim/core/error.h"

namespace sim {
namespace {

enum class Unit { kPerRow, kPerRank, kPerNode };

struct Wires {
  std::string_view algorithm;
  Unit unit;
  bool nvlink;          // false: ranks of one node talk through their NICs too
  double header_bytes;  // per dispatched copy
  int sms;              // held when the row does not say
};

// As sim/policies/collectives/exchange.h says; a test compares the two.
constexpr Wires kWires[] = {
    {"nccl", Unit::kPerRow, true, 0, 0},
    {"deepep-low-latency", Unit::kPerRow, true, 16, 0},
    {"deepep-low-latency-no-nvlink", Unit::kPerRow, false, 16, 0},
    {"deepep-normal", Unit::kPerNode, true, 0, 20},
    {"nvlink-one-sided", Unit::kPerRank, true, 0, 0},
    {"nvlink-two-sided", Unit::kPerRank, true, 0, 0},
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

// Counting draws every token; a fit asks for the same rows thousands of times.
const TokenTraffic& counted(const TokenShape& shape) {
  thread_local std::map<TokenShape, TokenTraffic> known;
  const auto found = known.find(shape);
  if (found != known.end()) return found->second;
  return known.emplace(shape, count_traffic(shape, 1)).first->second;
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

ExchangeLoad exchange_load(const MeasuredRow& row, const MachineRates& rates) {
  const Wires& wires = wires_of(row);
  // The share of a port hardly depends on how many tokens are drawn beyond thousands.
  const std::int64_t drawn = std::min<std::int64_t>(row.tokens, 8192);
  const double scale = static_cast<double>(row.tokens) / static_cast<double>(drawn);
  TokenShape shape;
  shape.tokens = drawn;
  shape.top_k = row.top_k;
  shape.experts = row.experts;
  shape.ranks = row.ranks;
  shape.nodes =
      wires.nvlink ? (row.nodes + rates.nodes_per_domain - 1) / rates.nodes_per_domain : row.ranks;
  shape.top_groups = row.top_groups;
  shape.spread = row.balanced ? TokenSpread::kBalanced : TokenSpread::kUniform;
  const TokenTraffic& traffic = counted(shape);
  const TokenTraffic::PerPort& port = wires.unit == Unit::kPerRow    ? traffic.per_row
                                      : wires.unit == Unit::kPerRank ? traffic.per_rank
                                                                     : traffic.per_node;
  ExchangeLoad load;
  load.ranks = row.ranks;
  load.nodes = row.nodes;
  load.experts = row.experts;
  load.tokens = static_cast<double>(row.tokens);
  load.bytes_per_copy = bytes_of(row, wires.header_bytes);
  load.nic_bytes = scale * port.nic * load.bytes_per_copy;
  load.nvlink_bytes = scale * port.nvlink * load.bytes_per_copy;
  load.messages = row.ranks - 1;
  load.several_nodes = row.nodes > 1;
  if (wires.unit == Unit::kPerRow) {
    // Low latency works expert by expert: as many SMs as rounds of experts leave busy.
    load.copies = load.tokens * row.top_k;
    const int rounds = (row.experts + rates.device_sms - 1) / std::max(1, rates.device_sms);
    load.sms = (row.experts + rounds - 1) / std::max(1, rounds);
  } else {
    load.copies = load.tokens * traffic.ranks_per_token;
    load.node_copies = load.tokens * traffic.nodes_per_token;
    load.sms = row.sms > 0 ? row.sms : wires.sms;
  }
  return load;
}

double exchange_seconds(const StartupCost& cost, const ExchangeLoad& load,
                        const MachineRates& rates) {
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
    const double nic = rates.nic * rates.nics_per_node / rates.gpus_per_node;
    wire = std::max(wire, load.nic_bytes / (nic * cost.nic_efficiency) * slower);
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

namespace {

using Set = void (*)(StartupCost&, double);
Duration ticks(double seconds) { return Duration(std::llround(seconds * 1e12)); }

struct ExchangeParameter {
  FormParameter parameter;
  Set set;
};

constexpr double kNoSmLimit = 1e18;  // bytes/s

// Bounds are wide enough never to hold a sound fit, but for efficiencies: no link exceeds its rate.
constexpr ExchangeParameter kTable[] = {
    {{"base", ParameterKind::kDuration, 1.5e-5, 1e-8, 1e-2, 0},
     [](StartupCost& c, double v) { c.base = ticks(v); }},
    {{"multi_node", ParameterKind::kDuration, 3e-6, 1e-9, 1e-2, 0},
     [](StartupCost& c, double v) { c.multi_node = ticks(v); }},
    {{"per_doubling", ParameterKind::kDuration, 3e-6, 1e-9, 1e-2, 0},
     [](StartupCost& c, double v) { c.per_doubling = ticks(v); }},
    {{"per_256_experts", ParameterKind::kDuration, 3e-6, 1e-9, 1e-2, 0},
     [](StartupCost& c, double v) { c.per_256_experts = ticks(v); }},
    {{"world_exponent", ParameterKind::kNumber, 0.1, 1e-3, 1, 0},
     [](StartupCost& c, double v) { c.world_exponent = v; }},
    {{"pipeline_fill", ParameterKind::kDuration, 1e-5, 1e-8, 1e-2, 0},
     [](StartupCost& c, double v) { c.pipeline_fill = ticks(v); }},
    {{"serial_per_token", ParameterKind::kDuration, 1e-8, 1e-11, 1e-5, 0},
     [](StartupCost& c, double v) { c.serial_per_token = ticks(v); }},
    {{"wire_base", ParameterKind::kDuration, 1e-5, 1e-8, 1e-2, 0},
     [](StartupCost& c, double v) { c.wire_base = ticks(v); }},
    {{"rate_exponent", ParameterKind::kNumber, 0.05, 1e-4, 1, 0},
     [](StartupCost& c, double v) { c.rate_exponent = v; }},
    {{"nic_efficiency", ParameterKind::kShare, 0.9, 0.01, 1, 1},
     [](StartupCost& c, double v) { c.nic_efficiency = v; }},
    {{"nvlink_efficiency", ParameterKind::kShare, 0.6, 0.01, 1, 1},
     [](StartupCost& c, double v) { c.nvlink_efficiency = v; }},
    {{"copy_per_sm", ParameterKind::kBandwidth, 2e10, 1e8, 1e13, kNoSmLimit},
     [](StartupCost& c, double v) {
       if (v < kNoSmLimit) c.copy_per_sm = Bandwidth(v);
     }},
    {{"rank_copies", ParameterKind::kNumber, 0.5, 1e-3, 1, 1},
     [](StartupCost& c, double v) { c.rank_copies = v; }},
    {{"extra_copies", ParameterKind::kNumber, 2, 1e-2, 100, 0},
     [](StartupCost& c, double v) { c.extra_copies = v; }},
    {{"per_copy", ParameterKind::kDuration, 5e-8, 1e-10, 1e-4, 0},
     [](StartupCost& c, double v) { c.per_copy = ticks(v); }},
    {{"per_token", ParameterKind::kDuration, 3e-7, 1e-10, 1e-4, 0},
     [](StartupCost& c, double v) { c.per_token = ticks(v); }},
};

constexpr std::array kParameters = [] {
  std::array<FormParameter, std::size(kTable)> parameters{};
  for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i] = kTable[i].parameter;
  return parameters;
}();

double seconds(const MeasuredRow& row, const MachineRates& rates, std::span<const double> values) {
  StartupCost cost;
  for (std::size_t i = 0; i < values.size(); ++i) kTable[i].set(cost, values[i]);
  return exchange_seconds(cost, exchange_load(row, rates), rates);
}

}  // namespace

const FitForm kExchangeForm{"exchange", kParameters, &seconds};

}  // namespace sim
