#include "sim/app/operations/operations_run.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <limits>
#include <optional>

#include "analysis/fingerprint.h"
#include "analysis/result_store.h"
#include "sim/app/simulation.h"
#include "sim/app/wall_clock.h"
#include "sim/workloads/kinds.h"

namespace sim {
namespace {

std::vector<CauseRecord> records_of(const CauseVector& causes) {
  std::vector<CauseRecord> records;
  for (std::size_t i = 0; i < kCauseNames.size(); ++i)
    if (causes[i] != 0) records.push_back({std::string(kCauseNames[i]), Duration(causes[i])});
  return records;
}

std::int64_t begin_run(ResultStore& store, const OperationsScenario& scenario) {
  RunRecord record;
  record.name = scenario.name;
  record.kind = "operations";
  record.model = "given operations";
  record.cluster = scenario.costs->name;
  record.devices = 1;
  record.scenario = scenario.text;
  record.version = kVersion;
  record.started_at = utc_now();
  return store.begin_run(record);
}

// Means over configurations; times of operations are of one layer, before they are cut into chunks.
class Metrics {
 public:
  void add(const LayerConfiguration& configuration, const ConfigurationOutcome& outcome,
           Duration compute);
  std::vector<MetricRecord> records(bool with_baseline) const;

 private:
  double count_ = 0;
  double total_s_ = 0, forward_s_ = 0, baseline_s_ = 0, exposed_ = 0;
  double forward_degree_ = 0, backward_degree_ = 0, differ_ = 0;
  double speedup_ = 0, least_ = std::numeric_limits<double>::max(), most_ = 0;
  std::array<double, kLayerOperationNames.size()> pass_s_[2] = {};
};

void Metrics::add(const LayerConfiguration& configuration, const ConfigurationOutcome& outcome,
                  Duration compute) {
  const double total = to_seconds(outcome.total);
  count_ += 1;
  total_s_ += total;
  forward_s_ += to_seconds(outcome.forward);
  exposed_ += total > 0 ? 1 - to_seconds(compute) / total : 0;
  forward_degree_ += outcome.forward_degree;
  backward_degree_ += outcome.backward_degree;
  differ_ += outcome.forward_degree != outcome.backward_degree;
  if (outcome.baseline > Duration(0)) {
    const double speedup = to_seconds(outcome.baseline) / total;
    baseline_s_ += to_seconds(outcome.baseline);
    speedup_ += speedup;
    least_ = std::min(least_, speedup);
    most_ = std::max(most_, speedup);
  }
  for (std::size_t i = 0; i < kLayerOperationNames.size(); ++i) {
    pass_s_[0][i] += configuration.operations.forward[i].whole_s();
    pass_s_[1][i] += configuration.operations.backward[i].whole_s();
  }
}

std::vector<MetricRecord> Metrics::records(bool with_baseline) const {
  std::vector<MetricRecord> records = {
      {"configurations", count_, ""},
      {"step_time_s", total_s_ / count_, "s"},
      {"forward_time_s", forward_s_ / count_, "s"},
      {"backward_time_s", (total_s_ - forward_s_) / count_, "s"},
      {"exposed_communication_fraction", exposed_ / count_, ""},
      {"forward_degree", forward_degree_ / count_, ""},
      {"backward_degree", backward_degree_ / count_, ""},
      {"degrees_differ_fraction", differ_ / count_, ""},
  };
  if (with_baseline) {
    records.push_back({"baseline_step_time_s", baseline_s_ / count_, "s"});
    records.push_back({"speedup_mean", speedup_ / count_, ""});
    records.push_back({"speedup_least", least_, ""});
    records.push_back({"speedup_most", most_, ""});
  }
  const auto of = [](LayerOperation operation) { return static_cast<std::size_t>(operation); };
  for (const bool backward : {false, true}) {
    const std::string pass = backward ? "backward_" : "forward_";
    const auto& times = pass_s_[backward ? 1 : 0];
    records.push_back(
        {pass + "all_to_all_time_s",
         (times[of(LayerOperation::kDispatch)] + times[of(LayerOperation::kCombine)]) / count_,
         "s"});
    for (const LayerOperation operation :
         {LayerOperation::kGather, LayerOperation::kScatter, LayerOperation::kExperts,
          LayerOperation::kRouting, LayerOperation::kOrder, LayerOperation::kAttention,
          LayerOperation::kGradient}) {
      if (operation == LayerOperation::kGradient && !backward) continue;
      records.push_back({pass + std::string(kLayerOperationNames[of(operation)]) + "_time_s",
                         times[of(operation)] / count_, "s"});
    }
  }
  return records;
}

}  // namespace

OperationsOutcome run_operations(const OperationsScenario& scenario, const std::string& results,
                                 const std::function<void(int done, int of)>& progress) {
  const auto wall = std::chrono::steady_clock::now();
  OperationsOutcome outcome;
  std::optional<ResultStore> store;
  if (!results.empty()) {
    store.emplace(results);
    outcome.run_id = begin_run(*store, scenario);
  }
  Metrics metrics;
  Fingerprint fingerprint;
  CauseVector sum{};
  Time start{};
  const int count = static_cast<int>(scenario.configurations.size());
  for (int i = 0; i < count; ++i) {
    const LayerConfiguration& configuration = scenario.configurations[static_cast<std::size_t>(i)];
    const auto plan = [&](const LayerPolicy& policy) {
      return plan_layers(policy, configuration.operations, scenario.layers, scenario.degree);
    };
    const PlannedLayers planned = plan(*scenario.policy);
    ConfigurationOutcome one{configuration.name,  planned.forward_degree, planned.backward_degree,
                             planned.run.forward, planned.run.total,      {},
                             planned.run.causes};
    if (scenario.baseline != nullptr) one.baseline = plan(*scenario.baseline).run.total;
    metrics.add(configuration, one, planned.run.compute);
    fingerprint.add(Time(one.total), static_cast<std::uint64_t>(i), 0);
    fingerprint.add(Time(one.baseline), static_cast<std::uint64_t>(i), 1);
    for (std::size_t c = 0; c < sum.size(); ++c) sum[c] += one.causes[c];
    if (store) {
      StepBatch batch;
      batch.step.step = i;
      batch.step.start = start;
      batch.step.duration = one.total;
      batch.step.exposed_communication_fraction =
          1 - to_seconds(planned.run.compute) / to_seconds(one.total);
      batch.causes = records_of(one.causes);
      store->add(batch);
    }
    start += one.total;
    outcome.configurations.push_back(std::move(one));
    if (progress) progress(i + 1, count);
  }
  outcome.fingerprint = fingerprint.text();
  outcome.metrics = metrics.records(scenario.baseline != nullptr);
  outcome.causes = records_of(sum);
  outcome.costs = {{"operations", std::string(scenario.costs->name), "published",
                    std::string(kCostsSource), start.time_since_epoch(), true}};
  if (store) {
    RunResult result;
    result.fingerprint = outcome.fingerprint;
    result.wall_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - wall).count();
    result.metrics = outcome.metrics;
    result.costs = outcome.costs;
    store->finish_run(result);
  }
  return outcome;
}

}  // namespace sim
