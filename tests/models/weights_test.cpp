#include "models/weights.h"

#include <gtest/gtest.h>

#include "tests/models/tiny_models.h"

namespace sim {
namespace {

using testing::tiny_grouped;
using testing::tiny_latent;

TEST(Weights, TinyGroupedModelByHand) {
  const ParameterCount all = parameter_count(tiny_grouped());
  EXPECT_EQ(all.embedding, 32 * 8);
  EXPECT_EQ(all.head, 32 * 8);
  // q 8x8, k and v 4x8 each, o 8x8, in two layers.
  EXPECT_EQ(all.attention, 2 * (64 + 32 + 32 + 64));
  EXPECT_EQ(all.dense, 3 * 8 * 16);
  EXPECT_EQ(all.router, 4 * 8);
  EXPECT_EQ(all.experts, 4 * 3 * 8 * 6);
  EXPECT_EQ(all.shared, 3 * 8 * 6);
  EXPECT_EQ(all.norms, 4 * 8 + 8);  // one per block, and the final one
  EXPECT_EQ(all.total(), 256 + 256 + 384 + 384 + 32 + 576 + 144 + 40);
  const ParameterCount active = active_parameter_count(tiny_grouped());
  EXPECT_EQ(active.experts, 2 * 3 * 8 * 6);
  EXPECT_EQ(all.total() - active.total(), 2 * 3 * 8 * 6);
}

TEST(Weights, TinyLatentModelByHand) {
  const ParameterCount all = parameter_count(tiny_latent());
  // q_a 6x8, its norm 6, q_b 10x6, kv_a 7x8, its norm 5, kv_b 14x5, o 8x8.
  EXPECT_EQ(all.attention, 48 + 6 + 60 + 56 + 5 + 70 + 64);
}

TEST(Weights, OptionalPartsAreCounted) {
  MoeModel model = tiny_grouped();
  const std::int64_t before = parameter_count(model).total();
  AttentionBlock a = model.layers[0].blocks[0].attention();
  a.qkv_bias = a.output_bias = a.sinks = a.output_gate = true;
  a.qk_norm = QkNorm::kPerHead;
  model.layers[0].blocks[0].body = a;
  // q 16 (with its gate), k 4, v 4, o 8; sinks 2; gate 8x8; norms 2x4.
  EXPECT_EQ(parameter_count(model).total() - before, 16 + 4 + 4 + 8 + 2 + 64 + 8);
  FfnBlock f = model.layers[1].blocks[1].ffn();
  f.bias = f.shared_gate = f.routing->bias = f.routing->correction_bias = true;
  const std::int64_t middle = parameter_count(model).total();
  model.layers[1].blocks[1].body = f;
  // (12 + 8) per expert, four of them and a shared one; shared gate 8; router's 4 and 4.
  EXPECT_EQ(parameter_count(model).total() - middle, 5 * 20 + 8 + 8);
  model.tied_embeddings = true;
  EXPECT_EQ(parameter_count(model).head, 0);
}

TEST(Weights, StoredBytesHoldScales) {
  // 256 x 130 in fp8: 2 x 2 blocks of 128 x 128, the edge counts whole.
  EXPECT_EQ(stored_bytes(usual_format(DType::kFp8), 256, 130), testing::amount(256 * 130 + 4 * 4));
  EXPECT_EQ(stored_bytes(usual_format(DType::kMxfp4), 10, 64), testing::amount(10 * 32 + 10 * 2));
  EXPECT_EQ(stored_bytes(usual_format(DType::kNvfp4), 10, 64), testing::amount(10 * 32 + 10 * 4));
  EXPECT_EQ(stored_bytes({DType::kInt4, 1, 32, 2}, 10, 64), testing::amount(10 * 32 + 10 * 4));
  EXPECT_EQ(stored_bytes(usual_format(DType::kBf16), 3, 5), testing::amount(30));
  EXPECT_DOUBLE_EQ(bytes_per_value(DType::kMxfp4), 0.53125);
  EXPECT_DOUBLE_EQ(bytes_per_value(DType::kNvfp4), 0.5625);
}

TEST(Weights, TensorParallelismSplitsHeadsAndInter) {
  const MoeModel model = tiny_grouped();
  for (const Weight& w : block_weights(model, {0, 0})) {
    const Bytes one = bytes_of(model, w, 1);
    const Bytes two = bytes_of(model, w, 2);
    // A single key-value head is copied to both ranks, as are norms.
    if (w.name == "q_proj" || w.name == "o_proj") {
      EXPECT_EQ(two * 2, one) << w.name;
    } else {
      EXPECT_EQ(two, one) << w.name;
    }
  }
  EXPECT_EQ(expert_bytes(model, {1, 1}, 1), testing::amount(3 * 8 * 6 * 2));
  EXPECT_EQ(expert_bytes(model, {1, 1}, 2), testing::amount(3 * 8 * 3 * 2));
}

TEST(Weights, MistakesOfAModel) {
  MoeModel model = tiny_grouped();
  EXPECT_TRUE(model_mistakes(model).empty());
  FfnBlock f = model.layers[1].blocks[1].ffn();
  f.routing->top_k = 5;
  model.layers[1].blocks[1].body = f;
  EXPECT_EQ(model_mistakes(model),
            (std::vector<std::string>{
                "layer 1, block 1: top_k is 5, but must lie between 1 and 4",
                "layer 1, block 1: top_k 5 is more than 1 groups of 4 experts offer"}));
  f.routing->top_k = 2;
  f.routing->experts = 1 << 16;
  f.expert_inter = 1 << 20;
  model.hidden = 1 << 20;
  model.layers[1].blocks[1].body = f;
  EXPECT_EQ(model_mistakes(model),
            (std::vector<std::string>{"2.16e+17 parameters are more than 1e+15"}));
}

}  // namespace
}  // namespace sim
