#include "models/memory.h"

#include <gtest/gtest.h>

#include "models/model_reader.h"
#include "models/weights.h"
#include "tests/models/tiny_models.h"

namespace sim {
namespace {

const std::string kCatalog = std::string(MOE_SOURCE_DIR) + "/models/catalog/";

Bytes item(const std::vector<MemoryItem>& items, const std::string& name) {
  for (const MemoryItem& i : items) {
    if (i.name == name) return i.bytes;
  }
  return Bytes{};
}

TEST(Memory, TinyModelByHand) {
  const MoeModel model = testing::tiny_grouped();
  WeightShare share = whole_model(model, 1, 2);
  EXPECT_EQ(share.expert_slots, 2);
  const auto items = weight_memory(model, share);
  EXPECT_EQ(item(items, "weights: embedding"), testing::amount(32 * 8 * 2));
  EXPECT_EQ(item(items, "weights: lm_head"), testing::amount(32 * 8 * 2));
  EXPECT_EQ(item(items, "weights: attention"), testing::amount(384 * 2));
  EXPECT_EQ(item(items, "weights: dense_ffn"), testing::amount(384 * 2));
  EXPECT_EQ(item(items, "weights: routed_experts"), testing::amount(2 * 144 * 2));
  EXPECT_EQ(item(items, "weights: shared_experts"), testing::amount(144 * 2));
  EXPECT_EQ(total(items), testing::amount(2 * (parameter_count(model).total() - 288)));
  share.embedding = share.head = false;
  share.end_layer = 1;
  EXPECT_EQ(total(weight_memory(model, share)), testing::amount(2 * (192 + 384 + 16)));
  EXPECT_EQ(whole_model(model, 1, 3, 1).expert_slots, 2);
}

TEST(Memory, BytesPerTokenOfTheCacheArePublished) {
  // DeepSeek-V3: 70.272 KB, Qwen-2.5-72B-like GQA grows with heads; arXiv 2505.09343, table 1.
  const auto per_token = [](const MoeModel& model) {
    std::int64_t bytes = 0;
    for (int layer = 0; layer < static_cast<int>(model.layers.size()); ++layer) {
      bytes += kv_bytes_per_token(model, layer).count();
    }
    return bytes;
  };
  EXPECT_EQ(per_token(read_model(kCatalog + "deepseek-v3.yaml")), 70272);
  EXPECT_EQ(per_token(read_model(kCatalog + "mixtral-8x7b.yaml")), 32 * 2 * 8 * 128 * 2);
  // Mamba layers cache nothing per token: 4 of 32 layers attend.
  EXPECT_EQ(per_token(read_model(kCatalog + "jamba-mini.yaml")), 4 * 2 * 8 * 128 * 2);
}

TEST(Memory, CacheOfSequencesWindowsAndStates) {
  const MoeModel v3 = read_model(kCatalog + "deepseek-v3.yaml");
  const std::vector<std::int64_t> contexts = {1000, 3000};
  EXPECT_EQ(total(kv_memory(v3, contexts, 8, 0, 61)),
            testing::amount(4000 * 70272));  // whole on every rank
  const MoeModel oss = read_model(kCatalog + "gpt-oss-20b.yaml");
  constexpr std::int64_t layer = std::int64_t{2} * 8 * 64 * 2;  // 12 layers keep 128 tokens, 12 all
  EXPECT_EQ(total(kv_memory(oss, contexts, 1, 0, 24)),
            testing::amount(12 * layer * (2 * 128 + 4000)));
  EXPECT_EQ(total(kv_memory(oss, contexts, 8, 0, 24)) * 8,
            total(kv_memory(oss, contexts, 1, 0, 24)));
  EXPECT_EQ(total(kv_memory(oss, contexts, 16, 0, 24)), total(kv_memory(oss, contexts, 8, 0, 24)));
  const MoeModel jamba = read_model(kCatalog + "jamba-mini.yaml");
  const auto items = kv_memory(jamba, contexts, 1, 0, 32);
  EXPECT_EQ(item(items, "recurrent states"),
            testing::amount(2 * 28 * (8192 * 16 * 4 + 8192 * 3 * 2)));
}

TEST(Memory, CheckpointSizesArePublished) {
  // gpt-oss model card (arXiv 2508.10925, table 1): 60.8 GiB and 12.8 GiB of checkpoint.
  const auto gib = [](const char* name) {
    const MoeModel model = read_model(kCatalog + name);
    return static_cast<double>(total(weight_memory(model, whole_model(model, 1, 1))).count()) /
           (1 << 30);
  };
  EXPECT_NEAR(gib("gpt-oss-120b.yaml"), 60.8, 0.06);
  EXPECT_NEAR(gib("gpt-oss-20b.yaml"), 12.8, 0.06);
}

TEST(Memory, ActivationsGrowWithTokens) {
  const MoeModel model = read_model(kCatalog + "deepseek-v3.yaml");
  const Bytes small = total(activation_memory(model, 128, 128, 1));
  EXPECT_GT(total(activation_memory(model, 256, 128, 1)), small);
  EXPECT_LT(total(activation_memory(model, 128, 128, 8)), small);
  EXPECT_EQ(item(activation_memory(model, 128, 16, 1), "activations: logits"),
            testing::amount(16 * 129280 * 4));
  EXPECT_TRUE(activation_memory(model, 0, 0, 1).empty());
}

}  // namespace
}  // namespace sim
