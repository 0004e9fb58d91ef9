// Who sent how much to whom, by what it was for: the `traffic` table.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "analysis/records.h"
#include "sim/workloads/kinds.h"

namespace sim {

class TrafficTable {
 public:
  // `per_pair`: false keeps what each device sends and receives in all, for as many devices as fit;
  // payload from whom to whom is then not known.
  TrafficTable(int devices, int layers, bool per_pair);

  void add(int layer, TaskKind kind, DeviceId source, DeviceId destination, Bytes bytes);
  // Of one device, to and from all others. REQUIRES: not per pair.
  void add_port(TaskKind kind, DeviceId device, Bytes sent, Bytes received);
  // -1: all layers, or none; an invalid device: all others.
  std::vector<TrafficRecord> records() const;

  // A matrix per layer up to this many cells in all, else one for all layers.
  static constexpr std::int64_t kMostCells = 2'000'000;

 private:
  enum Phase { kDispatch, kCombine, kTensor, kContext, kPipeline, kGradients, kPhases };
  static constexpr std::array<std::string_view, kPhases> kNames = {
      "dispatch", "combine", "tensor_parallel", "context_parallel", "pipeline", "gradients"};
  static Phase phase_of(TaskKind kind);
  struct Port {
    std::int64_t sent = 0;
    std::int64_t received = 0;
  };

  std::size_t devices_;
  std::size_t layers_;
  bool per_pair_;
  bool per_layer_;
  std::array<std::vector<std::int64_t>, kPhases> sent_;  // empty: nothing yet
  std::array<std::vector<Port>, kPhases> ports_;         // likewise
};

}  // namespace sim
