#include "sim/policies/schedules/layer_schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <string>

#include "sim/core/error.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace {

using enum LayerOperation;

// The streams of a policy: without overlap all is one stream.
struct Streams {
  LayerStream inter = LayerStream::kCompute;
  LayerStream intra = LayerStream::kCompute;
};

Streams streams_of(const LayerPolicy& policy) {
  if (!policy.overlapped) return {};
  if (!policy.inter_intra) return {LayerStream::kInterNode, LayerStream::kInterNode};
  return {LayerStream::kInterNode, LayerStream::kIntraNode};
}

// All chunks up to the experts before any chunk after them: the order of PipeMoE and FSMoE.
// `between`: launched after the last dispatch chunk.
void add_routed_part(std::vector<Launch>& launches, const Streams& streams, int degree,
                     const std::vector<Launch>& between) {
  for (int c = 0; c < degree; ++c) {
    launches.push_back({kDispatch, streams.inter, c, degree});
    launches.push_back({kGather, streams.intra, c, degree});
    launches.push_back({kExperts, LayerStream::kCompute, c, degree});
  }
  launches.insert(launches.end(), between.begin(), between.end());
  for (int c = 0; c < degree; ++c) {
    launches.push_back({kScatter, streams.intra, c, degree});
    launches.push_back({kCombine, streams.inter, c, degree});
  }
}

// Gradients that are ready and not yet reduced, oldest first.
class ReadyGradients {
 public:
  explicit ReadyGradients(LayerStream stream) : stream_(stream) {}
  void add(int layer) { ready_.push_back({layer, 1.0}); }
  // Up to `share` of a layer's gradient, cut where one layer's ends.
  void take(double share, std::vector<Launch>& launches) {
    while (share > kNothing && !ready_.empty()) {
      Part& oldest = ready_.front();
      const double part = oldest.share - share < kNothing ? oldest.share : share;
      launches.push_back({kGradient, stream_, 0, 1, oldest.layer, part});
      share -= part;
      oldest.share -= part;
      if (oldest.share <= kNothing) ready_.pop_front();
    }
  }
  void take_all(std::vector<Launch>& launches) {
    while (!ready_.empty()) take(ready_.front().share, launches);
  }

 private:
  static constexpr double kNothing = 1e-9;  // of a gradient: what rounding leaves
  struct Part {
    int layer;
    double share;
  };
  LayerStream stream_;
  std::deque<Part> ready_;
};

}  // namespace

const LayerPolicy& find_layer_policy(std::string_view name) {
  std::vector<std::string> names;
  for (const LayerPolicy& policy : kLayerPolicies) {
    if (policy.name == name) return policy;
    names.emplace_back(policy.name);
  }
  throw Error(fmt::format("there is no layer schedule '{}'", name),
              suggest(std::string(name), names));
}

LayerSchedule make_layer_schedule(const LayerPolicy& policy, int forward_degree,
                                  int backward_degree, int layers,
                                  const std::vector<GradientSlices>& slices) {
  SIM_CHECK(layers >= 1 && forward_degree >= 1 && backward_degree >= 1, "counts of a schedule");
  SIM_CHECK(policy.overlapped || (forward_degree == 1 && backward_degree == 1),
            "chunks make no sense where nothing overlaps");
  const Streams streams = streams_of(policy);
  LayerSchedule schedule;
  schedule.layers = layers;
  schedule.forward = {{kAttention}, {kRouting}, {kOrder}};
  add_routed_part(schedule.forward, streams, forward_degree, {});
  ReadyGradients gradients(streams.inter);
  for (int layer = 0; layer < layers; ++layer) {
    const auto index = static_cast<std::size_t>(layer);
    const GradientSlices slices_here = index < slices.size() ? slices[index] : GradientSlices{};
    std::vector<Launch>& launches = schedule.backward.emplace_back();
    launches.push_back({kOrder});
    std::vector<Launch> between;
    for (const double share : slices_here.after_dispatch) gradients.take(share, between);
    add_routed_part(launches, streams, backward_degree, between);
    gradients.take(slices_here.beside_dense, launches);
    launches.push_back({kRouting});
    launches.push_back({kAttention});
    gradients.add(layer);
  }
  gradients.take_all(schedule.after);
  schedule.after_waits = policy.gradient == GradientPlace::kAfterAll;
  return schedule;
}

}  // namespace sim
