#include "sim/workloads/parallel.h"

#include <algorithm>
#include <initializer_list>

#include "sim/core/error.h"

namespace sim {
namespace {

struct Factor {
  const char* name;
  std::optional<int> wish;
  int* out;
};

// `world` as a product of factors, in the order in which they are named. What is absent is 1, but
// one of `spread` and `rest` is what the others leave: `rest` unless it is given.
void derive_product(std::initializer_list<Factor> factors, const Factor& spread, const Factor& rest,
                    int world) {
  const std::string gpus = "the cluster has " + std::to_string(world) + " GPUs";
  long long known = 1;
  std::string names;
  for (const Factor& factor : factors) {
    *factor.out = factor.wish.value_or(1);
    if (!factor.wish) continue;
    known = std::min(known * *factor.wish, 1LL << 40);  // more than any world, and no overflow
    names += (names.empty() ? "" : " x ") + std::string(factor.name);
  }
  if (spread.wish && rest.wish) {
    if (known == world) return;
    throw Error(names + " is " + std::to_string(known) + ", but " + gpus,
                "leave one of them out, or change the cluster's nodes");
  }
  if (known > world || world % known != 0) {
    throw Error(names + (names.find(' ') == std::string::npos ? " " : " = ") +
                    std::to_string(known) + " does not divide the GPUs: " + gpus,
                "change it, or the cluster's nodes");
  }
  *(rest.wish ? spread : rest).out = world / static_cast<int>(known);
}

}  // namespace

std::vector<DeviceId> ParallelLayout::every(int first, int count, int stride) {
  std::vector<DeviceId> devices;
  devices.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) devices.emplace_back(first + i * stride);
  return devices;
}

std::vector<DeviceId> ParallelLayout::cp_devices(int rank) const {
  const int group = rank / (tp * cp);
  return every(group * tp * cp + rank % tp, cp, tp);
}

std::vector<DeviceId> ParallelLayout::dense_replicas(int rank) const {
  return every(first_rank(stage(rank)) + rank % tp, dp * cp, tp);
}

std::vector<DeviceId> ParallelLayout::expert_replicas(int rank) const {
  return every(first_rank(stage(rank)) + rank % (etp * ep), edp, etp * ep);
}

ParallelLayout derive_layout(const ParallelRequest& request, int gpus) {
  ParallelLayout layout;
  layout.world = gpus;
  const Factor tp{"tp", request.tp, &layout.tp}, cp{"cp", request.cp, &layout.cp},
      dp{"dp", request.dp, &layout.dp}, pp{"pp", request.pp, &layout.pp},
      etp{"etp", request.etp, &layout.etp}, ep{"ep", request.ep, &layout.ep},
      edp{"edp", request.edp, &layout.edp};
  derive_product({tp, cp, dp, pp}, tp, dp, gpus);
  derive_product({etp, ep, edp, pp}, edp, ep, gpus);
  return layout;
}

}  // namespace sim
