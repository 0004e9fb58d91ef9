#include "sim/app/simulation.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <optional>
#include <utility>

#include "analysis/result_store.h"
#include "models/model_flops.h"
#include "sim/app/balanced_routing.h"
#include "sim/app/kernel_labels.h"
#include "sim/app/link_sampler.h"
#include "sim/app/observer_pair.h"
#include "sim/app/run_setup.h"
#include "sim/app/wall_clock.h"
#include "sim/core/error.h"
#include "sim/policies/collectives/ports_levels.h"
#include "sim/policies/disturbances/device_disturbances.h"
#include "sim/policies/disturbances/link_disturbances.h"
#include "sim/workloads/training.h"
#include "topologies/routes.h"
#include "traces/statistics.h"

namespace sim {
namespace {

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::int64_t peak_resident() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

// The costs table: kernels from the ledger, communication by the label of its constants, gaps as
// assumed.
std::vector<CostRecord> cost_records(const CostLedger& ledger, const Recorder& recorder,
                                     const StepSetup& setup, double& out_of_range_share) {
  std::vector<CostRecord> records;
  Duration all{0};
  Duration outside{0};
  for (const CostLedger::Line& line : ledger.lines()) {
    all += line.total;
    if (!line.in_range) outside += line.total;
    records.push_back({line.kernel, line.device, std::string(to_text(line.label)), line.source,
                       line.total, line.in_range});
  }
  const std::string device = setup.devices.front()->name;
  const auto add = [&](const char* kernel, Duration time, const std::string& label,
                       const std::string& source) {
    if (time == Duration(0)) return;
    records.push_back({kernel, device, label, source, time, true});
    all += time;
  };
  add("dispatch", recorder.communication_time(TaskKind::kDispatch), setup.dispatch_cost.label,
      setup.dispatch_cost.source);
  add("combine", recorder.communication_time(TaskKind::kCombine), setup.combine_cost.label,
      setup.combine_cost.source);
  constexpr std::pair<TaskKind, const char*> kCollectives[] = {
      {TaskKind::kAllGather, "all-gather"},
      {TaskKind::kReduceScatter, "reduce-scatter"},
      {TaskKind::kContextExchange, "context-exchange"},
      {TaskKind::kPipelineSend, "pipeline-send"},
      {TaskKind::kGradientReduction, "gradient-reduction"},
      {TaskKind::kParameterGather, "parameter-gather"}};
  for (const auto& [kind, name] : kCollectives) {
    const auto found = ledger.collectives().find(static_cast<std::int16_t>(kind));
    if (found == ledger.collectives().end()) continue;
    std::string label;
    std::string sources;
    for (const auto& [source, each] : found->second) {
      sources += (sources.empty() ? "" : "; ") + source;
      label = label.empty() || label == each ? each : "assumed";
    }
    add(name, recorder.communication_time(kind), label, sources);
  }
  add("launch", recorder.launch_time(), "assumed",
      "host: gaps between kernels and the start of a step");
  std::stable_sort(records.begin(), records.end(), [](const CostRecord& a, const CostRecord& b) {
    return a.duration > b.duration;
  });
  out_of_range_share = all > Duration(0) ? to_seconds(outside) / to_seconds(all) : 0;
  return records;
}

void add_warnings(const Scenario& scenario, const RoutingSource* routing, const StepSetup& setup,
                  Time end, RunOutcome& outcome) {
  outcome.warnings = scenario.warnings;
  for (std::size_t r = 0; r < outcome.memory.size(); ++r) {
    const Bytes held = total(outcome.memory[r]);
    if (held <= setup.devices[r]->memory_capacity) continue;
    outcome.warnings.push_back("the memory does not fit: gpu " + std::to_string(r) + " needs " +
                               format_bytes(held) + " of its " +
                               format_bytes(setup.devices[r]->memory_capacity));
    break;
  }
  const std::int64_t grown = scenario.training ? 0 : scenario.workload.steps - 1;
  const double longest = static_cast<double>(scenario.workload.length.most + grown);
  if (scenario.model.max_context > 0 && longest > static_cast<double>(scenario.model.max_context)) {
    outcome.warnings.push_back(
        "contexts reach " + std::to_string(static_cast<std::int64_t>(longest)) +
        " tokens; the model was made for " + std::to_string(scenario.model.max_context));
  }
  for (const LinkDisturbance& disturbance : scenario.disturbances) {
    if (disturbance.begin() < end) continue;
    outcome.warnings.push_back("a disturbance had no effect, the run ended at " +
                               format_duration(end.time_since_epoch()) + ": " + disturbance.text());
  }
  for (const DeviceDisturbance& disturbance : scenario.device_disturbances) {
    if (disturbance.begin() < end) continue;
    outcome.warnings.push_back("a disturbance had no effect, the run ended at " +
                               format_duration(end.time_since_epoch()) + ": " + disturbance.text());
  }
  const RoutingChoice& choice = scenario.routing;
  if (!choice.trace.empty() &&
      (choice.rule == ReplayRule::kAuto || choice.rule == ReplayRule::kRecorded)) {
    const TraceInfo info = read_info(choice.trace);
    const std::int64_t used = scenario.workload.routing_step_offset + scenario.routing_steps();
    const std::int64_t recorded = info.last_step.value_or(0) - info.first_step.value_or(0) + 1;
    if (info.header.has_steps && used > recorded) {
      outcome.warnings.push_back("the trace has " + std::to_string(recorded) +
                                 " steps and this run uses " + std::to_string(used) +
                                 " (the estimate's included): steps come again, and a placement "
                                 "sees steps that it is run on; "
                                 "see placement.estimate");
    }
  }
  if (routing != nullptr) {
    outcome.routing_description = routing->description();
    outcome.reuse = routing->reuse();
    for (const std::string& warning : routing->warnings()) outcome.warnings.push_back(warning);
  }
  if (setup.dispatch_cost.source == assumed_startup().source && routing != nullptr) {
    outcome.warnings.push_back("the cluster has no constants for '" +
                               std::string(setup.exchange->name) +
                               "': line rate and link latency are used");
  }
}

// "gpu 3, h100-sxm of node 0", with several pipeline stages ", stage 1" too.
std::vector<std::string> device_names(const Scenario& scenario) {
  std::vector<std::string> names;
  for (int r = 0; r < scenario.layout.world; ++r) {
    const ClusterDevice& device = scenario.cluster.devices[static_cast<std::size_t>(r)];
    names.push_back("gpu " + std::to_string(r) + ", " + device.device_type + " of node " +
                    std::to_string(device.node.value()));
    if (scenario.layout.pp > 1)
      names.back() += ", stage " + std::to_string(scenario.layout.stage(r));
  }
  return names;
}

std::vector<int> nodes_of(const Cluster& cluster) {
  std::vector<int> nodes;
  for (const ClusterDevice& device : cluster.devices) nodes.push_back(device.node.value());
  return nodes;
}

class Simulation {
 public:
  Simulation(const Scenario& scenario, const RunOptions& options)
      : scenario_(scenario),
        options_(options),
        costs_(options.removed == Counterfactual::kStartup
                   ? without_fixed_part(make_costs(scenario))
                   : make_costs(scenario)),
        setup_(make_setup(scenario, *costs_, *scenario.exchange)),
        routes_(scenario.cluster),
        recorder_(scenario.layout.world, scenario.layout.stage_ranks(),
                  static_cast<int>(scenario.model.layers.size()),
                  scenario.network.fidelity == Fidelity::kFlows),
        labels_(ledger_, setup_),
        timeline_(make_timeline()),
        observers_(recorder_, timeline_ ? static_cast<Observer&>(*timeline_) : no_timeline_),
        graph_(loop_, timeline_ ? static_cast<Observer&>(observers_) : recorder_,
               {id_of(Cause::kNetwork), id_of(Cause::kCongestion), id_of(Cause::kStartup),
                id_of(Cause::kLaunch), id_of(Cause::kSlowDevice), id_of(Cause::kJitter)}),
        network_(scenario.cluster, routes_, graph_.network(), memory_bandwidths(setup_)),
        disturbances_(scenario.disturbances, loop_, network_, scenario.seed) {
    if (scenario.network.fidelity == Fidelity::kPorts) add_ports();
    remove_cause();
    if (options.follow_path) graph_.set_path_log(&path_log_);
    if (timeline_ != nullptr) {
      graph_.count_bytes();
      setup_.memory_changes = [this](const MemoryChange& change) { timeline_->on_memory(change); };
      links_ =
          std::make_unique<LinkSampler>(loop_, network_, port_network_ ? &*port_network_ : nullptr);
    }
    if (scenario.device_disturbances.empty()) return;
    device_disturbances_.emplace(scenario.device_disturbances, scenario.cluster.devices.size(),
                                 scenario.seed);
    graph_.set_speeds(&*device_disturbances_);
  }

  RunOutcome run();

 private:
  static std::vector<Bandwidth> memory_bandwidths(const StepSetup& setup) {
    std::vector<Bandwidth> result;
    for (const Device* device : setup.devices) result.push_back(device->memory_bandwidth);
    return result;
  }
  std::unique_ptr<TimelineRecorder> make_timeline();
  void add_ports();
  void add_training_metrics(RunOutcome& outcome) const;
  void remove_cause();
  void tell_step(const StepBatch& batch);
  std::int64_t begin_store();
  void finish_store(const RunOutcome& outcome);

  const Scenario& scenario_;
  const RunOptions& options_;
  std::unique_ptr<CostModel> costs_;
  StepSetup setup_;
  Routes routes_;
  EventLoop loop_;
  Recorder recorder_;
  CostLedger ledger_;
  KernelLabels labels_;
  std::unique_ptr<TimelineRecorder> timeline_;  // null without one, as links_
  Observer no_timeline_;
  ObserverPair observers_;
  PathLog path_log_;
  TaskGraph graph_;
  ClusterNetwork network_;
  LinkDisturbances disturbances_;
  std::optional<DeviceDisturbances> device_disturbances_;
  std::optional<PortLevels> levels_;  // ports only, as the next two
  std::optional<PortNetwork> port_network_;
  std::optional<PortLowering> port_lowering_;
  std::unique_ptr<LinkSampler> links_;
  std::optional<ResultStore> store_;
};

std::unique_ptr<TimelineRecorder> Simulation::make_timeline() {
  if (!options_.timeline) return nullptr;
  return std::make_unique<TimelineRecorder>(
      *options_.timeline, device_names(scenario_),
      [this](const TaskTag& tag, DeviceId device) { return labels_.of(tag, device); });
}

void Simulation::add_ports() {
  std::string reason;
  levels_ = find_port_levels(scenario_.cluster, reason);
  SIM_CHECK(levels_.has_value(), "a scenario with ports has levels: " + reason);
  port_network_.emplace(*levels_, network_, graph_.network());
  port_lowering_.emplace(PortLowering{
      *port_network_, [this](int, TaskKind kind, DeviceId device, Bytes sent, Bytes received) {
        recorder_.traffic().add_port(kind, device, sent, received);
      }});
  setup_.ports = &*port_lowering_;
}

// MFU: model flops (models/model_flops.h) of the tokens over what the devices could multiply in the
// format of the experts' products, or of the dense FFN where there are none.
void Simulation::add_training_metrics(RunOutcome& outcome) const {
  const double flops = model_flops_per_token(scenario_.model, scenario_.training->sequence_length);
  const double per_gpu = flops * outcome.metric("tokens_per_s_per_gpu");
  const ModelFormats& formats = scenario_.model.formats;
  const DType dtype = routed_blocks(scenario_.model).empty() ? formats.dense.multiplied
                                                             : formats.experts.multiplied;
  double peak = 0;
  for (const Device* device : setup_.devices) peak += peak_rate(*device, dtype).count();
  peak /= static_cast<double>(setup_.devices.size());
  const double steps = to_seconds(recorder_.totals().steps);
  // Waiting for other stages, and for the last of them to end.
  const std::vector<Duration>& waits = recorder_.totals().wait;
  const double bubble =
      to_seconds(waits.back() + waits[static_cast<std::size_t>(WaitCause::kIdleEnd)]);
  outcome.metrics.push_back({"model_flops_per_s_per_gpu", per_gpu, "flop/s"});
  outcome.metrics.push_back({"mfu", per_gpu / peak, ""});
  outcome.metrics.push_back({"pipeline_bubble_fraction", steps > 0 ? bubble / steps : 0, ""});
}

// What of a counterfactual lies in the run, not in the scenario (counterfactual.h).
void Simulation::remove_cause() {
  const Counterfactual removed = options_.removed;
  setup_.communication_waits = removed != Counterfactual::kPerfectOverlap;
  setup_.collectives_have_startup = removed != Counterfactual::kStartup;
  if (removed != Counterfactual::kNetwork) return;
  FluidNetwork& fluid = graph_.network();
  for (int d = 0; d < scenario_.layout.world; ++d) {
    for (const ResourceId own : {network_.copy(DeviceId(d)), network_.memory(DeviceId(d))})
      fluid.set_capacity(own, Bandwidth(fluid.capacity(own).count() * kInfiniteNetwork));
  }
}

void Simulation::tell_step(const StepBatch& batch) {
  if (!options_.on_step) return;
  const std::vector<PathSegment> path = critical_path(path_log_, path_log_.last());
  const std::function<std::string(ResourceId)> name = [this](ResourceId resource) {
    std::string text = network_.name_of(resource);
    if (!text.empty() || !port_network_) return text;
    for (const PortNetwork::Cut& cut : port_network_->cuts()) {
      if (cut.resource == resource) text = cut.name;
    }
    return text;
  };
  options_.on_step({batch, path, setup_.placements, name});
}

std::int64_t Simulation::begin_store() {
  if (options_.results.empty()) return 0;
  store_.emplace(options_.results);
  static constexpr const char* kKinds[] = {"layer", "prefill", "decode", "training"};
  RunRecord record;
  record.name = scenario_.name;
  record.kind = kKinds[static_cast<int>(scenario_.kind)];
  record.model = scenario_.model.name;
  record.cluster = scenario_.cluster.name;
  record.devices = scenario_.layout.world;
  record.scenario = scenario_.text;
  record.seed = scenario_.seed;
  record.version = kVersion;
  record.started_at = utc_now();
  return store_->begin_run(record);
}

void Simulation::finish_store(const RunOutcome& outcome) {
  if (!store_) return;
  RunResult result;
  result.fingerprint = outcome.fingerprint;
  result.wall_s = outcome.effort.wall_s;
  result.metrics = outcome.metrics;
  result.traffic = recorder_.traffic().records();
  result.costs = outcome.costs;
  for (std::size_t r = 0; r < outcome.memory.size(); ++r) {
    for (const MemoryItem& item : outcome.memory[r]) {
      result.memory.push_back({DeviceId(static_cast<std::int64_t>(r)), item.name, item.bytes});
    }
  }
  result.failed = outcome.failure.has_value();
  store_->finish_run(result);
}

RunOutcome Simulation::run() {
  const auto wall = std::chrono::steady_clock::now();
  const double cpu = cpu_seconds();
  RunOutcome outcome;
  const std::unique_ptr<RoutingSource> routing = make_routing(scenario_, {});
  outcome.memory = check_memory(scenario_);
  setup_.placements = make_placements(scenario_);
  std::vector<Bytes> peak;
  for (const std::vector<MemoryItem>& items : outcome.memory) peak.push_back(total(items));
  outcome.run_id = begin_store();
  const auto traffic = [this](int layer, TaskKind kind, DeviceId from, DeviceId to, Bytes bytes) {
    recorder_.traffic().add(layer, kind, from, to, bytes);
    network_.count_payload(from, to, static_cast<double>(bytes.count()));
  };
  CapacityFactors factors;
  int steps_ended = 0;
  Time step_begin;
  const auto on_step = [&](const StepResult& result) {
    ++steps_ended;
    step_begin = result.end;
    for (const RoutedBlockFacts& block : result.facts.blocks) factors.add(block.capacity);
    StepBatch batch = recorder_.take_step(result, network_, disturbances_,
                                          port_network_ ? &*port_network_ : nullptr, peak);
    if (timeline_ != nullptr) batch.spans = timeline_->take_step(result.step, result.end, *links_);
    if (result.step + 1 == scenario_.steps()) disturbances_.stop();
    if (store_) store_->add(batch);
    tell_step(batch);
    if (options_.progress) options_.progress(result.step + 1, scenario_.steps());
  };
  NoRouting none;
  std::optional<BalancedRouting> balanced;
  if (routing && options_.removed == Counterfactual::kBalance)
    balanced.emplace(*routing, setup_.placements, scenario_.layout, nodes_of(scenario_.cluster));
  RoutingSource& source = balanced ? *balanced : routing ? *routing : none;
  if (scenario_.training) {
    TrainingRun(*scenario_.training, setup_, loop_, graph_, network_, source, ledger_, traffic,
                on_step)
        .run();
  } else {
    InferenceRun(scenario_.workload, setup_, loop_, graph_, network_, source, ledger_, traffic,
                 on_step)
        .run();
  }
  outcome.fingerprint = recorder_.fingerprint();
  if (steps_ended > 0) outcome.metrics = recorder_.metrics();
  if (steps_ended < scenario_.steps()) {
    disturbances_.stop();
    const TaskGraph::StoppedDevice stopped = *graph_.stopped_device();
    outcome.failure = {stopped, device_disturbances_->timeout(stopped.device), steps_ended,
                       step_begin, scenario_.layout.world};
    for (MetricRecord& metric : failure_metrics(*outcome.failure))
      outcome.metrics.push_back(std::move(metric));
  }
  const std::optional<CapacityRule>& capacity = scenario_.routing.capacity;
  if (steps_ended > 0 && capacity && capacity->kind == CapacityKind::kAdaptive) {
    outcome.metrics.push_back({"capacity_factor_mean", factors.mean(), ""});
    outcome.metrics.push_back({"capacity_factor_max", factors.most, ""});
  }
  if (steps_ended > 0 && scenario_.training) add_training_metrics(outcome);
  outcome.totals = recorder_.totals();
  outcome.costs = cost_records(ledger_, recorder_, setup_, outcome.out_of_range_share);
  add_warnings(scenario_, routing.get(), setup_, loop_.now(), outcome);
  for (const ExpertPlacement& placement : setup_.placements) {
    outcome.empty_slots = std::max(outcome.empty_slots, placement.empty_slots());
    outcome.wasted_copies = std::max(outcome.wasted_copies, placement.wasted_copies());
  }
  outcome.effort = {loop_.events_run(),
                    graph_.tasks_run(),
                    graph_.network().transfers_started(),
                    graph_.network().level_changes(),
                    cpu_seconds() - cpu,
                    std::chrono::duration<double>(std::chrono::steady_clock::now() - wall).count(),
                    peak_resident()};
  if (timeline_ != nullptr) outcome.timeline = timeline_->finish();
  finish_store(outcome);
  return outcome;
}

}  // namespace

double RunOutcome::metric(std::string_view name) const {
  for (const MetricRecord& record : metrics) {
    if (record.name == name) return record.value;
  }
  SIM_CHECK(false, "a metric of that name exists: " + std::string(name));
}

RunOutcome run_scenario(const Scenario& scenario, const RunOptions& options) {
  if (options.removed == Counterfactual::kNone) return Simulation(scenario, options).run();
  const Scenario changed = without(options.removed, scenario);
  return Simulation(changed, options).run();
}

}  // namespace sim
