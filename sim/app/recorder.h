// Listens to the engine and turns a step into rows of the results database and into the run's
// metrics.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "analysis/fingerprint.h"
#include "analysis/records.h"
#include "sim/app/traffic_table.h"
#include "sim/core/observer.h"
#include "sim/policies/collectives/cluster_network.h"
#include "sim/policies/collectives/ports_network.h"
#include "sim/policies/disturbances/link_disturbances.h"
#include "sim/workloads/inference.h"

namespace sim {

class Recorder : public Observer {
 public:
  // `traffic_per_pair`: false keeps what each device sends and receives in all, for as many devices
  // as fit; payload from whom to whom is then not known.
  // `ranks_per_layer`: those of a pipeline stage.
  Recorder(int devices, int ranks_per_layer, int layers, bool traffic_per_pair);

  void on_task(const TaskSpan& span) override;
  void on_part(const PartSpan& span) override;
  void on_collective(const CollectiveSpan& span) override;
  void on_wait(const StreamWait& wait) override;
  TrafficTable& traffic() { return traffic_; }

  // Everything of the step that has just ended; `peak_memory` per device. Starts the next step
  // afresh. `ports`: null without them.
  StepBatch take_step(const StepResult& result, ClusterNetwork& network,
                      LinkDisturbances& disturbances, PortNetwork* ports,
                      const std::vector<Bytes>& peak_memory);

  // Over the whole run so far.
  std::vector<MetricRecord> metrics() const;
  // Time of communication, summed over ranks, without waiting for peers.
  Duration communication_time(TaskKind kind) const {
    return communication_[static_cast<std::size_t>(kind)];
  }
  Duration launch_time() const { return launch_; }  // summed over ranks
  std::string fingerprint() const { return fingerprint_.text(); }

  // What the summary tells, summed over steps.
  struct Totals {
    Duration steps{};
    std::vector<Duration> busy;  // per TaskKind, mean over ranks
    std::vector<Duration> wait;  // per WaitCause and pipeline bubbles, mean over ranks
    Duration launch{};           // mean over ranks
    CauseVector causes{};
    std::map<std::pair<int, int>, Duration>
        waited;                    // (device, waited for) -> wait for its late start
    std::vector<Duration> expert;  // per device
  };
  const Totals& totals() const { return totals_; }

 private:
  struct LayerSums {  // over ranks
    Duration by_kind[static_cast<std::size_t>(TaskKind::kHostLaunch) + 1] = {};
    Duration dispatch_network{};
    Duration combine_network{};
  };
  static void add_experts(StepBatch& batch, const RoutedBlockFacts& facts);
  LinkRecord link_record(const std::string& name, double payload, Bandwidth capacity,
                         double busy_seconds, double& busy_before, double step_s);

  int devices_;
  int ranks_per_layer_;
  TrafficTable traffic_;
  Fingerprint fingerprint_;
  std::uint64_t sequence_ = 0;
  std::vector<LayerSums> layer_sums_;         // index layer + 1; 0: embedding and head
  std::vector<std::vector<Duration>> busy_;   // [device][kind]
  std::vector<std::vector<Duration>> waits_;  // [device][WaitCause]
  std::map<std::tuple<int, int, int, int>, Duration>
      wait_rows_;                            // (layer, device, waited for, cause)
  std::vector<double> busy_seconds_before_;  // per link
  std::vector<double> cut_busy_before_;      // per cut of the port network
  Duration communication_[static_cast<std::size_t>(TaskKind::kHostLaunch) + 1] = {};
  Duration launch_{};
  Totals totals_;
  // What slow devices and jitter added to kernels, over ranks: of this step, then over steps.
  Duration slow_{};
  Duration jitter_{};
  double slow_s_ = 0, jitter_s_ = 0;
  bool disturbed_ = false;
  // Sums over steps, for the metrics.
  std::int64_t steps_ = 0;
  double step_s_ = 0, tokens_ = 0, dispatch_s_ = 0, dispatch_network_s_ = 0, combine_s_ = 0,
         expert_s_ = 0, attention_s_ = 0;
  double exposed_ = 0, imbalance_ = 0, expert_imbalance_ = 0, compute_bound_s_ = 0,
         network_bound_s_ = 0, exchange_s_ = 0, exchange_bound_s_ = 0;
  std::int64_t routed_ = 0, rows_ = 0, dropped_ = 0;
  std::int64_t peak_memory_ = 0;
};

}  // namespace sim
