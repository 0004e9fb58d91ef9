// NVLink SHARP ("NVLS"): the switch sums what it reads from all ranks of a piece, and copies what
// one rank writes to all. Per rank, out of and into the switch: all-reduce S + S/g each way;
// all-gather S/g out, S in; reduce-scatter S out, S/g in. No steps.
#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "sim/core/error.h"
#include "sim/policies/collectives/collective_builder.h"

namespace sim {

void in_switch_collective(CollectiveBuilder& builder) {
  const std::string_view operation = builder.call().operation;
  if (!builder.one_scale_up_domain()) {
    throw Error("nccl-nvls sums inside one NVLink domain, and these ranks are on several",
                "take nccl-tree, nccl-ring or hierarchical");
  }
  builder.start(0);
  const double g = builder.ranks();
  double up = 1 / g;
  double down = 1;
  if (operation == "reduce-scatter") std::swap(up, down);
  if (operation == "all-reduce") up = down = 1 + 1 / g;
  std::vector<std::int32_t> everyone(static_cast<std::size_t>(builder.ranks()));
  std::iota(everyone.begin(), everyone.end(), 0);
  Duration latency{0};
  for (const std::int32_t rank : everyone)
    latency = std::max(latency, builder.ports(rank, up, down));
  builder.flush(everyone, builder.bytes(), operation == "all-reduce" ? latency * 2 : latency);
}

}  // namespace sim
