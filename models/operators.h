// Every kernel of a model, from embedding to sampling, with its flops and bytes: what a cost model
// prices.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/dtype.h"
#include "models/moe_model.h"
#include "sim/core/units.h"

namespace sim {

// Decode runs MLA in its absorbed (latent) form and skips an encoder; prefill expands keys and
// values. Training's forward pass is a prefill.
enum class Phase { kPrefill, kDecode };

// The tokens that one attention replica (a TP group) runs in one step.
struct TokenBatch {
  Phase phase = Phase::kDecode;
  std::int64_t tokens = 0;  // rows of every dense GEMM
  std::int64_t sequences = 0;
  double attended_pairs =
      0;  // (query, key) pairs: decode sum of contexts; prefill sum of prompt*(prompt+1)/2
  double kv_tokens_read = 0;  // sum over sequences of cached tokens read, this step's own included
  double max_context =
      0;  // longest context, for sliding windows: pairs and reads are cut to the window
  std::int64_t logit_rows = 0;  // rows that reach the LM head
};

enum class OperatorKind {
  kEmbedding,
  kNorm,
  kAttention,
  kGate,
  kPermute,
  kDenseFfn,
  kSharedExpert,
  kExperts,
  kLmHead,
  kSampling,
  kOptimizer
};
std::string_view to_text(OperatorKind kind);

// Kernels whose time follows one law (models/costs): what their constants are kept by.
enum class KernelFamily {
  kExpertFfn,         // ExpertFfn, below
  kGemm,              // m, n, k
  kAttentionPrefill,  // AttentionShape; keys and values of grouped heads, or MLA's expanded ones
  kAttentionDecode,
  kMlaPrefill,
  kMlaDecode,  // absorbed: the latent cache is read as it is
  kStreaming,  // bound by memory: flops and bytes only
  kCopy,       // between host and device
  kOther       // recurrences, sparse indexers: flops and bytes only
};
std::string_view to_text(KernelFamily family);  // "expert_ffn", "gemm", "attention_prefill", ...
std::optional<KernelFamily> parse_kernel_family(std::string_view text);
std::vector<std::string> kernel_family_names();

// Which pass of training a kernel belongs to; inference is all forward. A weight gradient is added
// to what earlier micro-batches left.
enum class KernelPass { kForward, kInputGradient, kWeightGradient };

// The core of an attention block on one rank, after windows and chunks have cut it.
struct AttentionShape {
  double sequences = 0;
  double queries = 0;     // new tokens, all sequences together
  double pairs = 0;       // (query, key) pairs that are attended
  double cached = 0;      // keys read, all sequences together
  double longest = 0;     // keys that a query of the longest sequence may see
  bool windowed = false;  // a window or chunk hides keys of some sequence
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;   // MLA absorbed: 1
  std::int64_t head_dim = 0;   // of queries and keys; MLA absorbed: latent and rope
  std::int64_t value_dim = 0;  // MLA absorbed: latent
  double kv_value_bytes = 2;
};

// One kernel. A GEMM has m, n, k > 0, an attention core its shape; other kernels have only flops
// and bytes.
struct Operator {
  std::string name;  // "q_a_proj", "attention_core", "rms_norm"
  OperatorKind kind = OperatorKind::kNorm;
  KernelFamily family = KernelFamily::kStreaming;
  DType compute = DType::kBf16;
  DType stored = DType::kBf16;  // of a GEMM's weights, an attention's cache
  Flops flops;
  Bytes weight_bytes;      // read once per launch; of a weight gradient: read, added to and written
  Bytes activation_bytes;  // read and written
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t weights = 1;  // n x k matrices of a GEMM: the experts of a routed projection
  KernelPass pass = KernelPass::kForward;
  std::string like;  // of a backward kernel: the forward one, whose constants it takes
  AttentionShape attention;
  // A measured call that also does what a step lists as kernels of their own: quantises its rows (a
  // GEMM), writes new keys and values to the cache (attention), projects to or from latents (MLA).
  bool prepares = false;
};

// The expert FFN of one rank: one grouped GEMM pair over the rows that each local expert received.
struct ExpertFfn {
  std::span<const std::int64_t> rows;  // per local expert slot; 0 is allowed and touches no weights
  std::int64_t hidden = 0;
  std::int64_t inter = 0;     // after expert tensor parallelism
  bool gated = true;          // SwiGLU: up and gate
  std::int64_t extra_up = 0;  // further hidden x inter matrices before the activation (OpenMoE: 1)
  DType compute = DType::kBf16;
  DType stored = DType::kBf16;
  DType activations = DType::kBf16;
  // What the kernel is handed: `tokens` rows, each with `top_k` choices among `experts`. Kernels
  // pick their tile by the mean tokens x top_k / experts, and some walk choices of other ranks.
  // Behind a dispatch that hands over only local rows: the rows, 1, the local experts.
  std::int64_t tokens = 0;
  std::int64_t top_k = 0;
  std::int64_t experts = 0;
  // Two products per pass, with the flops of the forward's two: gradients of the rows (and of the
  // activation between), or of the weights, kept in `gradients`.
  KernelPass pass = KernelPass::kForward;
  DType gradients = DType::kFp32;
};

// Where a layer is cut by communication.
enum class BlockPart {
  kBeforeDispatch,  // attention block whole; or of an FFN block: norm, router, top-k, permute and
                    // quantise
  kShared,          // dense FFN or shared experts: needs no dispatch
  kAfterCombine,    // weighted sum of the returned rows, residual
};

// The names that operators of the families kStreaming and kOther have, over all models.
std::span<const std::string_view> operator_names();

// Kernels of one part of one block on one rank. `tp`: tensor-parallel width of attention, dense and
// shared FFN (heads and inter are split, rounded up; key-value heads are copied when fewer than
// tp). A part that runs nothing (an encoder's blocks in decode, zero tokens) is empty. REQUIRES: tp
// > 0, the block exists. `covered`: operators by name that the experts' kernel runs itself.
std::vector<Operator> block_operators(const MoeModel& model, int layer, int block, BlockPart part,
                                      const TokenBatch& batch, int tp,
                                      std::span<const std::string> covered = {});
std::vector<Operator> input_operators(const MoeModel& model, const TokenBatch& batch,
                                      int tp);  // embedding
std::vector<Operator> output_operators(const MoeModel& model, const TokenBatch& batch,
                                       int tp);  // final norm, LM head, sampling

// The routed experts of a block on a rank with `rows` per local expert slot, split over `etp`
// ranks, as behind a dispatch: the kernel is handed the rows that arrived, one choice each.
// REQUIRES: the block is an FFN with routing; `rows` outlives the result.
ExpertFfn expert_ffn(const MoeModel& model, BlockId block, std::span<const std::int64_t> rows,
                     int etp);
// Bytes per value of a GEMM's input: what it multiplies where that is narrower than 2 bytes (8-bit
// formats with 4 bytes of scale per 128 values), else the activations' format.
double gemm_input_bytes(DType multiplied, DType activations);
Flops flops_of(const ExpertFfn& ffn);
// Of the experts with rows > 0; a weight gradient's own, read and written.
Bytes weight_bytes_of(const ExpertFfn& ffn);
Bytes activation_bytes_of(const ExpertFfn& ffn);  // both GEMMs and the activation between

// Every kernel of the model on one rank in execution order, with one row "experts" per routed block
// as if all `tokens * top_k` rows were spread evenly over all experts on this rank (EP 1).
// `layer` is -1 for the embedding and the head.
struct PlacedOperator {
  int layer = -1;
  int block = -1;
  Operator op;
};
std::vector<PlacedOperator> all_operators(const MoeModel& model, const TokenBatch& batch, int tp);

}  // namespace sim
