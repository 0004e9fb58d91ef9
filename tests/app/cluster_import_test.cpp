// `simulate cluster import`: a file of a machine, shown and run on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/app/refusal.h"
#include "tests/support/shared_data.h"

namespace sim::testing {
namespace {

using ::testing::HasSubstr;

class ClusterImport : public Refusal {
 protected:
  std::string ok(const std::vector<std::string>& arguments) {
    const CommandResult result = simulate(folder_, arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
  static std::string h800() {
    return shared_dir() + "/data/topologies/zy-uestc-yccl/topo_h800.xml";
  }
};

TEST_F(ClusterImport, ADumpIsShownAndRunOn) {
  MOE_NEEDS_SHARED_DATA();
  EXPECT_EQ(ok({"cluster", "import", h800(), "-o", "h800.yaml", "--nodes", "2"}),
            "h800.yaml: NCCL topology XML, 2 nodes of 8 x h800-sxm\n"
            "  GPU to GPU in a node: 200 GB/s per direction over the slowest link\n"
            "  gpu0 leaves by mlx5_0\n  gpu1 leaves by mlx5_3\n  gpu2 leaves by mlx5_4\n"
            "  gpu3 leaves by mlx5_5\n  gpu4 leaves by mlx5_6\n  gpu5 leaves by mlx5_7\n"
            "  gpu6 leaves by mlx5_8\n  gpu7 leaves by mlx5_9\n"
            "note: no such file has the constants of communication kernels: copy 'communication' "
            "and 'collectives' of a catalog cluster, or line rates are used\n");
  const std::string shown = ok({"cluster", "show", "h800.yaml"});
  EXPECT_THAT(shown, HasSubstr("h800: 2 nodes, 16 GPUs\n"));
  EXPECT_THAT(shown, HasSubstr("nvlink-x8: 200 GB/s (published: 8 links; NVIDIA data sheets"));
  EXPECT_THAT(ok({"cluster", "show", "h800.yaml", "--set", "nodes=3"}), HasSubstr("24 GPUs"));
  const std::string summary = ok({"run", "good.yaml", "--set", "cluster=h800.yaml", "--set",
                                  "disturbances=[{link: "
                                  "'node0/mlx5_0/port-*', capacity: 0.5}]"});
  EXPECT_THAT(summary, HasSubstr("tiny, decode on 16 x h800-sxm (h800, 2 nodes)"));
  EXPECT_THAT(summary, HasSubstr("node0/mlx5_0/port-* (2 links): capacity 0.5 of its own"));
  // The same file again is the same bytes.
  const std::string first = folder_.read("h800.yaml");
  ok({"cluster", "import", h800(), "-o", "h800.yaml", "--nodes", "2"});
  EXPECT_EQ(folder_.read("h800.yaml"), first);
}

TEST_F(ClusterImport, WhatCannotBeUsedIsSaidAndNothingIsWritten) {
  MOE_NEEDS_SHARED_DATA();
  EXPECT_EQ(refused({"cluster", "import", "nothing.xml", "-o", "out.yaml"}),
            "nothing.xml: cannot be read: No such file or directory\n");
  folder_.write("a.xml", "<system/>");
  EXPECT_EQ(refused({"cluster", "import", "a.xml", "-o", "a.xml"}),
            "a.xml: the result would be written over the file it is made from\n");
  EXPECT_EQ(
      refused({"cluster", "import", h800(), "-o", "out.yaml", "--nvlink", "fast"}).substr(0, 10),
      "--nvlink: ");
  EXPECT_EQ(refused({"cluster", "import", h800(), "-o", "out.yaml", "--nvlink", "1 GB/s",
                     "--without-nvlink"}),
            "--nvlink: contradicts --without-nvlink\n");
  EXPECT_EQ(refused({"cluster", "import", h800(), "-o", "nowhere/out.yaml"}),
            "nowhere/out.yaml: cannot be written\n");
}

}  // namespace
}  // namespace sim::testing
