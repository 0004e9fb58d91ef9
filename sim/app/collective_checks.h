// What `simulate collective` refuses, each mistake at the option it is of.
#pragma once

#include <cstdint>
#include <vector>

#include "models/device.h"
#include "sim/app/collective_sweep.h"

namespace sim {

bool is_exchange(const std::string& operation);  // dispatch and combine: its sizes are tokens

struct CheckedSweep {
  DType dtype = DType::kBf16;
  std::vector<std::int64_t> sizes;  // bytes, or tokens of a rank
};

// Everything that can be said before the cluster is read. Throws Error with every mistake.
CheckedSweep check_arguments(const CollectiveArguments& arguments);

// What depends on the cluster and the ranks. Throws Error.
void check_on_cluster(const CollectiveArguments& arguments, const Cluster& cluster,
                      const std::vector<const Device*>& types, int ranks, int nodes);

// A limit on groups of experts must leave whole groups with enough experts. Throws Error.
void check_expert_groups(const CollectiveArguments& arguments, const GroupLimit& limit);

}  // namespace sim
