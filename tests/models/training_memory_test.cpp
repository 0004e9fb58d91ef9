#include "models/training_memory.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "models/kept_activations.h"
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

double gigabytes(const std::vector<MemoryItem>& items) {
  return static_cast<double>(total(items).count()) / 1e9;
}

// ZeRO, figure 1: 7.5 billion parameters on 64 ranks, 16-bit weights and gradients.
TEST(TrainingMemory, ZeroTableOfTheirPaper) {
  StageParameters parameters;
  parameters.dense = 7'500'000'000;
  StateFormats formats;
  formats.gradient = DType::kFp16;
  formats.weight = DType::kFp16;
  const double published[] = {120, 31.4, 16.6, 1.9};
  for (int zero = 0; zero <= 3; ++zero) {
    const auto items = model_state_memory(parameters, formats, {zero, 64, 1});
    EXPECT_NEAR(gigabytes(items), published[zero], 0.05) << zero;
  }
}

TEST(TrainingMemory, DenseAndExpertStatesAreShardedOverTheirOwnReplicas) {
  const MoeModel model = testing::tiny_grouped();
  const StageParameters p = stage_parameters(model, whole_model(model, 1, 2));
  EXPECT_EQ(p.expert, 2 * 144);
  EXPECT_EQ(p.dense + 2 * p.expert, parameter_count(model).total());
  EXPECT_EQ(p.dense_narrow, 0);
  // Layer 1: attention 192, shared 144, router 32, two norms of 8, two experts.
  EXPECT_EQ(p.largest_layer, 672);
  const auto items = model_state_memory(p, {}, {2, 8, 4});
  EXPECT_EQ(item(items, "weights: dense"), Bytes(p.dense * 2));
  EXPECT_EQ(item(items, "gradients: dense"), Bytes((p.dense + 7) / 8 * 4));
  EXPECT_EQ(item(items, "gradients: routed experts"), testing::amount(288 / 4 * 4));
  EXPECT_EQ(item(items, "moments: routed experts"), testing::amount(288 / 4 * 8));
  EXPECT_EQ(item(items, "weights: gathered"), Bytes{});
  const auto sharded = model_state_memory(p, {}, {3, 8, 4});
  EXPECT_EQ(item(sharded, "weights: gathered"), Bytes(2 * 672 * 2));
  // A pipeline's chunks add up to the whole.
  WeightShare first = whole_model(model, 1, 2);
  WeightShare second = first;
  first.end_layer = second.first_layer = 1;
  first.head = second.embedding = false;
  StageParameters sum = stage_parameters(model, first);
  sum += stage_parameters(model, second);
  EXPECT_EQ(sum.dense, p.dense);
  EXPECT_EQ(sum.expert, p.expert);
}

TEST(TrainingMemory, EightBitCopiesOfMatricesOnly) {
  const MoeModel model = training_model(testing::tiny_grouped(), TrainingPrecision::kFp8);
  const StageParameters p = stage_parameters(model, whole_model(model, 1, 1));
  EXPECT_EQ(p.expert_narrow, 4 * 144);
  EXPECT_EQ(p.dense_narrow, 2 * 192 + 384 + 144);  // attention, dense FFN, shared expert
  EXPECT_EQ(item(model_state_memory(p, {}, {}), "weights: 8-bit copies"),
            Bytes(2 * (p.expert_narrow + p.dense_narrow)));
}

// A layer of GPT: s b h (34 + 5 a s / h) bytes, of which 2 s b h are masks of dropouts and the
// second term is gone with FlashAttention, which keeps 4 bytes per query and head instead.
TEST(KeptActivations, GptLayerOfKorthikanti) {
  MoeModel model = testing::tiny_grouped();
  model.hidden = 64;
  AttentionBlock a;
  a.heads = a.kv_heads = 4;
  a.head_dim = a.value_dim = 16;
  FfnBlock f;
  f.dense_inter = 4 * 64;
  f.up_matrices = 1;
  model.layers = {{Stack::kDecoder, {{a, 1}, {f, 1}}}};
  constexpr std::int64_t tokens = 100;
  EXPECT_EQ(total(kept_activations(model, 0, {tokens, 1, 1}, {})),
            testing::amount(tokens * 64 * 32 + tokens * 4 * 4));
  // Tensor and sequence parallelism split all of it.
  EXPECT_EQ(total(kept_activations(model, 0, {tokens, 4, 4}, {})),
            testing::amount(tokens / 4 * (64 * 32 + 4 * 4)));
  Recompute full;
  full.full = true;
  EXPECT_EQ(total(kept_activations(model, 0, {tokens, 1, 1}, full)),
            testing::amount(tokens * 64 * 2));
  EXPECT_EQ(recomputed_at_once(model, 0, 1, {tokens, 1, 1}, 0, 1, full),
            testing::amount(tokens * (64 * 30 + 16)));
}

TEST(KeptActivations, RowsThatArrivedByHand) {
  const MoeModel model = testing::tiny_grouped();
  const BlockId id{1, 1};
  // Row 8, before the activation 12, after it 6; bf16.
  EXPECT_EQ(kept_bytes_per_row(model, id, 1, {}), 2 * (8 + 12 + 6));
  EXPECT_EQ(kept_bytes_per_row(model, id, 2, {}), 2 * (8 + 6 + 3));
  EXPECT_EQ(kept_bytes_per_row(model, id, 1, {false, {RecomputeModule::kActivation}}), 2 * 20);
  EXPECT_EQ(kept_bytes_per_row(model, id, 1, {false, {RecomputeModule::kExperts}}), 2 * 8);
  EXPECT_EQ(kept_bytes_per_row(model, id, 1, {true, {}}), 0);
}

// Each module frees something of a model that has it, and runs something again.
TEST(Recompute, EveryModuleFreesBytesAndRunsKernels) {
  const MoeModel model =
      training_model(read_model(kCatalog + "deepseek-v3.yaml"), TrainingPrecision::kFp8);
  TokenBatch batch;
  batch.phase = Phase::kPrefill;
  batch.tokens = batch.logit_rows = 4096;
  batch.sequences = 1;
  batch.attended_pairs = 4096.0 * 4097 / 2;
  batch.kv_tokens_read = batch.max_context = 4096;
  const auto names_of = [&](const Recompute& recompute) {
    std::vector<std::string> names;
    for (const int layer : {0, 3}) {
      for (const int block : {0, 1}) {
        for (const BlockPart part : {BlockPart::kBeforeDispatch, BlockPart::kShared}) {
          for (const Operator& op :
               recomputed_operators(model, layer, block, part, batch, 1, recompute)) {
            names.push_back(op.name);
          }
        }
      }
    }
    return names;
  };
  const auto bytes_of = [&](const Recompute& recompute) {
    double bytes = 1000 * kept_bytes_per_row(model, {3, 1}, 1, recompute);
    for (const int layer : {0, 3}) {
      bytes += static_cast<double>(
          total(kept_activations(model, layer, {4096, 1, 1}, recompute)).count());
    }
    return bytes;
  };
  EXPECT_TRUE(names_of({}).empty());
  for (std::size_t i = 0; i < recompute_module_names().size(); ++i) {
    const Recompute one{false, {static_cast<RecomputeModule>(i)}};
    SCOPED_TRACE(recompute_module_names()[i]);
    EXPECT_LT(bytes_of(one), bytes_of({}));
    EXPECT_TRUE(!names_of(one).empty() || experts_again(one) == ExpertsAgain::kForward);
    EXPECT_EQ(parse_recompute_module(recompute_module_names()[i]), static_cast<RecomputeModule>(i));
  }
  // DeepSeek-V3's report, section 3.2.3: norms and up-projections.
  const Recompute deepseek{false, {RecomputeModule::kNorms, RecomputeModule::kMlaUp}};
  const std::vector<std::string> attention = {"residual_norm", "quantise", "q_a_norm",
                                              "quantise",      "q_b_proj", "kv_norm_rope_write",
                                              "quantise",      "kv_b_proj"};
  std::vector<std::string> again;
  for (const Operator& op :
       recomputed_operators(model, 3, 0, BlockPart::kBeforeDispatch, batch, 1, deepseek)) {
    again.push_back(op.name);
  }
  EXPECT_EQ(again, attention);
  EXPECT_EQ(experts_again({true, {}}), ExpertsAgain::kExchange);
  EXPECT_FALSE(parse_recompute_module("everything"));
}

}  // namespace
}  // namespace sim
