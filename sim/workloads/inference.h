// Prefill and decode: steps one after another, every rank starting the next one together.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/memory.h"
#include "sim/core/event_loop.h"
#include "sim/workloads/inference_step.h"

namespace sim {

// A whole number or one drawn per sequence, uniformly from least to most (both included).
struct LengthSpec {
  std::int64_t least = 0;
  std::int64_t most = 0;
  double mean() const { return (static_cast<double>(least) + static_cast<double>(most)) / 2; }
};

struct InferenceWorkload {
  Phase phase = Phase::kDecode;
  std::int64_t tokens_per_gpu =
      0;  // decode: sequences a rank holds; prefill: prompt tokens a rank takes per step
  LengthSpec length;  // decode: context at the first step; prefill: prompt tokens
  int steps = 1;
  int routing_step_offset = 0;  // the routing source's step of step 0
  std::uint64_t seed = 0;
};

struct StepResult {
  int step = 0;
  Time start;
  Time end;
  CauseVector causes{};
  StepFacts facts;
};

// The sequences of every rank in a step. Decode: tokens_per_gpu sequences per rank, each one token
// longer per step. Prefill: prompts until tokens_per_gpu are reached; the last one is cut to fit.
// When the routing has its own number of tokens per rank (`tokens`, not empty), that many.
std::vector<RankSequences> make_sequences(const InferenceWorkload& workload, int ranks, int step,
                                          const std::vector<std::int64_t>& tokens);

// Named memory items of one rank that holds its TP group's share of `sequences` and `expert_slots`
// experts per routed block.
std::vector<MemoryItem> rank_memory(const StepSetup& setup, const InferenceWorkload& workload,
                                    const std::vector<RankSequences>& sequences, int rank,
                                    int expert_slots, Bytes framework_reserve);

// The routing of a model without routed blocks.
class NoRouting : public RoutingSource {
 public:
  void fill(int, int, LayerRouting&) override {}
  int experts(int) const override { return 0; }
  int layers() const override { return 0; }
  ReuseReport reuse() const override { return {}; }
  std::string description() const override { return "none"; }
  std::vector<std::string> warnings() const override { return {}; }
};

// Throws Error: what a step that never ends waits for.
[[noreturn]] void throw_stuck(const TaskGraph& graph, const ClusterNetwork& network, int step);

// Runs all steps on the loop; `on_step` is called as each one ends, before the next one begins.
class InferenceRun {
 public:
  InferenceRun(const InferenceWorkload& workload, const StepSetup& setup, EventLoop& loop,
               TaskGraph& graph, ClusterNetwork& network, RoutingSource& routing,
               CostLedger& ledger, BlockTasks::Traffic traffic,
               std::function<void(const StepResult&)> on_step);
  // Fewer steps end when a device stops (TaskGraph::stopped_device). Throws Error when something
  // never ends for another reason.
  void run();

 private:
  void begin(int step);

  const InferenceWorkload& workload_;
  const StepSetup& setup_;
  EventLoop& loop_;
  TaskGraph& graph_;
  ClusterNetwork& network_;
  RoutingSource& routing_;
  InferenceStep builder_;
  std::function<void(const StepResult&)> on_step_;
  std::unique_ptr<StepFacts> pending_facts_;  // of the step under way
  int finished_ = 0;
};

}  // namespace sim
