// What one step is made of, before it becomes tasks: the values that a workload is given
// once, and those of a step.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/cost_model.h"
#include "models/device.h"
#include "models/moe_model.h"
#include "models/operators.h"
#include "sim/policies/collectives/cluster_network.h"
#include "sim/policies/collectives/exchange.h"
#include "sim/policies/collectives/ports_body.h"
#include "sim/policies/placement/placement.h"
#include "sim/policies/placement/replica_split.h"
#include "sim/workloads/kinds.h"
#include "sim/workloads/parallel.h"
#include "topologies/cluster.h"
#include "traces/routing.h"

namespace sim {

// How kernels reach the device.
enum class LaunchMode { kGraph, kEager };

struct HostSpec {
  LaunchMode launch = LaunchMode::kGraph;
  Duration gap{};         // between two kernels of one stream
  Duration per_launch{};  // eager: the host's time per kernel
  Duration per_step{};    // the host's time before the first kernel of a step
  Duration per_sync{};    // from a kernel's end until the host has read what it wrote and goes on
};

// How a dropless dispatch learns how many rows will come: not at all (a capacity, or the
// algorithm's own kernels tell), by an all-gather of every rank's rows per expert, or by that and
// the host reading it before it launches the dispatch (Megatron-Core's all-to-all dispatcher).
enum class SizeExchange { kNone, kDevice, kHost };

// What may run beside dispatch and combine.
enum class Overlap { kNone, kSharedExperts };

// Which part of the model a step runs.
struct ModelPart {
  int first_layer = 0;
  int end_layer = 0;
  bool only_routed_blocks = false;  // of these layers: `parts: moe`
  bool ends = true;                 // embedding, LM head and sampling too
};

// Runs dispatch and combine at port granularity.
struct PortLowering {
  PortNetwork& network;
  // What a rank sends to and receives from all others in one exchange.
  std::function<void(int layer, TaskKind kind, DeviceId device, Bytes sent, Bytes received)>
      traffic;
};

struct StepSetup {
  const MoeModel& model;
  const Cluster& cluster;
  std::vector<const Device*> devices;  // per rank
  const CostModel& costs;
  ParallelLayout layout;
  ModelPart part;
  const ExchangeAlgorithm* exchange = nullptr;
  StartupCost dispatch_cost;
  StartupCost combine_cost;
  int communication_sms = 0;
  // Without it an exchange that could return before it has received holds its SMs until then.
  bool receive_hook = true;
  DType dispatch_dtype = DType::kBf16;
  DType combine_dtype = DType::kBf16;
  HostSpec host;
  Overlap overlap = Overlap::kNone;
  SizeExchange size_exchange = SizeExchange::kNone;
  const ReplicaSplit* split = nullptr;
  std::vector<ExpertPlacement> placements;  // per routed block, of one EP group
  const PortLowering* ports = nullptr;      // null: a transfer per pair of ranks
  // Told of training's memory as it grows and shrinks, when somebody draws it; else empty.
  std::function<void(const MemoryChange&)> memory_changes = {};
  Bytes framework_reserve{};  // of that memory
  // Kernels of a rank that follow one another are one task: what they hold (SMs) stays held between
  // them. For training, whose tasks are many.
  bool chain_kernels = false;
  // False, of a counterfactual: no kernel waits for communication, which holds no SM; the step ends
  // when both have ended.
  bool communication_waits = true;
  // False (a counterfactual): collectives start without serial work of their own.
  bool collectives_have_startup = true;
};

// What a rank holds in a step: one entry per sequence.
struct RankSequences {
  std::vector<std::int64_t> new_tokens;  // decode 1 each, prefill the prompt's tokens
  std::vector<std::int64_t> context;     // tokens attended to, the new ones included
};

// The batch of a TP group: its ranks' sequences together.
TokenBatch batch_of(Phase phase, const std::vector<RankSequences>& ranks, int first, int count);

}  // namespace sim
