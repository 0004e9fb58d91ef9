#include "models/config_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "models/model_reader.h"
#include "models/weights.h"
#include "sim/core/error.h"
#include "tests/support/shared_data.h"

namespace sim {
namespace {

std::string configs() { return testing::shared_dir() + "/data/model_configs/"; }

// What a publisher counts as active beside the layers.
enum class Counts { kAll, kHeadOnly, kLayersOnly };

struct Published {
  const char* file;
  double total;  // billions, as printed
  double total_tolerance;
  double active;  // 0: not published
  double active_tolerance;
  Counts counts;  // the definition that is compared; publishers rarely state theirs
  const char* source;
};

// Tolerances above 2 % stand where the figure is printed with one or two digits.
constexpr Published kPublished[] = {
    {"aiconfigurator/deepseek-ai--DeepSeek-V3.json", 671, .01, 37, .02, Counts::kAll,
     "arXiv 2412.19437, without the MTP module"},
    {"aiconfigurator/deepseek-ai--DeepSeek-R1.json", 671, .01, 37, .02, Counts::kAll,
     "arXiv 2501.12948"},
    {"simai/deepseek_v3_config.json", 671, .01, 37, .02, Counts::kAll, "arXiv 2412.19437"},
    {"deepseek-v3-inference/config_671B.json", 671, .01, 37, .02, Counts::kAll, "arXiv 2412.19437"},
    {"deepseek-v3-inference/config_236B.json", 236, .01, 21, .02, Counts::kAll, "arXiv 2405.04434"},
    {"deepseek-v3-inference/config_16B.json", 15.7, .01, 2.4, .025, Counts::kHeadOnly,
     "arXiv 2405.04434, appendix B"},
    {"moe-lrc/deepseek2.json", 15.7, .01, 2.4, .025, Counts::kHeadOnly,
     "arXiv 2405.04434, appendix B"},
    {"moe-lrc/deepseek.json", 16.4, .01, 2.8, .02, Counts::kAll, "arXiv 2401.06066"},
    {"aiconfigurator/mistralai--Mixtral-8x7B-v0.1.json", 46.7, .01, 12.9, .01, Counts::kAll,
     "mistral.ai/news/mixtral-of-experts"},
    {"moe-lrc/mixtral.json", 46.7, .01, 12.9, .01, Counts::kAll,
     "mistral.ai/news/mixtral-of-experts"},
    {"aiconfigurator/mistralai--Mixtral-8x22B-v0.1.json", 141, .01, 39, .01, Counts::kAll,
     "mistral.ai/news/mixtral-8x22b"},
    {"aiconfigurator/Qwen--Qwen3-235B-A22B.json", 235, .01, 22, .01, Counts::kAll,
     "arXiv 2505.09388"},
    {"aiconfigurator/Qwen--Qwen3-30B-A3B.json", 30.5, .01, 3.3, .02, Counts::kAll,
     "huggingface.co/Qwen/Qwen3-30B-A3B"},
    {"moe-lrc/qwen3.json", 30.5, .01, 3.3, .02, Counts::kAll, "huggingface.co/Qwen/Qwen3-30B-A3B"},
    {"aiconfigurator/Qwen--Qwen3-Coder-480B-A35B-Instruct.json", 480, .01, 35, .02, Counts::kAll,
     "huggingface.co/Qwen/Qwen3-Coder-480B-A35B-Instruct"},
    {"aiconfigurator/Qwen--Qwen3.5-397B-A17B.json", 397, .01, 17, .025, Counts::kAll,
     "huggingface.co/Qwen/Qwen3.5-397B-A17B (its name)"},
    {"aiconfigurator/Qwen--Qwen3.5-35B-A3B.json", 35, .01, 3, .02, Counts::kHeadOnly,
     "huggingface.co/Qwen/Qwen3.5-35B-A3B (its name)"},
    {"simai/qwen3-next-80B-A3B_config.json", 80, .01, 3, .10, Counts::kLayersOnly,
     "huggingface.co/Qwen/Qwen3-Next-80B-A3B-Instruct; 3 is one digit"},
    {"moe-lrc/qwen.json", 14.3, .01, 2.7, .01, Counts::kAll,
     "huggingface.co/Qwen/Qwen1.5-MoE-A2.7B"},
    {"moe-lrc/qwen2.json", 57.4, .01, 14.2, .01, Counts::kAll,
     "huggingface.co/Qwen/Qwen2-57B-A14B"},
    {"aiconfigurator/openai--gpt-oss-120b.json", 116.83, .001, 5.13, .002, Counts::kHeadOnly,
     "arXiv 2508.10925, table 1: active without the embedding"},
    {"aiconfigurator/openai--gpt-oss-20b.json", 20.91, .001, 3.61, .002, Counts::kHeadOnly,
     "arXiv 2508.10925, table 1: active without the embedding"},
    {"moe-lrc/olmoe.json", 6.9, .01, 1.3, .02, Counts::kAll, "arXiv 2409.02060"},
    {"moe-lrc/phi.json", 41.9, .01, 6.6, .01, Counts::kAll,
     "huggingface.co/microsoft/Phi-3.5-MoE-instruct"},
    {"moe-lrc/grin.json", 41.9, .01, 6.6, .01, Counts::kAll, "arXiv 2409.12136"},
    {"aiconfigurator/moonshotai--Kimi-K2-Instruct.json", 1040, .02, 32.6, .01, Counts::kAll,
     "arXiv 2507.20534: 1.04T, 32.6B"},
    {"aiconfigurator/moonshotai--Kimi-K2.5.json", 1040, .02, 32.6, .01, Counts::kAll,
     "the language model of Kimi-K2, arXiv 2507.20534"},
    {"moe-lrc/jamba.json", 52, .01, 12, .01, Counts::kAll, "arXiv 2403.19887"},
    {"moe-lrc/jetmoe.json", 8.52, .001, 2.2, .035, Counts::kHeadOnly,
     "arXiv 2404.07413; total of the checkpoint"},
    {"aiconfigurator/MiniMaxAI--MiniMax-M2.5.json", 230, .01, 10, .025, Counts::kLayersOnly,
     "huggingface.co/MiniMaxAI/MiniMax-M2"},
    {"aiconfigurator/meta-llama--Llama-4-Scout-17B-16E-Instruct.json", 109, .02, 17, .02,
     Counts::kAll, "huggingface.co/meta-llama; 109B holds the vision tower, which is left out"},
    {"aiconfigurator/meta-llama--Llama-4-Maverick-17B-128E-Instruct.json", 400, .01, 17, .02,
     Counts::kAll, "huggingface.co/meta-llama"},
    {"aiconfigurator/zai-org--GLM-5.json", 744, .01, 40, .01, Counts::kLayersOnly,
     "huggingface.co/zai-org/GLM-5"},
    {"aiconfigurator/XiaomiMiMo--MiMo-V2-Flash.json", 309, .01, 15, .02, Counts::kHeadOnly,
     "huggingface.co/XiaomiMiMo/MiMo-V2-Flash"},
    {"aiconfigurator/google--gemma-4-26B-A4B.json", 25.2, .01, 3.8, .01, Counts::kAll,
     "ai.google.dev/gemma: 25.2B, 3.8B active"},
    {"moe-lrc/xverse.json", 25.8, .01, 4.2, .01, Counts::kAll,
     "huggingface.co/xverse/XVERSE-MoE-A4.2B"},
    {"moe-lrc/powermoe.json", 3.3, .01, .8, .02, Counts::kHeadOnly,
     "huggingface.co/ibm-research/PowerMoE-3b"},
    {"moe-lrc/minicpm.json", 13.87, .001, 0, 0, Counts::kAll, "size of the checkpoint"},
    {"moe-lrc/openmoe.json", 11.86, .001, 0, 0, Counts::kAll, "size of the checkpoint"},
    {"moe-lrc/switch.json", 7.42, .001, 0, 0, Counts::kAll, "size of the checkpoint"},
    // 671 and the indexers, for which no figure is printed: 61 layers of 1536 x 8192, 7168 x 128,
    // 7168 x 64 and a norm of 256.
    {"aiconfigurator/deepseek-ai--DeepSeek-V3.2.json", 671.026 + .8517, .0001, 0, 0, Counts::kAll,
     "by hand"},
};

TEST(ConfigJson, ParametersMatchPublishedCounts) {
  MOE_NEEDS_SHARED_DATA();
  for (const Published& p : kPublished) {
    SCOPED_TRACE(std::string(p.file) + ", " + p.source);
    const MoeModel model = read_config_json(configs() + p.file);
    EXPECT_NEAR(static_cast<double>(parameter_count(model).total()) / 1e9, p.total,
                p.total * p.total_tolerance);
    if (p.active == 0) continue;
    const ParameterCount active = active_parameter_count(model);
    std::int64_t counted = active.total();
    if (p.counts != Counts::kAll) counted -= active.embedding;
    if (p.counts == Counts::kLayersOnly) counted -= active.head;
    EXPECT_NEAR(static_cast<double>(counted) / 1e9, p.active, p.active * p.active_tolerance);
  }
}

TEST(ConfigJson, EveryReferenceConfigIsInTheTableAndRoundTrips) {
  MOE_NEEDS_SHARED_DATA();
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(configs())) {
    if (entry.path().extension() != ".json") continue;
    ++files;
    SCOPED_TRACE(entry.path().filename().string());
    const MoeModel model = read_config_json(entry.path().string());
    const MoeModel back = parse_model(to_yaml(model), "text");
    EXPECT_EQ(back.layers, model.layers);
    EXPECT_EQ(back.formats, model.formats);
    EXPECT_EQ(back.notes, model.notes);
    EXPECT_EQ(parameter_count(back).total(), parameter_count(model).total());
    EXPECT_EQ(to_yaml(back), to_yaml(model));
  }
  EXPECT_EQ(files, std::size(kPublished));
}

TEST(ConfigJson, QuantisationIsReadPerGroup) {
  MOE_NEEDS_SHARED_DATA();
  const MoeModel kimi = read_config_json(configs() + "aiconfigurator/moonshotai--Kimi-K2.5.json");
  EXPECT_EQ(kimi.formats.experts.stored, (WeightFormat{DType::kInt4, 1, 32, 2}));
  EXPECT_EQ(kimi.formats.experts.multiplied, DType::kBf16);
  EXPECT_EQ(kimi.formats.attention.stored.dtype, DType::kBf16);
  EXPECT_EQ(kimi.formats.shared.stored.dtype, DType::kBf16);
  EXPECT_EQ(kimi.formats.dense.stored.dtype, DType::kBf16);
  const MoeModel v3 = read_config_json(configs() + "aiconfigurator/deepseek-ai--DeepSeek-V3.json");
  EXPECT_EQ(v3.formats.attention.stored, (WeightFormat{DType::kFp8, 128, 128, 4}));
  EXPECT_EQ(v3.formats.router.stored.dtype, DType::kBf16);
  EXPECT_THAT(v3.notes,
              ::testing::ElementsAre(
                  "num_nextn_predict_layers: multi-token-prediction layers are left out"));
}

std::string message_of(const std::string& text) {
  try {
    parse_config_json(text, "config.json", "m");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ConfigJson, MalformedJsonSaysWhere) {
  EXPECT_EQ(message_of("{\n  \"hidden_size\": 8,\n  oops\n}"),
            "config.json:3:3: this is not JSON: syntax error while parsing object key - invalid "
            "literal; check quotes, commas and brackets here");
  EXPECT_EQ(message_of("[1]"),
            "config.json:1:1: this is not a JSON object; a model's config.json starts with {");
  EXPECT_THAT(message_of(""), ::testing::StartsWith("config.json:1:1: this is not JSON: "));
  EXPECT_THAT(message_of("{\"a\": 1e999}"),
              ::testing::StartsWith("config.json: this cannot be read"));
  EXPECT_THAT(message_of(std::string(100000, '[')), ::testing::HasSubstr("this is not JSON"));
}

TEST(ConfigJson, UnknownModelTypeSuggests) {
  EXPECT_EQ(
      message_of("{\"hidden_size\": 8,\n \"model_type\": \"mixtrall\"}"),
      "config.json:2:2: the model type 'mixtrall' cannot be imported; did you mean 'mixtral'?");
}

constexpr const char* kMixtral = R"({"model_type": "mixtral", "hidden_size": 64, "vocab_size": 100,
 "tie_word_embeddings": false, "max_position_embeddings": 128, "num_attention_heads": 4,
 "num_key_value_heads": 2, "num_hidden_layers": 2, "num_local_experts": 4,
 "num_experts_per_tok": TOPK, "intermediate_size": 32, "torch_dtype": "bfloat16"})";

std::string mixtral(const std::string& top_k) {
  std::string text = kMixtral;
  return text.replace(text.find("TOPK"), 4, top_k);
}

TEST(ConfigJson, AllMistakesAtOnceWithPlaces) {
  EXPECT_EQ(
      message_of("{\"model_type\": \"mixtral\",\n \"hidden_size\": \"big\",\n \"vocab_size\": 9,"
                 "\n \"max_position_embeddings\": 10, \"num_attention_heads\": 2,\n "
                 "\"num_local_experts\": 4, \"num_experts_per_tok\": 2,\n "
                 "\"intermediate_size\": 8, \"torch_dtype\": \"int3\"}"),
      "config.json:1:1: this model's config needs 'num_hidden_layers'\n"
      "config.json:2:2: 'hidden_size' must be a whole number between 0 and 1099511627776\n"
      "config.json:6:26: the number format 'int3' is not known; possible: bfloat16, float16, "
      "float32");
}

TEST(ConfigJson, ImpossibleModelsAreRefused) {
  EXPECT_EQ(message_of(mixtral("2")), "no error");
  EXPECT_EQ(
      message_of(mixtral("9")),
      "config.json:1:1: layer 0, block 1: top_k is 9, but must lie between 1 and 4; is a field "
      "of the config wrong?\n"
      "config.json:1:1: layer 0, block 1: top_k 9 is more than 1 groups of 4 experts offer; is "
      "a field of the config wrong?");
  for (const char* bad :
       {"-1", "1.5", "true", "[]", "{}", "99999999999999999999", "1099511627777"}) {
    EXPECT_THAT(message_of(mixtral(bad)),
                ::testing::HasSubstr("'num_experts_per_tok' must be a whole"));
  }
  EXPECT_THAT(message_of(R"({"model_type": "mixtral", "num_hidden_layers": 1000000000000})"),
              ::testing::HasSubstr("'num_hidden_layers' must lie between 1 and 4096"));
}

// No field, given a wild value, crashes an importer; it is an Error or another sound model.
TEST(ConfigJson, WildValuesNeverCrash) {
  for (const std::string& type : known_model_types()) {
    for (const char* value : {"0", "1", "1099511627776", "null", "[0]", "\"x\"", "{}"}) {
      std::string text = "{\"model_type\": \"" + type + "\"";
      for (const char* key : {"hidden_size",
                              "d_model",
                              "vocab_size",
                              "num_hidden_layers",
                              "num_attention_heads",
                              "num_key_value_heads",
                              "kv_channels",
                              "moe_top_k",
                              "moe_num_experts",
                              "num_experts",
                              "num_experts_per_tok",
                              "num_local_experts",
                              "intermediate_size",
                              "mamba_expand",
                              "mamba_dt_rank",
                              "layer_types",
                              "hybrid_layer_pattern",
                              "moe_layer_freq",
                              "max_position_embeddings",
                              "n_routed_experts",
                              "n_group",
                              "moe_intermediate_size",
                              "kv_lora_rank",
                              "qk_nope_head_dim",
                              "qk_rope_head_dim",
                              "v_head_dim",
                              "num_heads",
                              "d_kv",
                              "d_ff",
                              "num_layers",
                              "num_decoder_layers",
                              "attn_layer_period",
                              "n_positions",
                              "decoder_sparse_step",
                              "full_attention_interval",
                              "sliding_window",
                              "head_dim"}) {
        text += std::string(", \"") + key + "\": " + value;
      }
      EXPECT_NE(message_of(text + "}"), "") << type;
    }
  }
}

}  // namespace
}  // namespace sim
