// Steps of a tiny model on a small cluster, with everything the engine reports: for tests that work
// the times out by hand, and for properties.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/workloads/inference.h"
#include "sim/workloads/training.h"
#include "tests/policies/transfers.h"

namespace sim::testing {

// Microseconds per kernel by its name; a kernel that is not named takes no time.
class FixedCosts : public CostModel {
 public:
  std::map<std::string, double> once;       // per launch, on all SMs; on fewer in proportion longer
  std::map<std::string, double> per_token;  // times the rows of a GEMM
  double per_expert_row = 0;

  KernelCost cost(const Operator& op, const Device& device, int sms) const override {
    double us = 0;
    if (const auto at = once.find(op.name); at != once.end()) us += at->second;
    if (const auto at = per_token.find(op.name); at != per_token.end()) {
      us += at->second * static_cast<double>(op.m);
    }
    return made(us * device.sms / sms);
  }
  KernelCost cost(const ExpertFfn& ffn, const Device&, int) const override {
    double rows = 0;
    for (const std::int64_t r : ffn.rows) rows += static_cast<double>(r);
    return made(rows * per_expert_row);
  }

 private:
  static KernelCost made(double us) {
    KernelCost cost;
    cost.time = duration_from_seconds(us * 1e-6);
    cost.label = CostLabel::kAssumed;
    cost.source = "made up";
    return cost;
  }
};

// The same routing in every step: one LayerRouting per routed block.
class FixedRouting : public RoutingSource {
 public:
  explicit FixedRouting(std::vector<LayerRouting> layers) : layers_(std::move(layers)) {}
  void fill(int, int layer, LayerRouting& out) override {
    out = layers_[static_cast<std::size_t>(layer)];
  }
  int experts(int layer) const override { return layers_[static_cast<std::size_t>(layer)].experts; }
  int layers() const override { return static_cast<int>(layers_.size()); }
  ReuseReport reuse() const override { return {}; }
  std::string description() const override { return "fixed"; }
  std::vector<std::string> warnings() const override { return {}; }

 private:
  std::vector<LayerRouting> layers_;
};

// 128 values a token, `layers` layers of attention and a routed FFN with one shared expert.
inline MoeModel tiny_moe(int layers, int experts, int top_k) {
  MoeModel model;
  model.name = "tiny";
  model.source = "made up";
  model.hidden = 128;
  model.vocabulary = 64;
  model.max_context = 4096;
  AttentionBlock attention;
  attention.heads = 2;
  attention.kv_heads = 2;
  attention.head_dim = attention.value_dim = 64;
  FfnBlock ffn;
  ffn.routing = Routing{};
  ffn.routing->experts = experts;
  ffn.routing->top_k = top_k;
  ffn.expert_inter = 64;
  ffn.shared_experts = 1;
  ffn.shared_inter = 64;
  const Layer layer{Stack::kDecoder, {{attention, 1}, {ffn, 1}}};
  model.layers.assign(static_cast<std::size_t>(layers), layer);
  return model;
}

inline Device tiny_device() {
  Device device;
  device.name = "tiny";
  device.sms = 4;
  device.peak = {{DType::kBf16, FlopRate(1e15)}, {DType::kFp32, FlopRate(1e15)}};
  device.memory_bandwidth = Bandwidth(1e15);
  device.memory_capacity = Bytes(1LL << 40);
  return device;
}

struct TinyScenario {
  MoeModel model = tiny_moe(1, 4, 1);
  Cluster cluster;
  Device device = tiny_device();
  const CostModel* costs = nullptr;
  ParallelRequest parallel;
  std::string algorithm = "nvlink-one-sided";
  StartupCost startup;
  int communication_sms = 0;
  bool receive_hook = true;
  DType dispatch_dtype = DType::kBf16;
  HostSpec host;
  Overlap overlap = Overlap::kNone;
  Bandwidth copy_bandwidth{1e12};  // of a device's memory, for copies to itself
  std::vector<LayerRouting> routing;
  std::vector<ExpertPlacement> placements;  // empty: experts in order
  InferenceWorkload workload{Phase::kDecode, 1, {10, 10}, 1, 0, 1};
  std::optional<TrainingWorkload> training;  // instead
};

struct TinyResult : Observer {
  std::vector<StepResult> steps;
  std::vector<TaskSpan> tasks;
  std::vector<PartSpan> parts;
  std::vector<StreamWait> waits;
  std::map<std::pair<int, int>, std::int64_t> dispatched, combined;  // bytes by (from, to)
  std::vector<double> link_payload;                                  // per link, all steps
  std::map<TaskKind, std::int64_t> payload;                          // bytes of all legs
  // Of capacities, at every event that was told, and of critical paths that do not fill their step.
  std::vector<std::string> violations;
  EventLoop* loop = nullptr;
  FluidNetwork* network = nullptr;

  void on_task(const TaskSpan& span) override { tasks.push_back(span); }
  void on_part(const PartSpan& span) override {
    parts.push_back(span);
    // Rates are settled when everything of this moment has been added.
    loop->after(Duration(1), [this] {
      if (network->active() == 0) return;
      const std::string what = network->violation(1e-9);
      if (!what.empty()) violations.push_back(what);
    });
  }
  void on_wait(const StreamWait& wait) override { waits.push_back(wait); }

  Duration step_time(std::size_t step = 0) const { return steps[step].end - steps[step].start; }
  // Microseconds by cause along the critical path, what is zero left out.
  std::map<std::string, double> causes_us(std::size_t step = 0) const {
    std::map<std::string, double> result;
    for (std::size_t c = 0; c < kCauseNames.size(); ++c) {
      const std::int64_t ps = steps[step].causes[c];
      if (ps != 0) result[std::string(kCauseNames[c])] = static_cast<double>(ps) * 1e-6;
    }
    return result;
  }
  // "gpu1 waits 8 us for gpu0" in the order of events, of one device.
  std::vector<std::string> waits_of(int device) const {
    static constexpr const char* kNames[] = {"peer", "network", "launch", "other", "idle end"};
    std::vector<std::string> lines;
    for (const StreamWait& wait : waits) {
      if (wait.device != DeviceId(device)) continue;
      std::string line = fmt::format("{} {:g} us", kNames[static_cast<int>(wait.cause)],
                                     static_cast<double>(wait.duration.count()) * 1e-6);
      if (wait.waited_for.valid()) line += fmt::format(" for gpu{}", wait.waited_for.value());
      lines.push_back(std::move(line));
    }
    return lines;
  }
  Duration busy(int device) const { return compute_time(device, -1); }
  // Of one kind on the compute stream; -1: of all.
  Duration compute_time(int device, int kind) const {
    Duration sum{0};
    for (const TaskSpan& span : tasks) {
      if (span.stream == StreamKind::kCompute && span.device == DeviceId(device) &&
          (kind < 0 || span.tag.kind == kind)) {
        sum += span.end - span.start;
      }
    }
    return sum;
  }
  Duration waited(int device) const {
    Duration sum{0};
    for (const StreamWait& wait : waits) {
      if (wait.device == DeviceId(device)) sum += wait.duration;
    }
    return sum;
  }
};

inline std::unique_ptr<TinyResult> run_tiny(const TinyScenario& scenario) {
  auto result = std::make_unique<TinyResult>();
  const ParallelLayout layout = derive_layout(scenario.parallel, scenario.cluster.device_count());
  StepSetup setup{.model = scenario.model,
                  .cluster = scenario.cluster,
                  .devices = {},
                  .costs = *scenario.costs,
                  .layout = layout,
                  .part = {},
                  .dispatch_cost = scenario.startup,
                  .combine_cost = scenario.startup,
                  .host = scenario.host,
                  .placements = scenario.placements};
  setup.devices.assign(scenario.cluster.devices.size(), &scenario.device);
  setup.part = {0, static_cast<int>(scenario.model.layers.size()), false, true};
  setup.exchange = &find_exchange_algorithm(scenario.algorithm);
  setup.communication_sms = scenario.communication_sms;
  setup.receive_hook = scenario.receive_hook;
  setup.dispatch_dtype = scenario.dispatch_dtype;
  setup.overlap = scenario.overlap;
  setup.split = &find_replica_split("modulo");
  if (setup.placements.empty() && !scenario.routing.empty()) {
    const int experts = scenario.routing.front().experts;
    setup.placements.assign(scenario.routing.size(), in_order(layout.ep, experts / layout.ep));
  }
  EventLoop loop;
  TaskGraph graph(loop, *result,
                  {id_of(Cause::kNetwork), id_of(Cause::kCongestion), id_of(Cause::kStartup),
                   id_of(Cause::kLaunch)});
  PathLog log;
  graph.set_path_log(&log);
  result->loop = &loop;
  result->network = &graph.network();
  Routes routes(scenario.cluster);
  ClusterNetwork network(
      scenario.cluster, routes, graph.network(),
      std::vector<Bandwidth>(scenario.cluster.devices.size(), scenario.copy_bandwidth));
  FixedRouting routing(scenario.routing);
  CostLedger ledger;
  const auto traffic = [&](int, TaskKind kind, DeviceId from, DeviceId to, Bytes bytes) {
    network.count_payload(from, to, static_cast<double>(bytes.count()));
    result->payload[kind] += bytes.count();
    if (kind == TaskKind::kDispatch) {
      result->dispatched[{from.value(), to.value()}] += bytes.count();
    }
    if (kind == TaskKind::kCombine) result->combined[{from.value(), to.value()}] += bytes.count();
  };
  const auto on_step = [&](const StepResult& step) {
    result->steps.push_back(step);
    Time at = step.start;
    CauseVector causes{};
    for (const PathSegment& segment : critical_path(log, log.last())) {
      if (segment.since != at) result->violations.emplace_back("a hole in the critical path");
      at = segment.record.end;
      for (std::size_t c = 0; c < causes.size(); ++c) causes[c] += segment.own[c];
    }
    if (at != step.end || causes != step.causes)
      result->violations.emplace_back("the critical path is not the step's");
  };
  if (scenario.training) {
    TrainingRun(*scenario.training, setup, loop, graph, network, routing, ledger, traffic, on_step)
        .run();
  } else {
    InferenceRun(scenario.workload, setup, loop, graph, network, routing, ledger, traffic, on_step)
        .run();
  }
  result->link_payload = network.link_payload();
  result->loop = nullptr;
  result->network = nullptr;
  return result;
}

}  // namespace sim::testing
