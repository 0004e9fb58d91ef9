#include "sim/app/traffic_table.h"

#include <algorithm>

namespace sim {

TrafficTable::TrafficTable(int devices, int layers, bool per_pair)
    : devices_(static_cast<std::size_t>(devices)),
      layers_(static_cast<std::size_t>(layers)),
      per_pair_(per_pair),
      per_layer_(static_cast<std::int64_t>(devices) * devices * layers <= kMostCells) {}

TrafficTable::Phase TrafficTable::phase_of(TaskKind kind) {
  switch (kind) {
    case TaskKind::kDispatch:
      return kDispatch;
    case TaskKind::kCombine:
      return kCombine;
    case TaskKind::kContextExchange:
      return kContext;
    case TaskKind::kPipelineSend:
      return kPipeline;
    case TaskKind::kGradientReduction:
    case TaskKind::kParameterGather:
      return kGradients;
    default:
      return kTensor;
  }
}

void TrafficTable::add(int layer, TaskKind kind, DeviceId source, DeviceId destination,
                       Bytes bytes) {
  if (!per_pair_) {
    if (source == destination) return;
    add_port(kind, source, bytes, Bytes(0));
    add_port(kind, destination, Bytes(0), bytes);
    return;
  }
  std::vector<std::int64_t>& matrix = sent_[phase_of(kind)];
  if (matrix.empty()) matrix.assign(devices_ * devices_ * (per_layer_ ? layers_ + 1 : 1), 0);
  const std::size_t at = per_layer_ ? static_cast<std::size_t>(std::max(-1, layer) + 1) : 0;
  matrix[(at * devices_ + source.index()) * devices_ + destination.index()] += bytes.count();
}

void TrafficTable::add_port(TaskKind kind, DeviceId device, Bytes sent, Bytes received) {
  std::vector<Port>& ports = ports_[phase_of(kind)];
  if (ports.empty()) ports.resize(devices_);
  ports[device.index()].sent += sent.count();
  ports[device.index()].received += received.count();
}

std::vector<TrafficRecord> TrafficTable::records() const {
  std::vector<TrafficRecord> result;
  for (std::size_t phase = 0; phase < kPhases; ++phase) {
    const std::string name(kNames[phase]);
    for (std::size_t d = 0; d < ports_[phase].size(); ++d) {
      const Port& port = ports_[phase][d];
      const DeviceId device(static_cast<std::int64_t>(d));
      if (port.sent > 0) result.push_back({-1, device, DeviceId(), name, Bytes(port.sent)});
      if (port.received > 0) result.push_back({-1, DeviceId(), device, name, Bytes(port.received)});
    }
    const std::vector<std::int64_t>& matrix = sent_[phase];
    for (std::size_t i = 0; i < matrix.size(); ++i) {
      if (matrix[i] == 0) continue;
      const int layer = per_layer_ ? static_cast<int>(i / (devices_ * devices_)) - 1 : -1;
      result.push_back({layer, DeviceId(static_cast<std::int64_t>(i / devices_ % devices_)),
                        DeviceId(static_cast<std::int64_t>(i % devices_)), name, Bytes(matrix[i])});
    }
  }
  return result;
}

}  // namespace sim
