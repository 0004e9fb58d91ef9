// One pass of one micro-batch over the layers of one pipeline part, as tasks on all ranks of the
// stage: reads like the model, forward and backward.
//
// A pass is a list of segments. Each launches kernels and then maybe communication that only a
// later segment waits for, so two passes whose segments are launched in turn overlap (DualPipe);
// one alone runs one after another.
//   attention or dense FFN:  [context exchange] [all-gather over TP] kernels [reduce-scatter over
//   TP] routed FFN:              norm, router, permute; dispatch | [gather over ETP] experts
//   [scatter]
//                            combine | weighted sum
// Backward is the same from the end: the gradient of a combine is a dispatch and the other way
// round, that of an all-gather a reduce-scatter.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "sim/workloads/block_tasks.h"
#include "sim/workloads/training_plan.h"

namespace sim {

class TrainingBlocks {
 public:
  struct Segment {
    std::function<void(Lane&)> launch;
    bool waits = false;  // begins with waiting for what the segment before it has sent
  };
  struct PassPlace {
    int step = 0;
    int micro_batch = 0;
    int stage = 0;
    int part = 0;         // of the model
    bool beside = false;  // another pass runs with it: kernels leave communication its SMs
  };
  // Called when a layer's weight gradients have been launched on all ranks.
  using LayerDone = std::function<void(int layer, Lane& lane)>;
  // Called before a layer's first kernels of a pass.
  using LayerBegins = std::function<void(int layer, PassKind pass, Lane& lane)>;

  TrainingBlocks(const StepSetup& setup, const TrainingWorkload& workload, BlockTasks& tasks,
                 BlockCosts& costs);

  // `plans`: of the micro-batch, by routed block of the model; they outlive the segments.
  std::vector<Segment> forward(const PassPlace& place, const std::vector<RoutedPlan>& plans,
                               const LayerBegins& begins);
  // Which gradients: kBackward both, block by block; else one.
  std::vector<Segment> backward(const PassPlace& place, PassOf pass,
                                const std::vector<RoutedPlan>& plans, const LayerBegins& begins,
                                const LayerDone& done);

 private:
  struct Work {  // what segments of one pass share
    PassPlace place;
    const std::vector<RoutedPlan>* plans;
  };
  // Of the parts of a collective: by rank of the lane.
  using Parts = std::shared_ptr<std::vector<TaskId>>;

  void layer_forward(const Work& work, int layer, PassKind pass, std::vector<Segment>& out);
  void layer_backward(const Work& work, int layer, PassOf pass, std::vector<Segment>& out);
  void plain_forward(const Work& work, BlockId block, PassKind pass, Lane& lane);
  void plain_backward(const Work& work, BlockId block, PassOf pass, Lane& lane);
  void plain_recompute(const Work& work, BlockId block, Lane& lane);
  void routed_forward(const Work& work, BlockId block, PassKind pass, std::vector<Segment>& out);
  void routed_backward(const Work& work, BlockId block, PassOf pass, std::vector<Segment>& out);

  // Kernels of every rank of the lane, priced once per device type.
  using Price = std::function<const PricedBlock&(const Device& device, int sms)>;
  void run(Lane& lane, const Work& work, const Stamp& stamp, const Price& price);
  // Kernels [from, to) of them.
  void run_range(Lane& lane, const Work& work, const Stamp& stamp, const PricedBlock& block,
                 std::size_t from, std::size_t to);
  // An attention block whose keys and values travel round the context group: they leave when they
  // are projected (backward: at once), and the core works while they come; backward sends their
  // gradients home after it.
  void run_with_context(Lane& lane, const Work& work, BlockId block, const Stamp& stamp,
                        const PricedBlock& kernels);
  void run_experts(Lane& lane, const Work& work, BlockId block, const Stamp& stamp,
                   KernelPass pass);
  void experts_again(Lane& lane, const Work& work, BlockId block);
  Parts exchange(Lane& lane, const RoutedPlan& plan, TaskKind kind, const Stamp& stamp);
  void wait(Lane& lane, const Parts& parts);
  void tensor_collective(Lane& lane, TaskKind kind, const Stamp& stamp);
  // The same for what waits for it later.
  Parts tensor_beside(Lane& lane, TaskKind kind, const Stamp& stamp);
  void expert_tensor_collective(Lane& lane, const RoutedPlan& plan, TaskKind kind,
                                const Stamp& stamp);
  bool travels(BlockId block) const;  // keys and values go round a context group
  Parts context_exchange(Lane& lane, BlockId block, const Stamp& stamp, std::string_view operation);
  std::vector<std::int64_t> rows_of(const RoutedPlan& plan, int rank) const;
  const RoutedPlan& plan_of(const Work& work, BlockId block) const;
  Stamp stamp(const Work& work, int layer, PassKind pass) const {
    return {work.place.step, layer, work.place.micro_batch, pass};
  }
  int sms_of(const Work& work, const Device& device) const;
  const Device& device(int rank) const { return *setup_.devices[static_cast<std::size_t>(rank)]; }
  bool first_part(const Work& work) const { return work.place.part == 0; }
  bool last_part(const Work& work) const {
    return work.place.part + 1 == static_cast<int>(workload_.parts.size());
  }

  const StepSetup& setup_;
  const TrainingWorkload& workload_;
  BlockTasks& tasks_;
  BlockCosts& costs_;
  TokenBatch group_batch_;
  TokenBatch rank_batch_;
  std::map<std::pair<int, int>, std::size_t> routed_index_;  // (layer, block) -> routed block
};

}  // namespace sim
