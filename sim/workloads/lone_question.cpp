#include "sim/workloads/lone_question.h"

#include <fmt/format.h>

#include <numeric>
#include <utility>

#include "sim/core/error.h"
#include "sim/input/suggestion.h"
#include "sim/policies/collectives/collective.h"
#include "sim/policies/collectives/ports_body.h"

namespace sim {
namespace {

constexpr std::size_t kMostPairs = std::size_t{1} << 22;

int node_count(const std::vector<int>& node_of_rank) {
  int nodes = 0;
  for (const int node : node_of_rank) nodes = std::max(nodes, node + 1);
  return nodes;
}

double mean_per_rank(const std::vector<std::int64_t>& copies, std::size_t ranks) {
  const auto sum = std::accumulate(copies.begin(), copies.end(), std::int64_t{0});
  return static_cast<double>(sum) / static_cast<double>(ranks);
}

// The constants of an exchange; without a size exchange when it is not asked for.
StartupCost cost_of(const Cluster& cluster, const ExchangeAlgorithm& algorithm, Direction direction,
                    int nodes, bool size_exchange, std::string_view library = {}) {
  const ExchangeCosts costs = exchange_costs(cluster, algorithm, nodes, library);
  StartupCost cost = direction == Direction::kDispatch ? costs.dispatch : costs.combine;
  if (!size_exchange) cost.notify = cost.notify_per_doubling = Duration(0);
  return cost;
}

void check_pairs(std::size_t ranks) {
  if (ranks <= kMostPairs / ranks) return;
  throw Error(
      fmt::format("{} ranks that all send to each other are {} transfers", ranks, ranks * ranks),
      fmt::format("at most {} fit in memory; dispatch and combine can run with --fidelity ports",
                  kMostPairs));
}

// Whether an exchange algorithm moves any bytes, or token copies with a layout of their own.
bool moves_plain_bytes(const ExchangeAlgorithm& algorithm) {
  return !algorithm.distinct_copies && algorithm.header_bytes == 0;
}

// Equal shares of every rank's buffer to every rank, byte by byte: share d of S bytes over g ranks
// is [S d / g, S (d + 1) / g).
CopyCounts equal_shares(Bytes bytes, const std::vector<int>& node_of_rank) {
  const auto ranks = static_cast<std::int64_t>(node_of_rank.size());
  CopyCounts copies;
  copies.ranks = static_cast<int>(ranks);
  copies.nodes = node_count(node_of_rank);
  const std::int64_t whole = bytes.count() / ranks;
  const std::int64_t rest = bytes.count() % ranks;
  const auto nodes = static_cast<std::size_t>(copies.nodes);
  copies.node_copies.assign(node_of_rank.size() * nodes, 0);
  for (std::int64_t s = 0; s < ranks; ++s) {
    for (std::int64_t d = 0; d < ranks; ++d) {
      const std::int64_t share = whole + rest * (d + 1) / ranks - rest * d / ranks;
      copies.rows.push_back(share);
      copies.node_copies[static_cast<std::size_t>(s) * nodes +
                         static_cast<std::size_t>(node_of_rank[static_cast<std::size_t>(d)])] +=
          share;
    }
  }
  copies.rank_copies = copies.rows;
  copies.tokens.assign(node_of_rank.size(), 0);
  return copies;
}

}  // namespace

LonePredictor::DrawnRouting LonePredictor::draw_routing(const ExchangeQuestion& question) const {
  const std::unique_ptr<RoutingSource> source = make_synthetic(
      question.routing, {question.experts}, question.top_k,
      std::vector<std::int64_t>(question.devices.size(), question.tokens), question.seed);
  DrawnRouting drawn;
  source->fill(0, 0, drawn.routing);
  PlacementInput input;
  input.experts = question.experts;
  input.ranks = static_cast<int>(question.devices.size());
  input.load.assign(static_cast<std::size_t>(question.experts), 0);
  RandomStream random(question.seed, "placement");
  drawn.placement = place_experts(find_placement_policy("contiguous"), input, random);
  assign_slots(find_replica_split("modulo"), {drawn.routing, drawn.placement, 1}, drawn.assignment);
  return drawn;
}

const CopyCounts& LonePredictor::draw_copies(const ExchangeQuestion& question) {
  const std::vector<int> node_of_rank = nodes_of_ranks(cluster(), question.devices);
  const SyntheticSpec& spec = question.routing;
  std::string key =
      fmt::format("{} {} {} {} {} {} {}", question.tokens, question.experts, question.top_k,
                  question.seed, static_cast<int>(spec.kind), spec.exponent, spec.token_budget);
  if (spec.groups) key += fmt::format(" {} {}", spec.groups->groups, spec.groups->limit);
  for (const int node : node_of_rank) key += fmt::format(" {}", node);
  if (key == drawn_for_) return drawn_;
  const DrawnRouting drawn = draw_routing(question);
  drawn_for_.clear();
  count_copies(drawn.routing, drawn.assignment, drawn.placement, node_of_rank, question.top_k,
               drawn_);
  drawn_for_ = std::move(key);
  return drawn_;
}

PortCopies LonePredictor::draw_port_copies(const ExchangeQuestion& question, PortForm form) const {
  const std::vector<int> node_of_rank = nodes_of_ranks(cluster(), question.devices);
  if (question.copies != nullptr) return port_copies(*question.copies, node_of_rank, form);
  const DrawnRouting drawn = draw_routing(question);
  PortCopies copies;
  count_port_copies(drawn.routing, drawn.assignment, drawn.placement, node_of_rank, question.top_k,
                    form, copies);
  return copies;
}

void LonePredictor::run_flows(const ExchangeQuestion& question, const StartupCost& cost,
                              Exchange& exchange, LoneOperation& operation,
                              ExchangeAnswer& answer) {
  const std::size_t ranks = question.devices.size();
  check_pairs(ranks);
  const CopyCounts& copies = question.copies != nullptr ? *question.copies : draw_copies(question);
  SIM_CHECK(copies.ranks == static_cast<int>(ranks), "copies are of these ranks");
  exchange.copies = &copies;
  operation.make_body = [&](ClusterNetwork& network, const TrafficSink& sink,
                            CollectiveBody& body) {
    body.start = question.algorithm->start;
    question.algorithm->make(exchange, cost, network, sink, body);
  };
  answer.run = network_.run(operation);
  answer.selections = mean_per_rank(copies.rows, ranks);
  answer.rank_copies = mean_per_rank(copies.rank_copies, ranks);
  answer.node_copies = mean_per_rank(copies.node_copies, ranks);
  answer.estimated = copies.estimated && question.algorithm->distinct_copies;
}

void LonePredictor::run_ports(const ExchangeQuestion& question, const StartupCost& cost,
                              Exchange& exchange, LoneOperation& operation,
                              ExchangeAnswer& answer) {
  const std::optional<PortForm> form = port_form(question.algorithm->name);
  if (!form) {
    throw Error(
        fmt::format("'{}' is not defined at the fidelity 'ports'", question.algorithm->name),
        "it is for " + port_algorithms());
  }
  const PortCopies copies = draw_port_copies(question, *form);
  operation.make_port_body = [&](PortNetwork& network, CollectiveBody& body) {
    body.start = question.algorithm->start;
    make_port_body(
        exchange, copies, cost, network, [](DeviceId, Bytes, Bytes) {}, body);
  };
  answer.run = network_.run(operation);
  double to_ranks =
      static_cast<double>(std::accumulate(copies.own.begin(), copies.own.end(), std::int64_t{0}));
  for (const SparseCopies::Entry& entry : copies.to_ranks.entries) to_ranks += entry.copies;
  const std::size_t ranks = question.devices.size();
  const double per_rank = to_ranks / static_cast<double>(ranks);
  (*form == PortForm::kPerRow ? answer.selections : answer.rank_copies) = per_rank;
  if (*form == PortForm::kPerNode) answer.node_copies = mean_per_rank(copies.node_sum, ranks);
  answer.estimated = copies.estimated && question.algorithm->distinct_copies;
}

ExchangeAnswer LonePredictor::predict(const ExchangeQuestion& question) {
  SIM_CHECK(question.algorithm != nullptr, "an exchange has an algorithm");
  const ExchangeAlgorithm& algorithm = *question.algorithm;
  const std::vector<int> node_of_rank = nodes_of_ranks(cluster(), question.devices);
  const StartupCost cost =
      cost_of(cluster(), algorithm, question.direction, node_count(node_of_rank),
              question.size_exchange, question.library);
  Exchange exchange;
  exchange.direction = question.direction;
  exchange.ranks = question.devices;
  exchange.node_of_rank = node_of_rank;
  exchange.bytes_per_copy =
      bytes_per_copy(algorithm, question.direction, question.hidden, question.dtype);
  exchange.experts = question.experts;
  exchange.device_sms = network_.type_of(question.devices.front()).sms;
  exchange.tensor_parallel = question.tensor_parallel;
  exchange.communication_sms = question.communication_sms.value_or(algorithm.communication_sms);
  LoneOperation operation;
  operation.devices = question.devices;
  operation.arrivals = question.arrivals;
  operation.communication_sms = exchange.communication_sms;
  ExchangeAnswer answer;
  answer.label = cost.label;
  answer.source = cost.source;
  answer.bytes_per_copy = exchange.bytes_per_copy;
  if (question.fidelity == LoneFidelity::kPorts) {
    run_ports(question, cost, exchange, operation, answer);
  } else {
    run_flows(question, cost, exchange, operation, answer);
  }
  return answer;
}

std::vector<std::string> collective_operations() {
  std::vector<std::string> names = {"all-to-all"};
  for (const CollectiveAlgorithm& each : kCollectives) {
    if (each.operation != names.back() && !takes_pieces(each.operation))
      names.emplace_back(each.operation);
  }
  return names;
}

std::vector<std::string> collective_algorithms(const std::string& operation) {
  std::vector<std::string> names;
  for (const CollectiveAlgorithm& each : kCollectives) {
    if (each.operation == operation) names.emplace_back(each.name);
  }
  if (operation != "all-to-all") return names;
  for (const ExchangeAlgorithm& algorithm : kExchangeAlgorithms) {
    if (moves_plain_bytes(algorithm)) names.emplace_back(algorithm.name);
  }
  return names;
}

namespace {

// All-to-all of plain bytes has constants of its own, which know the size; the dispatch of a run
// has those of its algorithm in `communication`.
StartupCost all_to_all_cost(const Cluster& cluster, const CollectiveQuestion& question,
                            const ExchangeAlgorithm& algorithm, int nodes) {
  const int ranks = static_cast<int>(question.devices.size());
  const CollectiveConstants* constants = find_collective(
      cluster, question.algorithm, question.operation, nodes, ranks, question.bytes);
  if (constants == nullptr) {
    return cost_of(cluster, algorithm, Direction::kDispatch, nodes, false, question.library);
  }
  StartupCost cost;
  cost.base = duration_from_seconds(serial_seconds(*constants, 1, question.bytes, ranks));
  cost.nic_efficiency = constants->nic_efficiency;
  cost.nvlink_efficiency = constants->nvlink_efficiency;
  cost.pcie_efficiency = constants->pcie_efficiency;
  cost.label = constants->label;
  cost.source = constants->source;
  cost.fitted_to = constants->fitted_to;
  return cost;
}

}  // namespace

CollectiveAnswer LonePredictor::predict(const CollectiveQuestion& question) {
  const std::vector<int> node_of_rank = nodes_of_ranks(cluster(), question.devices);
  LoneOperation operation;
  operation.devices = question.devices;
  operation.arrivals = question.arrivals;
  operation.communication_sms = question.communication_sms.value_or(0);
  CollectiveAnswer answer;
  if (question.operation == "all-to-all") {
    check_pairs(question.devices.size());
    const ExchangeAlgorithm& algorithm = find_exchange_algorithm(question.algorithm);
    const StartupCost cost =
        all_to_all_cost(cluster(), question, algorithm, node_count(node_of_rank));
    const CopyCounts copies = equal_shares(question.bytes, node_of_rank);
    Exchange exchange;
    exchange.copies = &copies;
    exchange.ranks = question.devices;
    exchange.node_of_rank = node_of_rank;
    exchange.bytes_per_copy = Bytes(1);
    exchange.tensor_parallel = question.tensor_parallel;
    operation.make_body = [&](ClusterNetwork& network, const TrafficSink& sink,
                              CollectiveBody& body) {
      body.start = algorithm.start;
      algorithm.make(exchange, cost, network, sink, body);
    };
    answer.run = network_.run(operation);
    answer.label = cost.label;
    answer.source = cost.source;
    return answer;
  }
  const CollectiveAlgorithm& algorithm =
      find_collective_algorithm(question.operation, question.algorithm);
  const CollectiveConstants* constants = nullptr;
  operation.make_body = [&](ClusterNetwork& network, const TrafficSink& sink,
                            CollectiveBody& body) {
    constants =
        algorithm.make({question.operation, question.devices, question.bytes}, network, sink, body);
  };
  answer.run = network_.run(operation);
  answer.label = constants == nullptr ? "assumed" : constants->label;
  answer.source = constants == nullptr ? assumed_startup().source : constants->source;
  return answer;
}

}  // namespace sim
