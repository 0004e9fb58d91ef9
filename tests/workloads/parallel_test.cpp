#include "sim/workloads/parallel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.h"

namespace sim {
namespace {

using ::testing::ElementsAre;

std::string refusal(const ParallelRequest& request, int gpus) {
  try {
    derive_layout(request, gpus);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

// tp, dp, ep, edp
std::vector<int> degrees(const ParallelRequest& request, int gpus) {
  const ParallelLayout layout = derive_layout(request, gpus);
  EXPECT_EQ(layout.world, gpus);
  return {layout.tp, layout.dp, layout.ep, layout.edp};
}

TEST(Parallel, WhatIsAbsentIsDerived) {
  EXPECT_THAT(degrees({}, 16), ElementsAre(1, 16, 16, 1));
  EXPECT_THAT(degrees({4, {}, {}, {}}, 16), ElementsAre(4, 4, 16, 1));
  EXPECT_THAT(degrees({{}, 2, {}, {}}, 16), ElementsAre(8, 2, 16, 1));
  EXPECT_THAT(degrees({{}, {}, 8, {}}, 16), ElementsAre(1, 16, 8, 2));
  EXPECT_THAT(degrees({{}, {}, {}, 4}, 16), ElementsAre(1, 16, 4, 4));
  EXPECT_THAT(degrees({2, 8, 4, 4}, 16), ElementsAre(2, 8, 4, 4));
  EXPECT_THAT(degrees({}, 1), ElementsAre(1, 1, 1, 1));
}

TEST(Parallel, GroupsAreConsecutiveRanks) {
  const ParallelLayout layout = derive_layout({2, {}, 4, {}}, 8);
  EXPECT_EQ(layout.tp_group(5), 2);
  EXPECT_EQ(layout.ep_group(5), 1);
  EXPECT_THAT(layout.tp_devices(2), ElementsAre(DeviceId(4), DeviceId(5)));
  EXPECT_THAT(layout.ep_devices(1),
              ElementsAre(DeviceId(4), DeviceId(5), DeviceId(6), DeviceId(7)));
}

// tp, cp, dp, pp, etp, ep, edp
std::vector<int> all_degrees(const ParallelRequest& request, int gpus) {
  const ParallelLayout layout = derive_layout(request, gpus);
  return {layout.tp, layout.cp, layout.dp, layout.pp, layout.etp, layout.ep, layout.edp};
}

TEST(Parallel, StagesDivideBothProducts) {
  ParallelRequest request;
  request.tp = 2;
  request.cp = 2;
  request.pp = 4;
  request.etp = 2;
  request.ep = 4;
  EXPECT_THAT(all_degrees(request, 64), ElementsAre(2, 2, 4, 4, 2, 4, 2));
  request.ep.reset();  // experts over all of a stage
  EXPECT_THAT(all_degrees(request, 64), ElementsAre(2, 2, 4, 4, 2, 8, 1));
  request.dp = 5;
  EXPECT_EQ(refusal(request, 64),
            "tp x cp x dp x pp is 80, but the cluster has 64 GPUs; "
            "leave one of them out, or change the cluster's nodes");
}

TEST(Parallel, GroupsOfAStage) {
  ParallelRequest request;
  request.tp = 2;
  request.cp = 2;
  request.pp = 2;
  request.etp = 2;
  request.ep = 2;
  const ParallelLayout layout = derive_layout(request, 16);  // dp 2, edp 2
  EXPECT_EQ(layout.stage(9), 1);
  EXPECT_THAT(layout.cp_devices(13), ElementsAre(DeviceId(13), DeviceId(15)));
  EXPECT_THAT(layout.etp_devices(13), ElementsAre(DeviceId(12), DeviceId(13)));
  EXPECT_THAT(layout.dense_replicas(9),
              ElementsAre(DeviceId(9), DeviceId(11), DeviceId(13), DeviceId(15)));
  EXPECT_THAT(layout.expert_replicas(9), ElementsAre(DeviceId(9), DeviceId(13)));
  EXPECT_EQ(layout.ep_groups(), 8);
  EXPECT_EQ(layout.ep_group(13), 7);
  EXPECT_EQ(layout.ep_position(13), 0);
  EXPECT_THAT(layout.ep_devices(7), ElementsAre(DeviceId(13), DeviceId(15)));
  for (int r = 0; r < 16; ++r) {
    const std::vector<DeviceId> group = layout.ep_devices(layout.ep_group(r));
    EXPECT_EQ(group[static_cast<std::size_t>(layout.ep_position(r))], DeviceId(r));
  }
}

TEST(Parallel, DegreesThatDisagreeAreRefused) {
  EXPECT_EQ(refusal({2, 4, {}, {}}, 16),
            "tp x dp is 8, but the cluster has 16 GPUs; "
            "leave one of them out, or change the cluster's nodes");
  EXPECT_EQ(refusal({{}, {}, 8, 4}, 16),
            "ep x edp is 32, but the cluster has 16 GPUs; "
            "leave one of them out, or change the cluster's nodes");
  // No overflow on the way.
  EXPECT_EQ(refusal({1 << 20, 1 << 20, {}, {}}, 16),
            "tp x dp is 1099511627776, but the cluster has 16 GPUs; "
            "leave one of them out, or change the cluster's nodes");
}

TEST(Parallel, DegreesThatDoNotDivideAreRefused) {
  EXPECT_EQ(refusal({3, {}, {}, {}}, 16),
            "tp 3 does not divide the GPUs: the cluster has 16 GPUs; "
            "change it, or the cluster's nodes");
  EXPECT_EQ(refusal({{}, 5, {}, {}}, 16),
            "dp 5 does not divide the GPUs: the cluster has 16 GPUs; "
            "change it, or the cluster's nodes");
  EXPECT_EQ(refusal({{}, {}, 32, {}}, 16),
            "ep 32 does not divide the GPUs: the cluster has 16 GPUs; "
            "change it, or the cluster's nodes");
  EXPECT_EQ(refusal({{}, {}, {}, 7}, 16),
            "edp 7 does not divide the GPUs: the cluster has 16 GPUs; "
            "change it, or the cluster's nodes");
}

}  // namespace
}  // namespace sim
