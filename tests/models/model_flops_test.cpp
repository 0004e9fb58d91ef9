#include "models/model_flops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "models/model_reader.h"
#include "models/weights.h"
#include "tests/models/tiny_models.h"

namespace sim {
namespace {

MoeModel catalogued(const std::string& name) {
  return read_model(std::string(MOE_SOURCE_DIR) + "/models/catalog/" + name + ".yaml");
}

TEST(ModelFlops, TinyModelByHand) {
  // Two layers, sequence 3: 6 pairs, 2 heads x (4 + 4), 2 flops.
  const TokenFlops flops = token_flops(testing::tiny_grouped(), 3);
  EXPECT_DOUBLE_EQ(flops.attention, 2 * 2.0 * 6 * 2 * 8 / 3);
  // Matrices: attention 192 each, dense 384, router 32, shared 144, two experts of 144, head 256.
  EXPECT_DOUBLE_EQ(flops.matrices, 2 * (2 * 192.0 + 384 + 32 + 144 + 2 * 144 + 256));
  EXPECT_DOUBLE_EQ(flops.training(), 3 * (flops.matrices + flops.attention));
  EXPECT_DOUBLE_EQ(token_flops(testing::tiny_grouped(), 3, AttentionCount::kFull).attention,
                   2 * 2.0 * 9 * 2 * 8 / 3);
}

// Published TFLOPS per GPU over tokens per second per GPU, GFLOP per token of training, and by how
// much ours is off, in percent. Megatron-Bridge's performance summaries (their commit 067f987d):
// 26.06 unless said, medians of their rows, which spread by rounding up to 1 % for Qwen3-30B-A3B
// and 0.2 % for the others. Grok-1: MFU x peak x GPUs / tokens per second of the DGX Cloud recipes
// 25.04 on 512 H100 at 989 TFLOPS.
TEST(ModelFlops, AgreeWithWhatPublishersCount) {
  struct Row {
    const char* model;
    std::int64_t sequence;
    double published;
    double off;
  };
  for (const Row& row : {
           Row{"deepseek-v3", 4096, 249.71, 0.30},  // 25.11, without multi-token prediction
           Row{"kimi-k2", 4096, 204.58, 0.44},
           Row{"qwen3-30b-a3b", 4096, 23.00, 0.36},
           Row{"qwen3-235b-a22b", 4096, 148.09, 0.17},
           Row{"gpt-oss-120b", 4096, 32.59, 0.37},
           Row{"grok-1", 8192, 521.2, 0.14},
       }) {
    SCOPED_TRACE(row.model);
    const double ours = model_flops_per_token(catalogued(row.model), row.sequence) * 1e-9;
    EXPECT_NEAR((ours / row.published - 1) * 100, row.off, 0.02) << ours;
  }
  // Until 26.04 they counted gpt-oss-120b at 27.2 (at 4096; 30.8 at 8192), a sixth less than since;
  // their rows with multi-token prediction hold its layer, 260.0, which the catalog's has not.
  EXPECT_NEAR(model_flops_per_token(catalogued("gpt-oss-120b"), 4096) * 1e-9 / 27.18, 1.203, 0.001);
  EXPECT_NEAR(model_flops_per_token(catalogued("deepseek-v3"), 4096) * 1e-9 / 260.02, 0.963, 0.001);
}

// Six flops per parameter that a token uses, as a rule of thumb has it, leaves attention out.
TEST(ModelFlops, SixPerActiveParameter) {
  for (const char* name : {"mixtral-8x7b", "qwen3-235b-a22b", "deepseek-v3"}) {
    const MoeModel model = catalogued(name);
    ParameterCount active = active_parameter_count(model);
    active.embedding = 0;
    const double matrices = 3 * token_flops(model, 4096).matrices;
    EXPECT_NEAR(matrices / (6 * static_cast<double>(active.total())), 1, 0.001) << name;
  }
}

}  // namespace
}  // namespace sim
