#include "topologies/calibration/token_traffic.h"

#include <gtest/gtest.h>

#include "sim/core/error.h"

namespace sim {
namespace {

TokenShape shape_of(std::int64_t tokens, int top_k, int experts, int ranks, int nodes,
                    int top_groups = 0) {
  return {tokens, top_k, experts, ranks, nodes, top_groups, TokenSpread::kUniform};
}

TEST(TokenTraffic, DistinctGroupsByHand) {
  // Two of four experts in two groups: a pair inside one group in 2 of 6 cases.
  EXPECT_DOUBLE_EQ(expected_groups(2, 4, 2), 2 * (1 - 1.0 / 6));
  EXPECT_DOUBLE_EQ(expected_groups(1, 256, 8), 1);
  EXPECT_DOUBLE_EQ(expected_groups(256, 256, 8), 8);
  EXPECT_DOUBLE_EQ(expected_groups(2, 4, 4), 2);
}

TEST(TokenTraffic, DistinctGroupsOfDeepSeekV3AreThePublishedOnes) {
  // Ranks 8, 16, 32, 64, 128 and nodes 2, 4, 8, 16 of 256 experts, top-8.
  const double expected[] = {5.30, 6.52, 7.27, 7.68, 7.89, 1.99, 3.61, 5.30, 6.52};
  const int groups[] = {8, 16, 32, 64, 128, 2, 4, 8, 16};
  for (int i = 0; i < 9; ++i) EXPECT_NEAR(expected_groups(groups[i], 256, 8), expected[i], 0.02);
}

TEST(TokenTraffic, DrawnTokensTouchWhatTheFormulaSays) {
  for (const int nodes : {1, 2, 4, 8}) {
    for (const int top_k : {1, 2, 8}) {
      const TokenTraffic drawn = count_traffic(shape_of(2000, top_k, 256, 8 * nodes, nodes), 1);
      const double ranks = expected_groups(8 * nodes, 256, top_k);
      const double in_nodes = expected_groups(nodes, 256, top_k);
      EXPECT_NEAR(drawn.ranks_per_token / ranks, 1, 0.005) << nodes << " nodes, top " << top_k;
      EXPECT_NEAR(drawn.nodes_per_token / in_nodes, 1, 0.005) << nodes << " nodes, top " << top_k;
      EXPECT_NEAR(drawn.remote_nodes_per_token, in_nodes * (nodes - 1) / nodes, 0.02);
    }
  }
}

TEST(TokenTraffic, GroupLimitedTokensStayInFourNodes) {
  const TokenTraffic eight = count_traffic(shape_of(500, 8, 256, 64, 8, 4), 1);
  EXPECT_NEAR(eight.nodes_per_token, 3.98, 0.02);
  EXPECT_NEAR(eight.ranks_per_token, 7.47, 0.04);
  const TokenTraffic sixteen = count_traffic(shape_of(250, 8, 256, 128, 16, 4), 1);
  EXPECT_NEAR(sixteen.nodes_per_token, 4.00, 0.02);
  // As many groups as nodes are no limit.
  EXPECT_NEAR(count_traffic(shape_of(500, 8, 256, 32, 4, 4), 1).nodes_per_token, 3.61, 0.03);
}

TEST(TokenTraffic, TheBusierDirectionCarriesAtLeastTheMean) {
  const std::int64_t tokens = 512;
  const TokenTraffic drawn = count_traffic(shape_of(tokens, 8, 256, 32, 4), 1);
  const double rows = 8.0 * tokens;
  EXPECT_GE(drawn.per_row.nic, rows * 24 / 32);
  EXPECT_LE(drawn.per_row.nic, rows * 24 / 32 * 1.1);
  EXPECT_GE(drawn.per_row.nvlink, rows * 7 / 32);
  EXPECT_GE(drawn.per_rank.nic, tokens * drawn.ranks_per_token * 24 / 32);
  EXPECT_GE(drawn.per_node.nic, tokens * drawn.remote_nodes_per_token);
  // Forwarded copies reach 7 of 8 ranks of every node over NVLink.
  EXPECT_GE(drawn.per_node.nvlink, tokens * drawn.ranks_per_token * 7 / 8);
  EXPECT_LE(drawn.per_node.nvlink, tokens * drawn.ranks_per_token * 7 / 8 * 1.1);
  // What is sent once per node never exceeds what is sent once per rank, nor that per row.
  EXPECT_LT(drawn.per_node.nic, drawn.per_rank.nic);
  EXPECT_LT(drawn.per_rank.nic, drawn.per_row.nic);
}

TEST(TokenTraffic, APerfectRouterLoadsAllAlike) {
  TokenShape shape = shape_of(1024, 8, 256, 16, 1);
  shape.spread = TokenSpread::kBalanced;
  const TokenTraffic balanced = count_traffic(shape, 1);
  EXPECT_DOUBLE_EQ(balanced.ranks_per_token, 8);
  EXPECT_DOUBLE_EQ(balanced.per_rank.nvlink, 1024 * 8 * 15.0 / 16);
  shape.ranks = 4;
  EXPECT_DOUBLE_EQ(count_traffic(shape, 1).per_rank.nvlink, 1024 * 4 * 3.0 / 4);
}

TEST(TokenTraffic, AShapeThatIsNoneIsRefused) {
  const auto message = [](const TokenShape& shape) {
    try {
      count_traffic(shape, 1);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(message(shape_of(4, 8, 4, 2, 1)), "tokens of a benchmark: top-k 8 of 4 experts");
  EXPECT_EQ(message(shape_of(4, 2, 4, 9, 2)),
            "tokens of a benchmark: 9 ranks do not fill 2 nodes evenly");
  EXPECT_EQ(message(shape_of(0, 2, 4, 2, 1)),
            "tokens of a benchmark: tokens, top-k, experts, ranks and nodes must be positive");
  EXPECT_EQ(message(shape_of(1, 8, 8, 8, 8, 4)),
            "tokens of a benchmark: the best 4 nodes do not hold top-k experts");
  EXPECT_EQ(message(shape_of(1000000000, 8, 256, 64, 8)),
            "tokens of a benchmark: more choices than are worth drawing");
}

}  // namespace
}  // namespace sim
