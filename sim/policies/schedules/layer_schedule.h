// A layer schedule is data: into how many chunks the exchanges and experts of a mixture-of-experts
// layer are cut, the stream of each operation, the order in which they are launched, and where
// slices of the dense part's gradient reduction go. It holds no durations; overlap comes out of the
// engine.
//
// The layers meant are those of FSMoE (arXiv 2501.10714): tensor and expert-tensor parallelism
// inside a node, expert and data parallelism across nodes, so that all-to-all and gradient
// all-reduce use the links between nodes, all-gather and reduce-scatter those inside.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace sim {

enum class LayerOperation : std::int8_t {
  kAttention,
  kRouting,
  kOrder,     // sorts tokens by expert, and back
  kDispatch,  // all-to-all between nodes
  kGather,    // all-gather inside a node
  kExperts,
  kScatter,  // reduce-scatter inside a node
  kCombine,  // all-to-all between nodes
  kGradient  // all-reduce between nodes, of a slice of one layer's dense gradient
};
inline constexpr std::array<std::string_view, 9> kLayerOperationNames = {
    "attention", "routing",        "order",   "dispatch",          "all_gather",
    "experts",   "reduce_scatter", "combine", "gradient_reduction"};

enum class LayerStream : std::int8_t { kCompute, kInterNode, kIntraNode };

struct Launch {
  LayerOperation operation = LayerOperation::kAttention;
  LayerStream stream = LayerStream::kCompute;
  int chunk = 0;
  int chunks = 1;    // that the operation is cut into
  int of_layer = 0;  // kGradient: whose, counted in the order of the backward pass
  double share = 0;  // kGradient: of that layer's whole gradient
};

struct LayerSchedule {
  int layers = 0;
  std::vector<Launch> forward;                // of every layer alike
  std::vector<std::vector<Launch>> backward;  // per layer, the model's last one first
  std::vector<Launch> after;                  // gradients that are left, behind all layers
  bool after_waits = false;                   // for the whole backward pass
};

// Where the reduction of a layer's gradient runs. It is ready when the layer's backward pass ends,
// so it runs in later ones.
enum class GradientPlace : std::int8_t {
  kAfterAll,       // when all layers are done
  kDensePart,      // whole, beside the next layer's dense part
  kAfterDispatch,  // in pieces of a fixed size after the next layer's last dispatch chunk
  kWindows,        // in slices as long as the link between nodes idles
};

struct LayerPolicy {
  std::string_view name;
  std::string_view help;
  std::string_view source;
  bool overlapped = true;   // communication has streams of its own
  bool inter_intra = true;  // one for the links between nodes, one for those inside
  bool one_degree = true;   // the same number of chunks forward and backward
  GradientPlace gradient = GradientPlace::kAfterAll;
};

inline constexpr std::array<LayerPolicy, 6> kLayerPolicies = {{
    {"ds-moe", "nothing overlaps", "DeepSpeed-MoE, arXiv 2201.05596", false, false, true,
     GradientPlace::kAfterAll},
    {"tutel", "communication beside experts, chunk by chunk", "Tutel, arXiv 2206.03382; PipeMoE",
     true, false, true, GradientPlace::kAfterAll},
    {"tutel-improved", "tutel, and gradients reduced beside dense parts", "FSMoE, arXiv 2501.10714",
     true, false, true, GradientPlace::kDensePart},
    {"pipemoe-lina", "tutel, and gradients reduced in pieces of 30 MB between exchanges",
     "Lina, ATC 2023, as FSMoE compares with it", true, false, true, GradientPlace::kAfterDispatch},
    {"fsmoe-no-iio", "fsmoe with one stream for all communication", "FSMoE, arXiv 2501.10714", true,
     false, false, GradientPlace::kWindows},
    {"fsmoe", "links inside and between nodes overlap; gradients are sliced into idle windows",
     "FSMoE, arXiv 2501.10714", true, true, false, GradientPlace::kWindows},
}};
const LayerPolicy& find_layer_policy(std::string_view name);  // throws Error with a suggestion

// Shares of one layer's gradient that run in a layer of the backward pass.
struct GradientSlices {
  std::vector<double> after_dispatch;  // in launch order; a slice each
  double beside_dense = 0;
};

// `slices`: per layer of the backward pass; what they leave runs at the end. Slices are taken from
// the oldest gradient that is ready. REQUIRES: degrees and layers >= 1; 1 where nothing overlaps.
LayerSchedule make_layer_schedule(const LayerPolicy& policy, int forward_degree,
                                  int backward_degree, int layers,
                                  const std::vector<GradientSlices>& slices);

}  // namespace sim
