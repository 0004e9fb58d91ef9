#include "sim/workloads/layer_search.h"

#include <algorithm>

#include "sim/workloads/kinds.h"

namespace sim {
namespace {

struct Window {
  Time begin{};
  Time end{};
  double seconds() const { return begin < end ? to_seconds(end - begin) : 0; }
};

struct LayerWindows {
  Window after_dispatch;  // from the last chunk towards the experts to the first one from them
  Window beside_dense;    // from the last combine to the next layer's first dispatch
};

bool towards_experts(const TaskSpan& span) {
  return span.tag.kind == static_cast<int>(TaskKind::kDispatch) ||
         span.tag.kind == static_cast<int>(TaskKind::kAllGather);
}

// Of the communication stream in the backward pass, the model's last layer first.
std::vector<LayerWindows> windows_of(const std::vector<TaskSpan>& spans, int layers) {
  std::vector<LayerWindows> windows(static_cast<std::size_t>(layers));
  std::vector<bool> entered(windows.size(), false);    // its first dispatch was seen
  std::vector<bool> returning(windows.size(), false);  // its first chunk back was seen
  for (const TaskSpan& span : spans) {
    if (span.stream != StreamKind::kCommunication ||
        span.tag.kind == static_cast<int>(TaskKind::kGradientReduction) ||
        span.tag.pass != static_cast<int>(PassKind::kInputGradient))
      continue;
    const auto at = static_cast<std::size_t>(layers - 1 - span.tag.layer);
    if (!entered[at] && at > 0) windows[at - 1].beside_dense.end = span.start;
    entered[at] = true;
    if (towards_experts(span)) {
      windows[at].after_dispatch.begin = span.end;
    } else {
      if (!returning[at]) windows[at].after_dispatch.end = span.start;
      returning[at] = true;
      windows[at].beside_dense.begin = span.end;
    }
  }
  return windows;
}

// What to do with gradients that the windows have no time for. FSMoE spreads them over layers;
// which way is best is tried.
enum class Rest : std::int8_t { kAtTheEnd, kBesideDense, kAfterDispatch };

// As much of the gradients that are ready as each window has time for; a layer's own is ready when
// its backward pass ends.
std::vector<GradientSlices> fill(const std::vector<LayerWindows>& windows,
                                 const OperationCost& gradient, Rest rest) {
  std::vector<GradientSlices> slices(windows.size());
  double ready = 0;
  const auto take = [&](const Window& window, bool all) {
    if (gradient.work_s <= 0) return 0.0;
    const double fits = (window.seconds() - gradient.start_s) / gradient.work_s;
    const double share = all ? ready : std::clamp(fits, 0.0, ready);
    ready -= share;
    return share;
  };
  for (std::size_t i = 0; i < windows.size(); ++i) {
    const double share = take(windows[i].after_dispatch, rest == Rest::kAfterDispatch);
    if (share > 0) slices[i].after_dispatch.push_back(share);
    slices[i].beside_dense = take(windows[i].beside_dense, rest == Rest::kBesideDense);
    ready += 1;
  }
  return slices;
}

PlannedLayers planned_with(const LayerPolicy& policy, const LayerOperations& operations, int layers,
                           int forward, int backward, const std::vector<GradientSlices>& slices) {
  PlannedLayers planned{
      forward, backward, make_layer_schedule(policy, forward, backward, layers, slices), {}};
  planned.run = run_layers(operations, planned.schedule);
  return planned;
}

PlannedLayers plan_with(const LayerPolicy& policy, const LayerOperations& operations, int layers,
                        int forward, int backward) {
  std::vector<GradientSlices> slices(static_cast<std::size_t>(layers));
  switch (policy.gradient) {
    case GradientPlace::kAfterAll:
      break;
    case GradientPlace::kDensePart:
      for (std::size_t i = 1; i < slices.size(); ++i) slices[i].beside_dense = 1;
      break;
    case GradientPlace::kAfterDispatch:
      for (std::size_t i = 1; i < slices.size(); ++i) {
        slices[i].after_dispatch.assign(static_cast<std::size_t>(operations.gradient_pieces),
                                        1.0 / operations.gradient_pieces);
      }
      break;
    case GradientPlace::kWindows: {
      const LayerSchedule bare = make_layer_schedule(policy, forward, backward, layers, {});
      const std::vector<LayerWindows> windows =
          windows_of(run_layers(operations, bare, true).spans, layers);
      std::optional<PlannedLayers> best;
      for (const Rest rest : {Rest::kAtTheEnd, Rest::kBesideDense, Rest::kAfterDispatch}) {
        PlannedLayers each =
            planned_with(policy, operations, layers, forward, backward,
                         fill(windows, operations.of(LayerOperation::kGradient, true), rest));
        if (!best || each.run.total < best->run.total) best = std::move(each);
      }
      return std::move(*best);
    }
  }
  return planned_with(policy, operations, layers, forward, backward, slices);
}

// More chunks only add start-ups once every chunk is hidden, so the search ends when the time has
// risen this often in a row.
constexpr int kRises = 4;

template <class Try>
int best_degree(Try time_of) {
  int best = 1;
  Duration least = Duration::max();
  int rises = 0;
  for (int degree = 1; degree <= kMostDegree && rises < kRises; ++degree) {
    const Duration time = time_of(degree);
    rises = time < least ? 0 : rises + 1;
    if (time < least) best = degree;
    least = std::min(least, time);
  }
  return best;
}

}  // namespace

PlannedLayers plan_layers(const LayerPolicy& policy, const LayerOperations& operations, int layers,
                          std::optional<int> degree) {
  if (!policy.overlapped) return plan_with(policy, operations, layers, 1, 1);
  if (degree) return plan_with(policy, operations, layers, *degree, *degree);
  if (policy.one_degree) {
    const int both =
        best_degree([&](int r) { return plan_with(policy, operations, layers, r, r).run.total; });
    return plan_with(policy, operations, layers, both, both);
  }
  // The passes follow one another, so each has its own best number.
  const int forward = best_degree([&](int r) {
    return run_layers(operations, make_layer_schedule(policy, r, 1, 1, {})).forward;
  });
  const int backward = best_degree(
      [&](int r) { return plan_with(policy, operations, layers, forward, r).run.total; });
  return plan_with(policy, operations, layers, forward, backward);
}

}  // namespace sim
