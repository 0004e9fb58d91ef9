#include "sim/policies/collectives/exchange.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "sim/core/error.h"
#include "sim/input/suggestion.h"
#include "sim/policies/collectives/exchange_legs.h"

namespace sim {
namespace {

double power(double base, double exponent) {
  return exponent == 0 ? 1.0 : std::pow(base, exponent);
}

}  // namespace

const ExchangeAlgorithm& find_exchange_algorithm(std::string_view name) {
  std::vector<std::string> names;
  for (const ExchangeAlgorithm& algorithm : kExchangeAlgorithms) {
    if (algorithm.name == name) return algorithm;
    names.emplace_back(algorithm.name);
  }
  throw Error("there is no dispatch algorithm '" + std::string(name) + "'", suggest(name, names));
}

void ExchangeAlgorithm::make(const Exchange& exchange, const StartupCost& cost,
                             ClusterNetwork& network, const TrafficSink& sink,
                             CollectiveBody& body) const {
  PairLegs legs(exchange, cost, network, sink, body);
  speak(exchange, cost, legs);
}

ExchangeCosts exchange_costs(const Cluster& cluster, const ExchangeAlgorithm& algorithm, int nodes,
                             std::string_view library) {
  if (const AlgorithmConstants* own = find_constants(cluster, algorithm.name, nodes, library))
    return {own->dispatch, own->combine};
  if (const AlgorithmConstants* parts =
          find_constants(cluster, algorithm.built_of, nodes, library)) {
    ExchangeCosts costs{parts->dispatch, parts->combine};
    for (StartupCost* cost : {&costs.dispatch, &costs.combine}) {
      cost->source =
          "those of " + std::string(algorithm.built_of) + " (" + cost->label + "): " + cost->source;
      cost->label = "assumed";
    }
    return costs;
  }
  return {assumed_startup(), assumed_startup()};
}

Bytes bytes_per_copy(const ExchangeAlgorithm& algorithm, Direction direction, std::int64_t hidden,
                     DType dtype) {
  const std::int64_t values =
      static_cast<std::int64_t>(std::ceil(static_cast<double>(hidden) * bytes_per_value(dtype)));
  const std::int64_t scales = dtype == DType::kFp8 ? (hidden + 127) / 128 * 4 : 0;
  const std::int64_t header = direction == Direction::kDispatch ? algorithm.header_bytes : 0;
  return Bytes(values + scales + header);
}

Bytes buffer_bytes(const ExchangeAlgorithm& algorithm, int experts, int ranks, std::int64_t tokens,
                   int top_k, std::int64_t hidden, std::int64_t slots_per_rank) {
  const std::int64_t message =
      2 * hidden + 16;  // a bf16 row and a header: the larger of dispatch and combine
  if (algorithm.name.starts_with("deepep-low-latency"))
    return Bytes(2 * message * tokens * (1 + experts));
  // Received rows when every token of every rank came here is the bound nobody allocates; the mean
  // twice over is.
  const std::int64_t copies =
      algorithm.buffers == "tokens of every rank"
          ? tokens * ranks
          : tokens *
                std::min<std::int64_t>(top_k, std::max<std::int64_t>(1, slots_per_rank * ranks)) *
                2;
  return Bytes(message * (copies + tokens));
}

const StartupCost& assumed_startup() {
  static const StartupCost kNone = [] {
    StartupCost cost;
    cost.source = "the cluster has no constants for this algorithm: line rate and link latency";
    return cost;
  }();
  return kNone;
}

Duration size_exchange_time(const StartupCost& cost, int nodes) {
  return duration_from_seconds(to_seconds(cost.notify) + to_seconds(cost.notify_per_doubling) *
                                                             std::log2(std::max(1, nodes)));
}

Duration startup_time(const StartupCost& cost, int ranks, int nodes, int experts, double messages,
                      double tokens, int sms) {
  double seconds = to_seconds(cost.base);
  if (nodes > 1)
    seconds += to_seconds(cost.multi_node) + to_seconds(cost.per_doubling) * std::log2(nodes);
  seconds +=
      to_seconds(cost.per_256_experts) * experts / 256.0 + to_seconds(cost.per_message) * messages;
  seconds *= power(ranks / 8.0, cost.world_exponent);
  if (cost.pipeline_fill > Duration(0) && sms > 0) {
    seconds += to_seconds(cost.pipeline_fill) * (1 - std::exp(-tokens / (4.0 * sms)));
  }
  seconds += to_seconds(cost.serial_per_token) * tokens;
  return duration_from_seconds(seconds);
}

}  // namespace sim
