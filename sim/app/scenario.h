// One scenario as a value: everything a run needs, read from YAML and checked.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "models/device.h"
#include "models/moe_model.h"
#include "sim/app/catalog.h"
#include "sim/app/scenario_kernels.h"
#include "sim/app/scenario_network.h"
#include "sim/input/yaml_reader.h"
#include "sim/policies/disturbances/device_disturbance.h"
#include "sim/policies/disturbances/link_disturbance.h"
#include "sim/policies/placement/placement.h"
#include "sim/workloads/inference.h"
#include "sim/workloads/training_plan.h"
#include "topologies/cluster.h"
#include "traces/gating/overflow.h"
#include "traces/replay.h"
#include "traces/synthetic/synthetic.h"
#include "traces/synthetic/workloads.h"

namespace sim {

enum class WorkloadKind { kLayer, kPrefill, kDecode, kTraining };

struct RoutingChoice {
  std::string trace;  // path; empty: synthetic, or a named workload
  ReplayRule rule = ReplayRule::kAuto;
  AdaptRule adapt = AdaptRule::kNone;
  std::string tag;
  SyntheticSpec synthetic;
  std::optional<WorkloadSpec> workload;  // instead of `synthetic`
  std::optional<CapacityRule> capacity;  // absent: dropless
};

// Whose loads a placement is made for: `steps` steps before the run, none (uniform), or the run's
// own steps (oracle).
enum class EstimateFrom { kStepsBefore, kUniform, kOracle };

struct PlacementChoice {
  const PlacementPolicy* policy = nullptr;
  int redundant_experts = 0;
  const ReplicaSplit* split = nullptr;
  EstimateFrom from = EstimateFrom::kStepsBefore;
  int steps = 0;

  bool needs_load() const;  // whether the loads make a difference
};

struct Scenario {
  std::string name;
  std::string file;
  std::string text;      // as run, with --set applied
  Place workload_place;  // what a mistake of size points at
  std::uint64_t seed = 0;
  MoeModel model;
  Cluster cluster;
  std::map<std::string, Device> device_types;
  ParallelLayout layout;
  WorkloadKind kind = WorkloadKind::kDecode;
  InferenceWorkload workload;
  // Of kTraining; `workload` then says what a rank runs in one micro-batch.
  std::optional<TrainingWorkload> training;
  std::string pipeline;  // its schedule by name
  ModelPart part;
  RoutingChoice routing;
  PlacementChoice placement;
  const ExchangeAlgorithm* exchange = nullptr;
  DType dispatch_dtype = DType::kBf16;
  DType combine_dtype = DType::kBf16;
  int communication_sms = 0;
  bool receive_hook = true;
  NetworkChoice network;
  KernelChoice kernels;
  HostSpec host;
  Overlap overlap = Overlap::kNone;
  SizeExchange size_exchange = SizeExchange::kNone;
  Bytes framework_reserve;
  bool run_without_fit = false;  // a memory that does not fit is a warning
  std::vector<LinkDisturbance> disturbances;
  std::vector<DeviceDisturbance> device_disturbances;
  std::vector<std::string> warnings;  // keys without effect in this run
  std::set<std::string> asked_keys;   // every key that this kind of scenario may have
  std::vector<ReadKey> keys;          // every key read, with its value or default

  int steps() const { return training ? training->steps : workload.steps; }
  // Steps that the routing source is asked for: of training, micro-batches.
  std::int64_t routing_steps() const {
    return training ? std::int64_t{training->steps} * training->micro_batches : workload.steps;
  }
  RoutingShape routing_shape() const;  // experts of each routed block that runs, and top-k
};

struct ScenarioOverrides {
  std::vector<std::string> assignments;  // "key=value", in order
  std::optional<std::string> seed;       // as typed after --seed
};

// Throws Error with every mistake found.
Scenario read_scenario(const std::string& file, const ScenarioOverrides& overrides,
                       const Catalog& catalog);

}  // namespace sim
