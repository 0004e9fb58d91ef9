#include "models/model_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.h"
#include "tests/models/tiny_models.h"

namespace sim {
namespace {

std::string message_of(const std::string& text) {
  try {
    parse_model(text, "m.yaml");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

constexpr const char* kTiny = R"(name: tiny
source: made up
hidden: 8
vocabulary: 32
max_context: 1024
blocks:
  attention: {kind: grouped, heads: 2, kv_heads: 1, head_dim: 4, value_dim: 4}
  dense: {kind: ffn, dense_inter: 16}
  routed: {kind: ffn, expert_inter: 6, shared_experts: 1, shared_inter: 6,
           routing: {experts: 4, top_k: 2}}
layers:
  - {pattern: [[attention, dense], [attention, routed]]}
)";

TEST(ModelReader, ReadsWhatWasWritten) {
  const MoeModel model = parse_model(kTiny, "m.yaml");
  EXPECT_EQ(model.layers, testing::tiny_grouped().layers);
  EXPECT_EQ(model.formats, testing::tiny_grouped().formats);
}

TEST(ModelReader, RoundTripKeepsEverything) {
  MoeModel model = testing::tiny_grouped();
  model.name = "quotes \" and \\ and: colons # too";
  model.notes = {"a\nb", "yes"};
  model.head_bias = model.norm_bias = model.tied_embeddings = true;
  model.formats.experts = {{DType::kInt4, 1, 32, 2}, DType::kBf16};
  model.formats.attention = {{DType::kFp8, 1, 1, 0}, DType::kFp8};
  model.formats.kv_cache = DType::kFp8;
  AttentionBlock a = testing::tiny_latent().layers[0].blocks[0].attention();
  a.indexer = Indexer{2, 3, 4};
  a.window = 7;
  a.qk_norm = QkNorm::kFullWidth;
  model.layers.push_back({Stack::kEncoder, {{a, 3}}});
  for (int i = 0; i < 5; ++i) model.layers.push_back(model.layers[static_cast<std::size_t>(i % 2)]);
  const MoeModel back = parse_model(to_yaml(model), "text");
  EXPECT_EQ(back.name, model.name);
  EXPECT_EQ(back.notes, model.notes);
  EXPECT_EQ(back.layers, model.layers);
  EXPECT_EQ(back.formats, model.formats);
  EXPECT_TRUE(back.head_bias && back.norm_bias && back.tied_embeddings);
}

TEST(ModelReader, AllMistakesAtOnce) {
  EXPECT_EQ(message_of(R"(name: tiny
source: made up
hidden: 8
vocabulari: 32
max_context: 1024
blocks:
  attention: {kind: groupd, heads: 2, kv_heads: 1, head_dim: 4, value_dim: 4}
  routed: {kind: ffn, expert_inter: 6, routing: {experts: 4, topk: 2}}
layers:
  - {pattern: [[attention, router]]}
  - {repeat: 0, pattern: [[attention]]}
)"),
            "m.yaml:1:1: model needs the key 'vocabulary'\n"
            "m.yaml:4:1: unknown key 'vocabulari' in model; did you mean 'vocabulary'?\n"
            "m.yaml:7:21: 'groupd' is not a possible 'kind' of block 'attention'; did you mean "
            "'grouped'?\n"
            "m.yaml:8:62: unknown key 'topk' in routing; did you mean 'top_k'?\n"
            "m.yaml:10:28: there is no block 'router'; did you mean 'routed'?\n"
            "m.yaml:11:14: 'repeat' in a run of layers is 0, but must lie between 1 and 4096");
}

TEST(ModelReader, ImpossibleModelsAndTooManyLayers) {
  std::string text = kTiny;
  EXPECT_EQ(message_of(text.replace(text.find("top_k: 2"), 8, "top_k: 9")),
            "m.yaml: layer 1, block 1: top_k is 9, but must lie between 1 and 4\n"
            "m.yaml: layer 1, block 1: top_k 9 is more than 1 groups of 4 experts offer");
  text = kTiny;
  EXPECT_EQ(message_of(text.replace(text.find("- {pattern"), 10, "- {repeat: 4096, pattern")),
            "m.yaml:12:5: a model has at most 4096 layers");
}

}  // namespace
}  // namespace sim
