#include "sim/policies/collectives/collective.h"

#include <algorithm>
#include <string>

#include "sim/core/error.h"
#include "sim/input/suggestion.h"
#include "sim/policies/collectives/collective_builder.h"

namespace sim {

const CollectiveConstants* CollectiveAlgorithm::make(const CollectiveCall& call,
                                                     ClusterNetwork& network,
                                                     const TrafficSink& sink,
                                                     CollectiveBody& body) const {
  SIM_CHECK(call.devices.size() > 1, "a collective has at least two ranks");
  SIM_CHECK(call.operation == operation, "the call is of this operation");
  CollectiveBuilder builder(call, name, network, sink, body);
  speak(builder);
  return builder.constants();
}

const CollectiveConstants* make_send(DeviceId from, DeviceId to, Bytes bytes,
                                     ClusterNetwork& network, const TrafficSink& sink,
                                     CollectiveBody& body) {
  const DeviceId devices[2] = {from, to};
  CollectiveCall call;
  call.operation = "send-receive";
  call.devices = devices;
  call.bytes = bytes;
  CollectiveBuilder builder(call, "nccl", network, sink, body);
  builder.start(1);
  builder.send(0, 1, builder.bytes());
  return builder.constants();
}

const CollectiveAlgorithm& find_collective_algorithm(std::string_view operation,
                                                     std::string_view name) {
  std::vector<std::string> operations;
  std::vector<std::string> names;
  for (const CollectiveAlgorithm& algorithm : kCollectives) {
    if (std::find(operations.begin(), operations.end(), algorithm.operation) == operations.end())
      operations.emplace_back(algorithm.operation);
    if (algorithm.operation != operation) continue;
    if (algorithm.name == name) return algorithm;
    names.emplace_back(algorithm.name);
  }
  if (names.empty()) {
    throw Error("there is no collective '" + std::string(operation) + "'",
                suggest(operation, operations));
  }
  throw Error("there is no algorithm '" + std::string(name) + "' for " + std::string(operation),
              suggest(name, names));
}

}  // namespace sim
