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
