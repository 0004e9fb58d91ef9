// Kernels and collectives of a model's blocks as tasks on the streams of every rank: what inference
// and training build their steps of.
//
// Per rank in-order streams: host, compute, communication (token exchanges, tensor and context
// parallelism), gradients (reductions and gathers over replicas), and, made when first used, one
// per direction and neighbour of the pipeline.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "sim/core/task_graph.h"
#include "sim/workloads/block_costs.h"
#include "sim/workloads/kinds.h"
#include "sim/workloads/routed_plan.h"
#include "sim/workloads/step_plan.h"

namespace sim {

// Where the program of a rank stands: what its next task comes after, beside stream order.
struct Cursor {
  std::vector<TaskId> needs;
  TaskId last;  // last task that produced its present activations
};

// The programs of consecutive ranks, from `first` on.
struct Lane {
  int first = 0;
  std::vector<Cursor> cursors;

  Lane(int first_rank, int ranks) : first(first_rank), cursors(static_cast<std::size_t>(ranks)) {}
  Cursor& of(int rank) { return cursors[static_cast<std::size_t>(rank - first)]; }
  int end() const { return first + static_cast<int>(cursors.size()); }
};

// What a task's tag says beside its kind.
struct Stamp {
  int step = 0;
  int layer = -1;
  int micro_batch = -1;
  PassKind pass = PassKind::kForward;

  TaskTag tag(TaskKind kind) const {
    return {static_cast<std::int16_t>(kind), static_cast<std::int16_t>(layer), step,
            static_cast<std::int16_t>(micro_batch), static_cast<std::int8_t>(pass)};
  }
};

// A collective of equal shares over some ranks.
struct GroupCollective {
  TaskKind kind = TaskKind::kAllGather;
  std::string_view operation;  // collective.h
  std::vector<DeviceId> devices;
  Bytes bytes;  // CollectiveCall::bytes
};

class BlockTasks {
 public:
  // Receives (layer, kind, source, destination, payload) of every leg, when a collective is
  // reached.
  using Traffic = std::function<void(int layer, TaskKind kind, DeviceId source,
                                     DeviceId destination, Bytes bytes)>;

  // Keeps references to all.
  BlockTasks(const StepSetup& setup, TaskGraph& graph, ClusterNetwork& network, CostLedger& ledger,
             Traffic traffic);

  TaskGraph& graph() { return graph_; }
  // The host's work before a step; every rank of the lane goes on after it.
  void launch_step(Lane& lane, const Stamp& stamp);

  void kernel(int rank, Cursor& cursor, const PricedKernel& kernel, const Stamp& stamp, int sms,
              std::span<const CauseShare> shares);
  // One by one, or as one task where the setup chains kernels and no host launches each.
  void kernels(int rank, Cursor& cursor, const PricedBlock& block, const Stamp& stamp, int sms);
  // Routed experts of the ranks of one EP group: `kernels` per rank, each maybe of several parts.
  // Time above the group's mean is a straggler's.
  void experts(std::span<const DeviceId> ranks, Lane& lane, std::span<const PricedKernel> kernels,
               std::span<const std::int64_t> rows, const Stamp& stamp, std::span<const int> sms);

  // On the communication streams; the ranks' next kernels come after it.
  void collective(const GroupCollective& call, Lane& lane, const Stamp& stamp);
  // The same for what waits for its parts later.
  std::vector<TaskId> beside(const GroupCollective& call, Lane& lane, const Stamp& stamp);
  // On the streams of gradients, after what each rank's `after` names; nobody waits for it yet.
  std::vector<TaskId> reduction(const GroupCollective& call,
                                std::span<const std::vector<TaskId>> after, const Stamp& stamp);
  // Dispatch or combine of one EP group, on the communication streams. Returns the part of each of
  // its ranks; what waits for it says wait().
  std::vector<TaskId> exchange(const std::shared_ptr<BlockExchange>& data, TaskKind kind,
                               Lane& lane, const Stamp& stamp);
  // From a rank to one of another stage: returns the sender's and the receiver's part.
  struct Send {
    TaskId sent;
    TaskId received;
  };
  Send send(DeviceId from, DeviceId to, Bytes bytes, std::span<const TaskId> after,
            const Stamp& stamp);

  // The rank's next kernel comes after this part of a collective too. Where kernels do not wait for
  // communication (a counterfactual), only the step's end does.
  void wait(Cursor& cursor, TaskId part);
  // Nobody waits for this part but the step's end.
  void let_end(TaskId part) { loose_.push_back(part); }
  // What the step's end waits for beside the lanes; forgotten when taken.
  std::vector<TaskId> take_loose() { return std::move(loose_); }

  double least_s(int rank) const { return ranks_[static_cast<std::size_t>(rank)].least_s; }

 private:
  struct Rank {
    StreamId compute;
    StreamId communication;
    StreamId gradients;
    StreamId host;
    HeldId sms;
    double least_s = 0;
    std::vector<std::pair<std::int64_t, StreamId>> pipeline;  // by neighbour and direction
  };
  // The sizes of a dispatch that is about to begin: what each rank's part of it comes after.
  std::vector<std::vector<TaskId>> exchange_sizes(const BlockExchange& data, Lane& lane,
                                                  const Stamp& stamp);
  void fill_exchange(BlockExchange& from, TaskKind kind, CollectiveBody& body);
  void note(TaskKind kind, const CollectiveConstants* constants);
  TaskGraph::BodyMaker body_of(const GroupCollective& call, int layer);
  std::vector<TaskId> add_collective(TaskTag tag, std::span<const PartSpec> parts,
                                     TaskGraph::BodyMaker make);
  StreamId pipeline_stream(DeviceId rank, DeviceId other, bool sends, PassKind pass);

  const StepSetup& setup_;
  TaskGraph& graph_;
  ClusterNetwork& network_;
  CostLedger& ledger_;
  Traffic traffic_;
  std::vector<Rank> ranks_;
  std::vector<TaskId> loose_;
};

}  // namespace sim
