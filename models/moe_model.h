// A Mixture-of-Experts model as a value: a list of layers, each a list of blocks, any of which may
// be routed.
//
// Sizes are counts of values. What a model's weights are, and how many: weights.h. What it runs:
// operators.h. It is read from our YAML (model_reader.h) or from a config.json (config_json.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "models/dtype.h"
#include "sim/core/units.h"

namespace sim {

enum class BlockKind { kAttention, kFfn };
enum class Stack { kDecoder, kEncoder };  // an encoder runs once per request, before decoding
enum class Scoring { kSoftmax, kSigmoid };

// How a token chooses experts.
struct Routing {
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  std::int64_t groups = 1;      // experts lie in groups; a token may use `top_groups` of them
  std::int64_t top_groups = 1;  // (DeepSeek's node-limited routing)
  Scoring scoring = Scoring::kSoftmax;
  bool bias = false;             // the router's linear layer has one (gpt-oss)
  bool correction_bias = false;  // one value per expert, for the choice only (DeepSeek-V3)
  bool expert_scale = false;     // one learned factor per expert (Gemma 4)
  bool input_scale = false;      // one learned factor per hidden value (Gemma 4)
  bool operator==(const Routing&) const = default;
};

enum class AttentionKind {
  kGrouped,     // softmax attention: multi-head, grouped-query, multi-query
  kLatent,      // MLA: a compressed vector per token is cached (DeepSeek-V2)
  kGatedDelta,  // linear attention, gated delta rule (Qwen3-Next)
  kMamba,       // selective state space, Mamba 1 with Jamba's inner norms
};

enum class QkNorm { kNone, kPerHead, kFullWidth };  // width of the query and key norms' weights

// The selector of DeepSeek sparse attention: every query scores all keys with small heads and
// attends the best `top_k`.
struct Indexer {
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t top_k = 0;
  bool operator==(const Indexer&) const = default;
};

struct AttentionBlock {
  AttentionKind kind = AttentionKind::kGrouped;

  // kGrouped, kLatent: query heads; kGatedDelta: value heads. kMamba: 0.
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;  // kGrouped: key-value heads; kLatent: = heads; kGatedDelta: key heads
  std::int64_t head_dim = 0;  // of queries and keys; kLatent: nope_dim + rope_dim
  std::int64_t value_dim = 0;  // of values, per head

  std::int64_t q_rank = 0;    // kLatent: queries are compressed to this first; 0: they are not
  std::int64_t kv_rank = 0;   // kLatent: cached per token, with rope_dim
  std::int64_t nope_dim = 0;  // kLatent: part of head_dim without rotary position
  std::int64_t rope_dim = 0;  // kLatent: part of head_dim with it, shared by all heads in the cache

  std::int64_t conv_kernel = 0;  // kGatedDelta, kMamba
  std::int64_t inner = 0;        // kMamba: width of the state space
  std::int64_t state = 0;        // kMamba: states per inner value
  std::int64_t step_rank = 0;    // kMamba: rank of the step size's projection

  std::optional<std::int64_t> window;  // a query sees this many last keys
  bool chunked = false;  // `window` is a chunk instead: keys of the query's own chunk (Llama 4)
  bool cross = false;    // keys and values come from the encoder
  bool qkv_bias = false;
  bool output_bias = false;
  bool output_gate = false;      // a sigmoid gate per output value, projected with the queries
  bool sinks = false;            // one learned logit per head (gpt-oss)
  bool values_are_keys = false;  // no value projection (Gemma 4's global layers)
  QkNorm qk_norm = QkNorm::kNone;
  std::int64_t position_buckets = 0;  // learned relative position bias: buckets x heads (T5)
  std::optional<Indexer> indexer;
  std::optional<Routing> routing;  // mixture of attention: query and output projections per expert
  bool operator==(const AttentionBlock&) const = default;
};

// A feed-forward block. Dense, routed, or both side by side (a dense residual).
struct FfnBlock {
  std::int64_t dense_inter = 0;     // 0: no dense part
  std::optional<Routing> routing;   // nothing: no routed part
  std::int64_t expert_inter = 0;    // of one routed expert
  std::int64_t shared_experts = 0;  // see every token, beside the routed ones
  std::int64_t shared_inter = 0;    // of one shared expert
  bool shared_gate = false;         // a sigmoid gate on the shared experts' output (Qwen2-MoE)
  // Matrices of hidden x inter before the activation: 1 plain, 2 gated (SwiGLU), 3 when the gate is
  // twice as wide (OpenMoE).
  std::int64_t up_matrices = 2;
  bool bias = false;  // each projection has one (gpt-oss)
  bool operator==(const FfnBlock&) const = default;
};

struct Block {
  std::variant<AttentionBlock, FfnBlock> body;
  std::int64_t norms = 1;  // norms over `hidden` in this block, before and after

  BlockKind kind() const { return body.index() == 0 ? BlockKind::kAttention : BlockKind::kFfn; }
  const AttentionBlock& attention() const { return std::get<AttentionBlock>(body); }
  const FfnBlock& ffn() const { return std::get<FfnBlock>(body); }
  bool operator==(const Block&) const = default;
};

struct Layer {
  Stack stack = Stack::kDecoder;
  std::vector<Block> blocks;
  bool operator==(const Layer&) const = default;
};

// How a group of weights is stored, and in which format the tensor cores multiply it. Weight-only
// formats (int4; mxfp4 on Hopper) are multiplied in bf16.
struct GroupFormat {
  WeightFormat stored;
  DType multiplied = DType::kBf16;
  bool operator==(const GroupFormat&) const = default;
};

// Norms and biases are stored in the activations' format.
struct ModelFormats {
  GroupFormat attention;
  GroupFormat dense;
  GroupFormat router;
  GroupFormat experts;
  GroupFormat shared;
  GroupFormat embeddings;  // and the LM head
  DType activations = DType::kBf16;
  DType kv_cache = DType::kBf16;
  bool operator==(const ModelFormats&) const = default;
};

struct MoeModel {
  std::string name;
  std::string source;
  std::vector<std::string> notes;  // what was assumed or left out when it was imported
  std::int64_t hidden = 0;
  std::int64_t vocabulary = 0;
  bool tied_embeddings = false;
  bool head_bias = false;
  bool norm_bias = false;  // LayerNorm instead of RMSNorm
  std::int64_t max_context = 0;
  ModelFormats formats;
  std::vector<Layer> layers;
};

// A block by its place.
struct BlockId {
  int layer = 0;
  int block = 0;
  bool operator==(const BlockId&) const = default;
};

// REQUIRES of all: the layer and block exist.
const Block& block_at(const MoeModel& model, BlockId id);

// FFN blocks with routed experts, in the order in which a token meets them: those whose tokens may
// be dispatched. Routed attention (JetMoE) is not among them: its experts run where the token is.
std::vector<BlockId> routed_blocks(const MoeModel& model);

// Key-value bytes that one token adds to the cache in one layer, in the formats' kv_cache. For
// kLatent the compressed vector; a sparse indexer adds its own key in fp8 with a 4-byte scale
// (DeepSeek-V3.2's FlashMLA layout). 0 for linear attention and Mamba.
Bytes kv_bytes_per_token(const MoeModel& model, int layer);
// Fixed bytes per sequence in one layer: recurrent states in fp32, convolution tails in the
// activations' format.
Bytes state_bytes_per_sequence(const MoeModel& model, int layer);

// What is wrong with the model, in words, one per mistake: sizes that are missing or too large for
// their products to fit, heads that do not divide, top-k above the experts. Empty: it is sound. The
// readers report these as Error; everything else REQUIRES a sound model.
std::vector<std::string> model_mistakes(const MoeModel& model);

}  // namespace sim
