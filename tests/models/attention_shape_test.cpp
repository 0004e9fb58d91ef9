// What an attention core tells its cost form, counted by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "models/operators.h"
#include "tests/models/tiny_models.h"

namespace sim {
namespace {

// Prompts of `length` new tokens each, with nothing cached before them.
TokenBatch prompts(std::int64_t count, std::int64_t length) {
  const double n = static_cast<double>(length);
  TokenBatch batch;
  batch.phase = Phase::kPrefill;
  batch.tokens = count * length;
  batch.sequences = count;
  batch.attended_pairs = static_cast<double>(count) * n * (n + 1) / 2;
  batch.kv_tokens_read = static_cast<double>(count) * n;
  batch.max_context = n;
  return batch;
}

TokenBatch contexts(std::vector<double> lengths) {
  TokenBatch batch;
  batch.tokens = batch.sequences = static_cast<std::int64_t>(lengths.size());
  for (const double length : lengths) {
    batch.attended_pairs += length;
    batch.kv_tokens_read += length;
    batch.max_context = std::max(batch.max_context, length);
  }
  return batch;
}

Operator core_of(const MoeModel& model, const TokenBatch& batch, int tp = 1) {
  for (const Operator& op : block_operators(model, 0, 0, BlockPart::kBeforeDispatch, batch, tp)) {
    if (op.name == "attention_core") return op;
  }
  ADD_FAILURE() << "no attention core";
  return {};
}

TEST(AttentionShapes, GroupedHeads) {
  const MoeModel model = testing::tiny_grouped();
  const Operator op = core_of(model, contexts({3, 10, 7}));
  EXPECT_EQ(op.family, KernelFamily::kAttentionDecode);
  const AttentionShape& shape = op.attention;
  EXPECT_EQ(shape.sequences, 3);
  EXPECT_EQ(shape.queries, 3);
  EXPECT_EQ(shape.pairs, 20);
  EXPECT_EQ(shape.cached, 20);
  EXPECT_EQ(shape.longest, 10);
  EXPECT_FALSE(shape.windowed);
  EXPECT_EQ(shape.heads, 2);
  EXPECT_EQ(shape.kv_heads, 1);
  EXPECT_EQ(shape.head_dim, 4);
  EXPECT_EQ(shape.value_dim, 4);
  EXPECT_EQ(shape.kv_value_bytes, 2);
  EXPECT_EQ(core_of(model, contexts({3}), 2).attention.heads, 1);
  EXPECT_EQ(core_of(model, contexts({3}), 2).attention.kv_heads, 1);  // copied, not halved
}

TEST(AttentionShapes, PrefillCountsQueriesAndPairs) {
  const Operator op = core_of(testing::tiny_grouped(), prompts(2, 5));
  EXPECT_EQ(op.family, KernelFamily::kAttentionPrefill);
  EXPECT_EQ(op.attention.queries, 10);
  EXPECT_EQ(op.attention.pairs, 2 * 15);
  EXPECT_EQ(op.attention.longest, 5);
}

TEST(AttentionShapes, WindowsBoundWhatAQuerySees) {
  MoeModel model = testing::tiny_grouped();
  AttentionBlock a = model.layers[0].blocks[0].attention();
  a.window = 4;
  model.layers[0].blocks[0].body = a;
  const AttentionShape decode = core_of(model, contexts({10, 10})).attention;
  EXPECT_EQ(decode.cached, 8);
  EXPECT_EQ(decode.pairs, 8);
  EXPECT_EQ(decode.longest, 4);
  EXPECT_TRUE(decode.windowed);
  EXPECT_FALSE(core_of(model, contexts({4, 2})).attention.windowed);  // hides nothing
  const AttentionShape prefill = core_of(model, prompts(1, 6)).attention;
  EXPECT_EQ(prefill.pairs, 1 + 2 + 3 + 4 + 4 + 4);
  EXPECT_EQ(prefill.longest, 4);
  EXPECT_TRUE(prefill.windowed);
  a.chunked = true;  // a query at a random place of its chunk sees half of it
  model.layers[0].blocks[0].body = a;
  const AttentionShape chunk = core_of(model, contexts({10, 10})).attention;
  EXPECT_EQ(chunk.cached, 2 * 2.5);
  EXPECT_EQ(chunk.longest, 4);
}

TEST(AttentionShapes, LatentIsAbsorbedInDecodeAndExpandedInPrefill) {
  const MoeModel model = testing::tiny_latent();
  const Operator decode = core_of(model, contexts({10, 10}));
  EXPECT_EQ(decode.family, KernelFamily::kMlaDecode);
  EXPECT_EQ(decode.attention.kv_heads, 1);
  EXPECT_EQ(decode.attention.heads, 2);
  EXPECT_EQ(decode.attention.head_dim, 5 + 2);
  EXPECT_EQ(decode.attention.value_dim, 5);
  const Operator prefill = core_of(model, prompts(1, 3));
  EXPECT_EQ(prefill.family, KernelFamily::kMlaPrefill);
  EXPECT_EQ(prefill.attention.kv_heads, 2);
  EXPECT_EQ(prefill.attention.head_dim, 5);
  EXPECT_EQ(prefill.attention.value_dim, 4);
  EXPECT_EQ(prefill.attention.pairs, 6);
}

TEST(AttentionShapes, ASparseIndexerBoundsWhatIsRead) {
  MoeModel model = testing::tiny_latent();
  AttentionBlock a = model.layers[0].blocks[0].attention();
  a.indexer = Indexer{};
  a.indexer->heads = 2;
  a.indexer->head_dim = 4;
  a.indexer->top_k = 6;
  model.layers[0].blocks[0].body = a;
  const Operator decode = core_of(model, contexts({100, 100}));
  EXPECT_EQ(decode.family, KernelFamily::kOther);
  EXPECT_EQ(decode.attention.pairs, 12);
  EXPECT_EQ(decode.attention.cached, 12);
  EXPECT_EQ(decode.attention.longest, 6);
  EXPECT_EQ(core_of(model, contexts({4})).attention.pairs, 4);
}

}  // namespace
}  // namespace sim
