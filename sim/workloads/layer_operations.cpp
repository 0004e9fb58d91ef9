#include "sim/workloads/layer_operations.h"

#include "sim/core/error.h"
#include "sim/core/event_loop.h"
#include "sim/core/task_graph.h"
#include "sim/workloads/kinds.h"

namespace sim {
namespace {

struct Meaning {
  TaskKind kind;
  Cause cause;
};

Meaning meaning_of(LayerOperation operation) {
  switch (operation) {
    case LayerOperation::kAttention:
      return {TaskKind::kAttention, Cause::kAttention};
    case LayerOperation::kRouting:
      return {TaskKind::kGate, Cause::kGate};
    case LayerOperation::kOrder:
      return {TaskKind::kPermute, Cause::kPermute};
    case LayerOperation::kExperts:
      return {TaskKind::kExperts, Cause::kExpert};
    case LayerOperation::kDispatch:
      return {TaskKind::kDispatch, Cause::kNetwork};
    case LayerOperation::kCombine:
      return {TaskKind::kCombine, Cause::kNetwork};
    case LayerOperation::kGather:
      return {TaskKind::kAllGather, Cause::kNetwork};
    case LayerOperation::kScatter:
      return {TaskKind::kReduceScatter, Cause::kNetwork};
    case LayerOperation::kGradient:
      return {TaskKind::kGradientReduction, Cause::kNetwork};
  }
  SIM_CHECK(false, "a layer operation has a meaning");
}

class SpanKeeper : public Observer {
 public:
  explicit SpanKeeper(std::vector<TaskSpan>* spans) : spans_(spans) {}
  void on_task(const TaskSpan& span) override {
    if (spans_ != nullptr) spans_->push_back(span);
  }

 private:
  std::vector<TaskSpan>* spans_;
};

class LayersRunner {
 public:
  LayersRunner(const LayerOperations& operations, const LayerSchedule& schedule,
               std::vector<TaskSpan>* spans)
      : operations_(operations),
        schedule_(schedule),
        keeper_(spans),
        graph_(loop_, keeper_,
               {id_of(Cause::kNetwork), id_of(Cause::kCongestion), id_of(Cause::kStartup),
                id_of(Cause::kLaunch)}) {
    constexpr std::array kKinds = {StreamKind::kCompute, StreamKind::kCommunication,
                                   StreamKind::kCopy};
    for (const StreamKind kind : kKinds)
      streams_.push_back(graph_.add_stream(DeviceId(0), kind, Duration(0)));
  }

  LayersRun run();

 private:
  void add_pass(const std::vector<Launch>& launches, int layer, bool backward);
  TaskId add(const Launch& launch, int layer, bool backward, const std::vector<TaskId>& after);

  const LayerOperations& operations_;
  const LayerSchedule& schedule_;
  EventLoop loop_;
  SpanKeeper keeper_;
  TaskGraph graph_;
  Duration compute_{};
  std::vector<StreamId> streams_;
  std::vector<TaskId> before_;     // what the next operation of the model comes after
  std::vector<TaskId> ready_;      // per layer of the backward pass: its gradient
  std::vector<TaskId> gradients_;  // reductions
};

TaskId LayersRunner::add(const Launch& launch, int layer, bool backward,
                         const std::vector<TaskId>& after) {
  const OperationCost& cost = operations_.of(launch.operation, backward);
  const double share =
      launch.operation == LayerOperation::kGradient ? launch.share : 1.0 / launch.chunks;
  const Meaning meaning = meaning_of(launch.operation);
  const bool transfer = meaning.cause == Cause::kNetwork;
  TaskSpec spec;
  spec.stream = streams_[static_cast<std::size_t>(launch.stream)];
  spec.tag.kind = static_cast<std::int16_t>(meaning.kind);
  spec.tag.layer = static_cast<std::int16_t>(layer);
  spec.tag.step = 0;
  spec.tag.micro_batch = static_cast<std::int16_t>(launch.chunk);
  spec.tag.pass =
      static_cast<std::int8_t>(backward ? PassKind::kInputGradient : PassKind::kForward);
  const Duration start = duration_from_seconds(cost.start_s);
  spec.duration = start + duration_from_seconds(cost.work_s * share);
  if (!transfer) compute_ += spec.duration;
  spec.shares[0] = {id_of(meaning.cause), spec.duration};
  if (transfer) {
    spec.shares[0].duration -= start;
    spec.shares[1] = {id_of(Cause::kStartup), start};
  }
  return graph_.add_task(spec, after);
}

// Chunk c of an operation comes after chunk c of the one before it; a gradient's slice after the
// backward pass of its layer.
void LayersRunner::add_pass(const std::vector<Launch>& launches, int layer, bool backward) {
  std::vector<std::vector<TaskId>> after;  // per chunk of the routed part
  std::vector<TaskId> combined;
  for (const Launch& launch : launches) {
    const auto chunk = static_cast<std::size_t>(launch.chunk);
    switch (launch.operation) {
      case LayerOperation::kGradient:
        gradients_.push_back(
            add(launch, layer, true, {ready_[static_cast<std::size_t>(launch.of_layer)]}));
        continue;
      case LayerOperation::kAttention:
      case LayerOperation::kRouting:
      case LayerOperation::kOrder:
        if (!combined.empty()) before_ = std::move(combined);
        combined.clear();
        before_ = {add(launch, layer, backward, before_)};
        continue;
      default:
        break;
    }
    if (after.empty()) after.assign(static_cast<std::size_t>(launch.chunks), before_);
    after[chunk] = {add(launch, layer, backward, after[chunk])};
    if (launch.operation == LayerOperation::kCombine) combined.push_back(after[chunk].front());
  }
  if (!combined.empty()) before_ = combined;
}

LayersRun LayersRunner::run() {
  LayersRun result;
  for (int layer = 0; layer < schedule_.layers; ++layer) add_pass(schedule_.forward, layer, false);
  const auto forward_done = before_;
  graph_.when_done(forward_done, [&result](Time end, const CauseVector&) {
    result.forward = end.time_since_epoch();
  });
  for (int i = 0; i < schedule_.layers; ++i) {
    add_pass(schedule_.backward[static_cast<std::size_t>(i)], schedule_.layers - 1 - i, true);
    ready_.push_back(before_.front());
  }
  if (schedule_.after_waits) ready_.assign(ready_.size(), before_.front());
  add_pass(schedule_.after, 0, true);
  std::vector<TaskId> last = before_;
  last.insert(last.end(), gradients_.begin(), gradients_.end());
  graph_.when_done(last, [&result](Time end, const CauseVector& causes) {
    result.total = end.time_since_epoch();
    result.causes = causes;
  });
  loop_.run();
  SIM_CHECK(graph_.unfinished() == 0, "layers on in-order streams always end");
  result.compute = compute_;
  return result;
}

}  // namespace

LayersRun run_layers(const LayerOperations& operations, const LayerSchedule& schedule,
                     bool keep_spans) {
  std::vector<TaskSpan> spans;
  LayersRun result = LayersRunner(operations, schedule, keep_spans ? &spans : nullptr).run();
  result.spans = std::move(spans);
  return result;
}

}  // namespace sim
