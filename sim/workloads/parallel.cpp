#include "sim/workloads/parallel.h"

#include "sim/core/error.h"

namespace sim {
namespace {

// The two factors of `world` whose names are given; what is absent is derived.
void derive_pair(std::optional<int> a, std::optional<int> b, const char* a_name, const char* b_name,
                 int world, int& a_out, int& b_out, bool absent_a_is_one) {
  const std::string gpus = "the cluster has " + std::to_string(world) + " GPUs";
  const auto product = [&] { return std::string(a_name) + " x " + b_name; };
  if (a && b) {
    if (static_cast<long long>(*a) * *b != world) {
      throw Error(
          product() + " is " + std::to_string(static_cast<long long>(*a) * *b) + ", but " + gpus,
          "leave one of them out, or change the cluster's nodes");
    }
    a_out = *a;
    b_out = *b;
    return;
  }
  if (!a && !b) {
    a_out = absent_a_is_one ? 1 : world;
    b_out = world / a_out;
    return;
  }
  const int known = a ? *a : *b;
  if (known > world || world % known != 0) {
    throw Error(std::string(a ? a_name : b_name) + " " + std::to_string(known) +
                    " does not divide the GPUs: " + gpus,
                "change it, or the cluster's nodes");
  }
  a_out = a ? *a : world / known;
  b_out = b ? *b : world / known;
}

}  // namespace

std::vector<DeviceId> ParallelLayout::consecutive(int first, int count) {
  std::vector<DeviceId> devices;
  devices.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) devices.emplace_back(first + i);
  return devices;
}

ParallelLayout derive_layout(const ParallelRequest& request, int gpus) {
  ParallelLayout layout;
  layout.world = gpus;
  derive_pair(request.tp, request.dp, "tp", "dp", gpus, layout.tp, layout.dp, true);
  derive_pair(request.ep, request.edp, "ep", "edp", gpus, layout.ep, layout.edp, false);
  return layout;
}

}  // namespace sim
