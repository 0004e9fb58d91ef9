// Gradients over replicas, sharded parameters and the optimizer: what a training step does beside
// its passes.
//
//   ZeRO 0     all-reduce of gradients
//   ZeRO 1, 2  reduce-scatter of gradients, all-gather of parameters; 2 reduces after every
//              micro-batch, for it keeps no more than its own share
//   ZeRO 3     as 2, and parameters are gathered for every layer of every pass, one layer ahead
// Dense weights are reduced over the dp * cp ranks that hold them, experts over the edp ranks;
// where a schedule keeps two copies of the model, over both. All on the ranks' streams of
// gradients.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "sim/workloads/block_tasks.h"
#include "sim/workloads/training_blocks.h"
#include "sim/workloads/training_plan.h"

namespace sim {

class TrainingGradients {
 public:
  TrainingGradients(const StepSetup& setup, const TrainingWorkload& workload, BlockTasks& tasks,
                    BlockCosts& costs);

  // `world`: all ranks, after the hosts' launch. Gathers what the optimizers of the step before
  // have left in shares, where that overlaps: every step is one in the middle of a training.
  void begin_step(int step, Lane& world);
  // Makes the layer's first kernels wait for its parameters.
  void before_layer(const TrainingBlocks::PassPlace& place, int layer, PassKind pass, Lane& lane);
  // The layer's weight gradients were launched. `last`: no later pass of the step adds to them.
  void after_layer(const TrainingBlocks::PassPlace& place, int layer, bool last, Lane& lane);
  // All passes of the stage were launched: reductions that did not overlap, optimizer, gathers.
  void finish_stage(int stage, Lane& lane);

  // What the step's end waits for; complete when all stages have finished.
  std::vector<TaskId> take_finals() { return std::move(finals_); }

 private:
  enum Weights { kDense, kExperts };
  static constexpr std::array<Weights, 2> kBoth = {kDense, kExperts};
  using Counts = std::array<std::int64_t, 2>;        // parameters on a rank, by Weights
  using PerRank = std::vector<std::vector<TaskId>>;  // of a stage's ranks
  struct Arrival {
    int stage = 0;
    PerRank after;
  };

  std::vector<int> stages_of(int part) const;
  Counts counts_of_stage(int stage) const;
  // Ranks that hold the same weights, on the given stages: one group per entry.
  std::vector<std::vector<DeviceId>> groups(const std::vector<int>& stages, Weights weights) const;
  std::string_view reduce_operation() const {
    return workload_.zero == 0 ? "all-reduce" : "reduce-scatter";
  }
  void flush(const TrainingBlocks::PassPlace& place, int layer, Weights weights, Lane& lane);
  void reduce(std::int64_t parameters, Weights weights, const std::vector<Arrival>& arrivals,
              const Stamp& stamp);
  using After = std::function<std::vector<TaskId>(int rank)>;
  // Of layers from `layer` on, over the ranks of `stages`; its parts go to gathered_.
  void gather(const std::vector<int>& stages, const Counts& parameters, int layer,
              const After& after, const Stamp& stamp);
  void gather_layer(const TrainingBlocks::PassPlace& place, int layer, PassKind pass, Lane& lane);
  void end_stage(int stage, Lane& lane);
  void gather_at_end(const std::vector<int>& ending);

  const StepSetup& setup_;
  const TrainingWorkload& workload_;
  BlockTasks& tasks_;
  BlockCosts& costs_;
  int step_ = 0;
  std::vector<Counts> counts_;                        // per layer
  std::map<std::pair<int, int>, Counts> filling_;     // (stage, part) -> launched, not reduced
  std::map<std::tuple<int, int, int>, int> flushes_;  // (stage, part, weights) -> reductions so far
  std::map<std::tuple<int, int, int>, std::vector<Arrival>> arrivals_;  // (part, weights, number)
  PerRank reduced_;                                                     // of the world
  std::map<std::pair<int, int>, PerRank> gathered_;                     // (stage, layer)
  std::map<int, Lane> finished_;  // stages that wait for their other copy
  std::set<int> ended_;
  std::vector<TaskId> finals_;
};

}  // namespace sim
