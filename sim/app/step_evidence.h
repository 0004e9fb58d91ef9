// What a run hands out as a step ends, for whoever explains it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "analysis/records.h"
#include "sim/core/path_log.h"
#include "sim/policies/placement/placement.h"

namespace sim {

// Valid during the call.
struct StepEvidence {
  const StepBatch& batch;
  const std::vector<PathSegment>& path;  // the critical one, from begin to end
  const std::vector<ExpertPlacement>& placements;
  const std::function<std::string(ResourceId)>& resource_name;
};

}  // namespace sim
