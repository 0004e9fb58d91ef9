// How the ranks are grouped: world = tp * dp outside the experts, and the same ranks = ep * edp for
// experts.
//
// One rank per GPU, rank i is GPU i. tp varies fastest, then dp. The ranks of an EP group are
// consecutive.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/core/id.h"

namespace sim {

struct ParallelRequest {  // what the scenario says; absent is derived
  std::optional<int> tp;
  std::optional<int> dp;
  std::optional<int> ep;
  std::optional<int> edp;
};

struct ParallelLayout {
  int world = 1;
  int tp = 1;   // attention, dense FFN
  int dp = 1;   // attention replicas
  int ep = 1;   // ranks that share one set of experts
  int edp = 1;  // such sets

  int tp_group(int rank) const { return rank / tp; }
  int ep_group(int rank) const { return rank / ep; }
  std::vector<DeviceId> tp_devices(int group) const { return consecutive(group * tp, tp); }
  std::vector<DeviceId> ep_devices(int group) const { return consecutive(group * ep, ep); }

 private:
  static std::vector<DeviceId> consecutive(int first, int count);
};

// Throws Error when the degrees disagree with each other or with the number of GPUs; says what each
// came out as.
ParallelLayout derive_layout(const ParallelRequest& request, int gpus);

}  // namespace sim
