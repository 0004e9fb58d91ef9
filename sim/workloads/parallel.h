// How the ranks are grouped: world = tp * cp * dp * pp outside the experts, and the same ranks =
// etp * ep * edp * pp for experts.
//
// One rank per GPU, rank i is GPU i. tp varies fastest, then cp, dp, pp; for experts etp, then ep,
// edp, pp. A pipeline stage is world / pp consecutive ranks; the ranks of an EP group are
// consecutive in it, or with expert tensor parallelism every etp-th.
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
  std::optional<int> cp = {};   // absent: 1
  std::optional<int> pp = {};   // absent: 1
  std::optional<int> etp = {};  // absent: 1
};

struct ParallelLayout {
  int world = 1;
  int tp = 1;   // attention, dense FFN
  int dp = 1;   // attention replicas
  int ep = 1;   // ranks that share one set of experts
  int edp = 1;  // such sets in a pipeline stage
  int cp = 1;   // ranks (of a TP group: groups) that share the tokens of a sequence
  int pp = 1;   // pipeline stages
  int etp = 1;  // ranks that share each expert

  int stage_ranks() const { return world / pp; }
  int stage(int rank) const { return rank / stage_ranks(); }
  int first_rank(int stage) const { return stage * stage_ranks(); }

  int tp_group(int rank) const { return rank / tp; }
  // Groups that exchange tokens; world / ep of them, those of a stage consecutive.
  int ep_groups() const { return world / ep; }
  int ep_group(int rank) const { return rank / (etp * ep) * etp + rank % etp; }
  int ep_position(int rank) const { return rank / etp % ep; }  // in its group

  std::vector<DeviceId> tp_devices(int group) const { return every(group * tp, tp, 1); }
  std::vector<DeviceId> ep_devices(int group) const {
    return every(group / etp * etp * ep + group % etp, ep, etp);
  }
  // Of a rank: those that hold the same tokens' other parts, the same expert's other parts, the
  // same weights of attention and dense blocks, the same experts.
  std::vector<DeviceId> cp_devices(int rank) const;
  std::vector<DeviceId> etp_devices(int rank) const { return every(rank / etp * etp, etp, 1); }
  std::vector<DeviceId> dense_replicas(int rank) const;   // dp * cp ranks
  std::vector<DeviceId> expert_replicas(int rank) const;  // edp ranks

 private:
  static std::vector<DeviceId> every(int first, int count, int stride);
};

// Throws Error when the degrees disagree with each other or with the number of GPUs; says what each
// came out as.
ParallelLayout derive_layout(const ParallelRequest& request, int gpus);

}  // namespace sim
