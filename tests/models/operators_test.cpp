#include "models/operators.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "models/backward.h"
#include "models/expert_work.h"
#include "models/model_reader.h"
#include "models/weights.h"
#include "tests/models/tiny_models.h"

namespace sim {
namespace {

const std::string kCatalog = std::string(MOE_SOURCE_DIR) + "/models/catalog/";

TokenBatch decode(std::int64_t sequences, std::int64_t context) {
  TokenBatch batch;
  batch.phase = Phase::kDecode;
  batch.tokens = batch.sequences = batch.logit_rows = sequences;
  batch.attended_pairs = batch.kv_tokens_read = static_cast<double>(sequences * context);
  batch.max_context = static_cast<double>(context);
  return batch;
}

TokenBatch prefill(std::int64_t sequences, std::int64_t prompt) {
  TokenBatch batch;
  batch.phase = Phase::kPrefill;
  batch.tokens = sequences * prompt;
  batch.sequences = batch.logit_rows = sequences;
  batch.attended_pairs =
      static_cast<double>(sequences) * static_cast<double>(prompt * (prompt + 1)) / 2;
  batch.kv_tokens_read = static_cast<double>(batch.tokens);
  batch.max_context = static_cast<double>(prompt);
  return batch;
}

const Operator& named(const std::vector<Operator>& operators, const std::string& name) {
  const auto found = std::find_if(operators.begin(), operators.end(),
                                  [&](const Operator& op) { return op.name == name; });
  EXPECT_NE(found, operators.end()) << name;
  static const Operator none;
  return found == operators.end() ? none : *found;
}

std::vector<std::string> names(const std::vector<Operator>& operators) {
  std::vector<std::string> result;
  result.reserve(operators.size());
  for (const Operator& op : operators) result.push_back(op.name);
  return result;
}

TEST(Operators, TinyGroupedAttentionByHand) {
  const MoeModel model = testing::tiny_grouped();
  const auto ops = block_operators(model, 0, 0, BlockPart::kBeforeDispatch, decode(3, 10), 1);
  EXPECT_EQ(names(ops), (std::vector<std::string>{"residual_norm", "qkv_proj", "rope_kv_write",
                                                  "attention_core", "o_proj"}));
  const Operator& qkv = named(ops, "qkv_proj");
  EXPECT_EQ(qkv.flops, Flops(2 * 3 * 16 * 8));  // 8 query, 4 key, 4 value columns
  EXPECT_EQ(qkv.weight_bytes, testing::amount(16 * 8 * 2));
  EXPECT_EQ(qkv.activation_bytes, testing::amount(3 * (8 + 16) * 2));
  EXPECT_EQ(qkv.m * qkv.n * qkv.k, 3 * 16 * 8);
  const Operator& core = named(ops, "attention_core");
  EXPECT_EQ(core.flops, Flops(2 * 2 * 30 * 2 * 4));  // 30 pairs, 2 heads of 4
  // 30 cached tokens of one key-value head, and 3 rows in and out of 2 heads.
  EXPECT_EQ(core.activation_bytes, testing::amount(30 * 8 * 2 + 3 * 2 * 8 * 2));
  EXPECT_EQ(named(ops, "o_proj").flops, Flops(2 * 3 * 8 * 8));
}

TEST(Operators, TinyRoutedFfnByHand) {
  const MoeModel model = testing::tiny_grouped();
  const TokenBatch batch = decode(3, 10);
  const auto before = block_operators(model, 1, 1, BlockPart::kBeforeDispatch, batch, 1);
  EXPECT_EQ(names(before),
            (std::vector<std::string>{"residual_norm", "router", "top_k", "permute_quantise"}));
  EXPECT_EQ(named(before, "router").flops, Flops(2 * 3 * 4 * 8));
  EXPECT_EQ(named(before, "permute_quantise").activation_bytes,
            testing::amount(3 * 8 * 2 + 6 * 8 * 2));
  const auto shared = block_operators(model, 1, 1, BlockPart::kShared, batch, 2);
  EXPECT_EQ(named(shared, "shared_up_proj").flops, Flops(2 * 3 * (2 * 3) * 8));  // half of inter 6
  EXPECT_EQ(named(shared, "shared_down_proj").flops, Flops(2 * 3 * 8 * 3));
  const auto after = block_operators(model, 1, 1, BlockPart::kAfterCombine, batch, 1);
  EXPECT_EQ(named(after, "weighted_sum").activation_bytes, testing::amount(3 * 4 * 8 * 2));
  const std::vector<std::int64_t> rows = {2, 0, 1, 3};
  const ExpertFfn ffn = expert_ffn(model, {1, 1}, rows, 1);
  EXPECT_EQ(flops_of(ffn), Flops(2 * 6 * 3 * 6 * 8));
  EXPECT_EQ(weight_bytes_of(ffn), testing::amount(3 * 3 * 6 * 8 * 2));  // one expert is not touched
  EXPECT_EQ(activation_bytes_of(ffn), testing::amount(6 * (8 + 2 * 12 + 2 * 6 + 8) * 2));
}

TEST(Operators, TinyLatentByHandInBothForms) {
  const MoeModel model = testing::tiny_latent();
  const auto absorbed = block_operators(model, 0, 0, BlockPart::kBeforeDispatch, decode(3, 10), 1);
  EXPECT_EQ(names(absorbed), (std::vector<std::string>{"residual_norm", "qkv_a_proj", "q_a_norm",
                                                       "q_b_proj", "kv_norm_rope_write", "q_absorb",
                                                       "attention_core", "v_up", "o_proj"}));
  EXPECT_EQ(named(absorbed, "qkv_a_proj").flops, Flops(2 * 3 * (6 + 7) * 8));
  EXPECT_EQ(named(absorbed, "q_b_proj").flops, Flops(2 * 3 * 10 * 6));
  EXPECT_EQ(named(absorbed, "q_absorb").flops, Flops(2 * 3 * 2 * 3 * 5));
  EXPECT_EQ(named(absorbed, "attention_core").flops, Flops(2 * 30 * 2 * (5 + 2 + 5)));
  EXPECT_EQ(named(absorbed, "attention_core").activation_bytes,
            testing::amount(30 * 7 * 2 + 3 * 2 * 12 * 2));
  EXPECT_EQ(named(absorbed, "v_up").flops, Flops(2 * 3 * 2 * 4 * 5));
  const auto expanded = block_operators(model, 0, 0, BlockPart::kBeforeDispatch, prefill(1, 3), 1);
  EXPECT_EQ(named(expanded, "kv_b_proj").flops, Flops(2 * 3 * 14 * 5));
  EXPECT_EQ(named(expanded, "attention_core").flops, Flops(2 * 6 * 2 * (5 + 4)));
}

TEST(Operators, Fp8AddsQuantiseKernelsAndHalvesInputs) {
  MoeModel model = testing::tiny_grouped();
  model.formats.attention = {usual_format(DType::kFp8), DType::kFp8};
  const auto ops = block_operators(model, 0, 0, BlockPart::kBeforeDispatch, decode(128, 1), 1);
  EXPECT_EQ(std::count_if(ops.begin(), ops.end(),
                          [](const Operator& op) { return op.name == "quantise"; }),
            2);
  EXPECT_EQ(named(ops, "qkv_proj").compute, DType::kFp8);
  EXPECT_EQ(named(ops, "qkv_proj").activation_bytes,
            testing::amount(128 * 8 + 128 * 8 / 128 * 4 + 128 * 16 * 2));
  EXPECT_EQ(named(ops, "qkv_proj").weight_bytes, testing::amount(16 * 8 + 4));
}

TEST(Operators, WindowsCutPairsAndReads) {
  MoeModel model = testing::tiny_grouped();
  AttentionBlock a = model.layers[0].blocks[0].attention();
  a.window = 4;
  model.layers[0].blocks[0].body = a;
  const auto core = [&](const TokenBatch& batch) {
    return named(block_operators(model, 0, 0, BlockPart::kBeforeDispatch, batch, 1),
                 "attention_core")
        .flops;
  };
  const double per_pair = 2 * 2 * 2 * 4;
  EXPECT_EQ(core(decode(3, 10)), Flops(3 * 4 * per_pair));
  EXPECT_EQ(core(decode(3, 2)), Flops(3 * 2 * per_pair));
  // A prompt of 6 with a window of 4 sees 1+2+3+4+4+4 keys.
  EXPECT_EQ(core(prefill(2, 6)), Flops(2 * 18 * per_pair));
  a.chunked = true;
  model.layers[0].blocks[0].body = a;
  EXPECT_EQ(core(decode(2, 100)), Flops(2 * 2.5 * per_pair));
}

TEST(Operators, EncoderRunsInPrefillOnly) {
  MoeModel model = testing::tiny_grouped();
  model.layers[0].stack = Stack::kEncoder;
  EXPECT_TRUE(block_operators(model, 0, 0, BlockPart::kBeforeDispatch, decode(1, 5), 1).empty());
  EXPECT_FALSE(block_operators(model, 0, 0, BlockPart::kBeforeDispatch, prefill(1, 5), 1).empty());
  EXPECT_TRUE(block_operators(model, 1, 0, BlockPart::kBeforeDispatch, TokenBatch{}, 1).empty());
}

// Every weight of every matrix is multiplied once per token: GEMM flops are 2 x active parameters
// x tokens, without embedding, vectors, and what is no GEMM (convolutions, states).
TEST(Operators, FlopsAreTwiceTheActiveParameters) {
  for (const auto& entry : std::filesystem::directory_iterator(kCatalog)) {
    const MoeModel model = read_model(entry.path().string());
    SCOPED_TRACE(model.name);
    constexpr std::int64_t kTokens = 64;
    for (const Phase phase : {Phase::kDecode, Phase::kPrefill}) {
      TokenBatch batch = phase == Phase::kDecode ? decode(kTokens, 1) : prefill(kTokens, 1);
      double flops = 0;
      for (const PlacedOperator& placed : all_operators(model, batch, 1)) {
        const bool counts = placed.op.m > 0 || placed.op.kind == OperatorKind::kExperts;
        if (counts) flops += placed.op.flops.count();
      }
      const ParameterCount active = active_parameter_count(model);
      const double head =
          static_cast<double>(model.tied_embeddings ? active.embedding : active.head);
      const double parameters =
          static_cast<double>(active.total() - active.embedding - active.head) + head;
      EXPECT_NEAR(flops / (2.0 * kTokens * parameters), 1, 0.003);
    }
  }
}

TEST(Operators, MoreTokensNeverCostLess) {
  const MoeModel model = read_model(kCatalog + "deepseek-v3.yaml");
  double flops = 0;
  std::int64_t bytes = 0;
  for (std::int64_t tokens = 1; tokens <= 4096; tokens *= 4) {
    double now = 0;
    std::int64_t moved = 0;
    for (const PlacedOperator& placed : all_operators(model, decode(tokens, 1000), 1)) {
      now += placed.op.flops.count();
      moved += (placed.op.weight_bytes + placed.op.activation_bytes).count();
    }
    EXPECT_GT(now, flops);
    EXPECT_GT(moved, bytes);
    flops = now;
    bytes = moved;
  }
}

TEST(Operators, TensorParallelismDividesTheSplitWork) {
  const MoeModel model = read_model(kCatalog + "deepseek-v3.yaml");
  const auto one = block_operators(model, 5, 0, BlockPart::kBeforeDispatch, decode(64, 1000), 1);
  const auto eight = block_operators(model, 5, 0, BlockPart::kBeforeDispatch, decode(64, 1000), 8);
  for (const char* split : {"q_b_proj", "attention_core", "o_proj", "q_absorb", "v_up"}) {
    EXPECT_DOUBLE_EQ(named(one, split).flops.count(), 8 * named(eight, split).flops.count())
        << split;
  }
  EXPECT_EQ(named(one, "qkv_a_proj").flops, named(eight, "qkv_a_proj").flops);  // replicated
}

TEST(Operators, SparseAttentionCutsTheCoreNotTheIndexer) {
  const MoeModel dense = read_model(kCatalog + "deepseek-v3.yaml");
  const MoeModel sparse = read_model(kCatalog + "deepseek-v3.2.yaml");
  const TokenBatch batch = decode(8, 32768);
  const auto full = block_operators(dense, 5, 0, BlockPart::kBeforeDispatch, batch, 1);
  const auto cut = block_operators(sparse, 5, 0, BlockPart::kBeforeDispatch, batch, 1);
  EXPECT_DOUBLE_EQ(named(full, "attention_core").flops.count() / 16,
                   named(cut, "attention_core").flops.count());
  EXPECT_EQ(named(cut, "index_scores").flops, Flops(8.0 * 32768 * 2 * 64 * 128));
}

// Constants name operators: a name that no model has would never be read.
TEST(Operators, TheListOfNamesIsTheModels) {
  std::set<std::string> emitted;
  for (const auto& entry : std::filesystem::directory_iterator(kCatalog)) {
    const MoeModel model = read_model(entry.path().string());
    for (const TokenBatch& batch : {decode(4, 4096), prefill(2, 1024)}) {
      for (const PlacedOperator& placed : all_operators(model, batch, 1)) {
        if (placed.op.family == KernelFamily::kStreaming ||
            placed.op.family == KernelFamily::kOther) {
          emitted.insert(placed.op.name);
        }
      }
    }
  }
  emitted.insert("norm");    // of blocks with several norms, which no model of the catalog has
  emitted.erase("experts");  // the row that stands for an ExpertFfn
  for (const Operator& op : training_output_operators(testing::tiny_grouped(), prefill(1, 8), 1)) {
    if (op.family == KernelFamily::kStreaming) emitted.insert(op.name);
  }
  emitted.insert(optimizer_operator(1, 30).name);
  emitted.insert(expert_activation_operator(ExpertFfn{}).name);
  std::set<std::string> listed(operator_names().begin(), operator_names().end());
  EXPECT_EQ(emitted, listed);
}

}  // namespace
}  // namespace sim
