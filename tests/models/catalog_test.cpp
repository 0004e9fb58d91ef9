#include <gtest/gtest.h>

#include <filesystem>

#include "models/config_json.h"
#include "models/describe.h"
#include "models/model_reader.h"
#include "models/operators.h"
#include "models/weights.h"
#include "tests/support/shared_data.h"

namespace sim {
namespace {

const std::string kCatalog = std::string(MOE_SOURCE_DIR) + "/models/catalog/";

TEST(Catalog, EveryModelReadsAndIsNamedAfterItsFile) {
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kCatalog)) {
    SCOPED_TRACE(entry.path().filename().string());
    const MoeModel model = read_model(entry.path().string());
    EXPECT_EQ(model.name, entry.path().stem().string());
    EXPECT_FALSE(model.source.empty());
    EXPECT_FALSE(routed_blocks(model).empty());
    EXPECT_NE(describe(model).find(model.name), std::string::npos);
    ++models;
  }
  EXPECT_GE(models, 12);
}

struct Pair {
  const char* catalog;
  const char* config;
};

TEST(Catalog, AgreesWithTheImportedConfig) {
  MOE_NEEDS_SHARED_DATA();
  const std::string configs = testing::shared_dir() + "/data/model_configs/";
  for (const Pair& pair : {
           Pair{"deepseek-v3", "aiconfigurator/deepseek-ai--DeepSeek-V3.json"},
           Pair{"deepseek-v3", "deepseek-v3-inference/config_671B.json"},
           Pair{"deepseek-v2", "deepseek-v3-inference/config_236B.json"},
           Pair{"deepseek-v2-lite", "moe-lrc/deepseek2.json"},
           Pair{"gpt-oss-20b", "aiconfigurator/openai--gpt-oss-20b.json"},
           Pair{"gpt-oss-120b", "aiconfigurator/openai--gpt-oss-120b.json"},
           Pair{"mixtral-8x7b", "aiconfigurator/mistralai--Mixtral-8x7B-v0.1.json"},
           Pair{"mixtral-8x22b", "aiconfigurator/mistralai--Mixtral-8x22B-v0.1.json"},
           Pair{"qwen3-30b-a3b", "aiconfigurator/Qwen--Qwen3-30B-A3B.json"},
           Pair{"qwen3-235b-a22b", "aiconfigurator/Qwen--Qwen3-235B-A22B.json"},
           Pair{"olmoe-1b-7b", "moe-lrc/olmoe.json"},
           Pair{"kimi-k2", "aiconfigurator/moonshotai--Kimi-K2-Instruct.json"},
           Pair{"qwen1.5-moe-a2.7b", "moe-lrc/qwen.json"},
           Pair{"llama-4-scout", "aiconfigurator/meta-llama--Llama-4-Scout-17B-16E-Instruct.json"},
       }) {
    SCOPED_TRACE(pair.config);
    const MoeModel ours = read_model(kCatalog + pair.catalog + ".yaml");
    const MoeModel theirs = read_config_json(configs + pair.config);
    EXPECT_EQ(parameter_count(ours).total(), parameter_count(theirs).total());
    EXPECT_EQ(active_parameter_count(ours).total(), active_parameter_count(theirs).total());
    TokenBatch batch;
    batch.tokens = batch.sequences = batch.logit_rows = 4;
    batch.attended_pairs = batch.kv_tokens_read = 4000;
    batch.max_context = 1000;
    const auto a = all_operators(ours, batch, 1);
    const auto b = all_operators(theirs, batch, 1);
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].op.name, b[i].op.name);
      EXPECT_EQ(a[i].op.flops, b[i].op.flops) << a[i].op.name;
      EXPECT_EQ(a[i].op.weight_bytes, b[i].op.weight_bytes) << a[i].op.name;
      EXPECT_EQ(a[i].op.activation_bytes, b[i].op.activation_bytes) << a[i].op.name;
    }
  }
}

TEST(Catalog, DescribesDeepSeekV3) {
  EXPECT_EQ(
      describe(read_model(kCatalog + "deepseek-v3.yaml")),
      "deepseek-v3\n"
      "source: huggingface.co/deepseek-ai/DeepSeek-V3, config.json\n"
      "note: num_nextn_predict_layers: multi-token-prediction layers are left out\n"
      "hidden 7168, vocabulary 129280, context up to 163840\n"
      "formats (stored x multiplied): activations bf16, kv cache bf16, attention fp8 x fp8, "
      "dense fp8 x fp8, experts fp8 x fp8\n"
      "61 layers:\n"
      "    3 x  MLA, 128 heads of 128+64, ranks 1536 and 512; dense FFN of 18432\n"
      "   58 x  MLA, 128 heads of 128+64, ranks 1536 and 512; top 8 of 256 experts of 2048 in "
      "4 of 8 groups, 1 shared of 2048\n"
      "kv cache: 70272 bytes per token\n"
      "parameters                   all     per token\n"
      "  embedding              0.927 B       0.927 B\n"
      "  lm head                0.927 B       0.927 B\n"
      "  attention             11.414 B      11.414 B\n"
      "  dense ffn              1.189 B       1.189 B\n"
      "  router                 0.106 B       0.106 B\n"
      "  routed experts       653.909 B      20.435 B\n"
      "  shared experts         2.554 B       2.554 B\n"
      "  norms                  0.001 B       0.001 B\n"
      "  total                671.026 B      37.552 B\n");
}

}  // namespace
}  // namespace sim
