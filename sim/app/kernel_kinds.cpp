#include "sim/app/kernel_kinds.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "sim/core/error.h"

namespace sim {
namespace {

// Between kernels: fp32 where the kernel multiplies fp32, else bf16.
DType activations(const KernelSubject& subject) {
  return subject.format.multiplied == DType::kFp32 ? DType::kFp32 : DType::kBf16;
}
double value_bytes(const KernelSubject& subject) { return bytes_per_value(activations(subject)); }

Bytes whole(double bytes) { return Bytes(static_cast<std::int64_t>(std::ceil(bytes))); }
double number(std::int64_t value) { return static_cast<double>(value); }

std::int64_t size_of(const KernelKind& kind, const KernelSubject& subject, std::string_view key) {
  return subject.sizes[static_cast<std::size_t>(size_index(kind, key))];
}

Operator& begin(const KernelKind& kind, KernelSubject& subject) {
  subject.op = Operator{};
  subject.op.name = kind.op;
  subject.op.family = kind.family;
  subject.op.compute = subject.format.multiplied;
  subject.op.stored = subject.format.stored;
  return subject.op;
}

constexpr std::int64_t kMostExperts = 65536;

void fill_experts(const KernelKind& kind, KernelSubject& subject) {
  ExpertFfn& ffn = subject.experts;
  ffn = ExpertFfn{};
  ffn.hidden = size_of(kind, subject, "hidden");
  ffn.inter = size_of(kind, subject, "inter");
  ffn.top_k = size_of(kind, subject, "topk");
  ffn.experts = size_of(kind, subject, "experts");
  const std::int64_t gated = size_of(kind, subject, "gated");
  if (gated > 1) throw Error(fmt::format("gated {} is neither 0 nor 1", gated));
  ffn.gated = gated == 1;
  ffn.stored = subject.format.stored;
  ffn.compute = subject.format.multiplied;
  ffn.activations = activations(subject);
  ffn.tokens = size_of(kind, subject, "tokens");
  const std::int64_t ep = size_of(kind, subject, "ep");
  if (ffn.top_k > ffn.experts) {
    throw Error(fmt::format("topk {} is more than the {} experts", ffn.top_k, ffn.experts));
  }
  if (ffn.experts % ep != 0) {
    throw Error(fmt::format("{} experts do not divide over ep {}", ffn.experts, ep));
  }
  if (ffn.experts > kMostExperts) {
    throw Error(fmt::format("{} experts are more than the {} that a question may have", ffn.experts,
                            kMostExperts));
  }
  if (subject.rows.empty()) {
    subject.rows = balanced_rows(ffn.tokens, ffn.top_k, ffn.experts, ep);
  } else if (static_cast<std::int64_t>(subject.rows.size()) > ffn.experts) {
    throw Error(
        fmt::format("rows of {} experts, of {} experts in all", subject.rows.size(), ffn.experts));
  }
  ffn.rows = subject.rows;
}

void fill_gemm(const KernelKind& kind, KernelSubject& subject) {
  Operator& op = begin(kind, subject);
  op.m = size_of(kind, subject, "m");
  op.n = size_of(kind, subject, "n");
  op.k = size_of(kind, subject, "k");
  op.flops = Flops(2 * number(op.m) * number(op.n) * number(op.k));
  op.weight_bytes = stored_bytes(usual_format(op.stored), op.n, op.k);
  op.activation_bytes =
      whole(number(op.m) * (number(op.k) * gemm_input_bytes(op.compute, activations(subject)) +
                            number(op.n) * value_bytes(subject)));
}

// Heads of one size over `keys` keys per sequence; queries x keys pairs in all.
void fill_attention(Operator& op, std::int64_t sequences, double queries, double pairs, double keys,
                    std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim,
                    std::int64_t value_dim, double cached_values_per_key, double value) {
  AttentionShape& shape = op.attention;
  shape.sequences = number(sequences);
  shape.queries = shape.sequences * queries;
  shape.pairs = shape.sequences * pairs;
  shape.cached = shape.sequences * keys;
  shape.longest = keys;
  shape.heads = heads;
  shape.kv_heads = kv_heads;
  shape.head_dim = head_dim;
  shape.value_dim = value_dim;
  shape.kv_value_bytes = bytes_per_value(op.stored);
  const double per_pair = number(heads * (head_dim + value_dim)) * 2;
  op.flops = Flops(shape.pairs * per_pair);
  op.activation_bytes = whole(shape.cached * cached_values_per_key * shape.kv_value_bytes +
                              shape.queries * number(heads * (head_dim + value_dim)) * value);
}

void check_heads(std::int64_t heads, std::int64_t kv_heads) {
  if (kv_heads > heads) {
    throw Error(fmt::format("kv_heads {} is more than heads {}", kv_heads, heads));
  }
}

void fill_decode(const KernelKind& kind, KernelSubject& subject) {
  Operator& op = begin(kind, subject);
  const std::int64_t heads = size_of(kind, subject, "heads");
  const std::int64_t kv_heads = size_of(kind, subject, "kv_heads");
  check_heads(heads, kv_heads);
  const std::int64_t head_dim = size_of(kind, subject, "head_dim");
  std::int64_t value_dim = size_of(kind, subject, "value_dim");
  if (value_dim == 0) value_dim = head_dim;
  const std::int64_t window = size_of(kind, subject, "window");
  double keys = number(size_of(kind, subject, "context"));
  op.attention.windowed = window > 0 && number(window) < keys;
  if (window > 0) keys = std::min(keys, number(window));
  fill_attention(op, size_of(kind, subject, "sequences"), 1, keys, keys, heads, kv_heads, head_dim,
                 value_dim, number(kv_heads * (head_dim + value_dim)), value_bytes(subject));
}

void fill_prefill(const KernelKind& kind, KernelSubject& subject) {
  Operator& op = begin(kind, subject);
  const std::int64_t heads = size_of(kind, subject, "heads");
  const std::int64_t kv_heads = size_of(kind, subject, "kv_heads");
  check_heads(heads, kv_heads);
  const std::int64_t head_dim = size_of(kind, subject, "head_dim");
  std::int64_t value_dim = size_of(kind, subject, "value_dim");
  if (value_dim == 0) value_dim = head_dim;
  const double tokens = number(size_of(kind, subject, "tokens"));
  const double window = number(size_of(kind, subject, "window"));
  double pairs = tokens * (tokens + 1) / 2;
  op.attention.windowed = window > 0 && window < tokens;
  if (op.attention.windowed) pairs = tokens * window - window * (window - 1) / 2;
  fill_attention(op, size_of(kind, subject, "sequences"), tokens, pairs, tokens, heads, kv_heads,
                 head_dim, value_dim, number(kv_heads * (head_dim + value_dim)),
                 value_bytes(subject));
}

// Absorbed: one latent head of keys, read as it is in the cache.
void fill_mla_decode(const KernelKind& kind, KernelSubject& subject) {
  Operator& op = begin(kind, subject);
  const std::int64_t rank = size_of(kind, subject, "kv_rank");
  const std::int64_t rope = size_of(kind, subject, "rope_dim");
  const double keys = number(size_of(kind, subject, "context"));
  fill_attention(op, size_of(kind, subject, "sequences"), 1, keys, keys,
                 size_of(kind, subject, "heads"), 1, rank + rope, rank, number(rank + rope),
                 value_bytes(subject));
}

void fill_mla_prefill(const KernelKind& kind, KernelSubject& subject) {
  Operator& op = begin(kind, subject);
  const std::int64_t heads = size_of(kind, subject, "heads");
  const std::int64_t head_dim = size_of(kind, subject, "head_dim");
  const std::int64_t value_dim = size_of(kind, subject, "value_dim");
  const double tokens = number(size_of(kind, subject, "tokens"));
  fill_attention(op, size_of(kind, subject, "sequences"), tokens, tokens * (tokens + 1) / 2, tokens,
                 heads, heads, head_dim, value_dim, number(heads * (head_dim + value_dim)),
                 value_bytes(subject));
}

void fill_bytes(const KernelKind& kind, KernelSubject& subject) {
  begin(kind, subject).activation_bytes = Bytes(size_of(kind, subject, "bytes"));
}

// Kernels bound by memory, as models/operators.cpp counts them: values x bytes of each.
void fill_streaming(const KernelKind& kind, KernelSubject& subject) {
  Operator& op = begin(kind, subject);
  op.compute = op.stored = DType::kFp32;
  const double rows = number(subject.sizes[0]);
  const double width = number(subject.sizes[1]);
  const double value = value_bytes(subject);
  const double quantised = gemm_input_bytes(subject.format.multiplied, activations(subject));
  double bytes = 0;
  double flops = 0;
  if (kind.name == "norm") {
    bytes = 2 * rows * width * value;
    flops = 4 * rows * width;
  } else if (kind.name == "residual_norm") {
    bytes = 4 * rows * width * value;
    flops = 5 * rows * width;
  } else if (kind.name == "quantise") {
    bytes = rows * width * (value + gemm_input_bytes(DType::kFp8, DType::kBf16));
    flops = 3 * rows * width;
  } else if (kind.name == "activation") {
    bytes = 2 * rows * width * value + rows * width * quantised;
    flops = 5 * rows * width;
  } else if (kind.name == "permute_quantise") {
    bytes = rows * width * (value + number(subject.sizes[2]) * quantised);
  } else if (kind.name == "weighted_sum") {
    bytes = rows * width * (number(subject.sizes[2]) + 1) * value;
    flops = 2 * rows * width * number(subject.sizes[2]);
  } else if (kind.name == "top_k") {
    bytes = rows * width * 4 + rows * number(subject.sizes[2]) * 8;
    flops = 5 * rows * width;
  } else if (kind.name == "embedding") {
    bytes = 2 * rows * width * value;
  } else {
    SIM_CHECK(kind.name == "sampling", "every streaming kernel has its bytes");
    bytes = 8 * rows * width;
    flops = 5 * rows * width;
  }
  op.flops = Flops(flops);
  op.activation_bytes = whole(bytes);
}

constexpr auto kExpertSizes = std::to_array<KernelSize>({
    {"hidden", "hidden_size", kNeeded, "width of a token"},
    {"inter", "inter_size", kNeeded, "width of an expert, of this GPU's share of it"},
    {"topk", "top_k", kNeeded, "experts of a token"},
    {"experts", "num_experts", kNeeded, "routed experts on all ranks together"},
    {"tokens", "num_tokens", kNeeded, "tokens of the whole expert-parallel group"},
    {"ep", "moe_ep_size", 1, "ranks that share the experts: of the balanced rows"},
    {"gated", "", 1, "1: up and gate matrices (SwiGLU); 0: one"},
});
constexpr auto kGemmSizes = std::to_array<KernelSize>({
    {"m", "", kNeeded, "rows"},
    {"n", "", kNeeded, "columns of the result"},
    {"k", "", kNeeded, "columns of the input"},
});
constexpr auto kDecodeSizes = std::to_array<KernelSize>({
    {"sequences", "batch_size", kNeeded, "requests, one new token each"},
    {"context", "", kNeeded, "keys of each"},
    {"heads", "num_heads", kNeeded, "of queries"},
    {"kv_heads", "num_key_value_heads", kNeeded, "of keys and values"},
    {"head_dim", "", kNeeded, "of queries and keys"},
    {"value_dim", "", 0, "of values; 0: as head_dim"},
    {"window", "window_size", 0, "last keys that are attended; 0: all"},
});
constexpr auto kPrefillSizes = std::to_array<KernelSize>({
    {"sequences", "batch_size", kNeeded, "prompts"},
    {"tokens", "context", kNeeded, "of each"},
    {"heads", "num_heads", kNeeded, "of queries"},
    {"kv_heads", "num_key_value_heads", kNeeded, "of keys and values"},
    {"head_dim", "", kNeeded, "of queries and keys"},
    {"value_dim", "", 0, "of values; 0: as head_dim"},
    {"window", "window_size", 0, "last keys that are attended; 0: all"},
});
constexpr auto kMlaDecodeSizes = std::to_array<KernelSize>({
    {"sequences", "batch_size", kNeeded, "requests, one new token each"},
    {"context", "", kNeeded, "keys of each"},
    {"heads", "num_heads", kNeeded, "of queries"},
    {"kv_rank", "", 512, "width of the latent"},
    {"rope_dim", "", 64, "width of the rotary part"},
});
constexpr auto kMlaPrefillSizes = std::to_array<KernelSize>({
    {"sequences", "batch_size", kNeeded, "prompts"},
    {"tokens", "context", kNeeded, "of each"},
    {"heads", "", kNeeded, ""},
    {"head_dim", "", 192, "of queries and keys"},
    {"value_dim", "", 128, "of values"},
});
constexpr auto kBytesSizes = std::to_array<KernelSize>({
    {"bytes", "", kNeeded, "read and written"},
});
constexpr auto kRowsHidden = std::to_array<KernelSize>({
    {"rows", "tokens", kNeeded, ""},
    {"hidden", "", kNeeded, "values of a row"},
});
constexpr auto kRowsInter = std::to_array<KernelSize>({
    {"rows", "tokens", kNeeded, ""},
    {"inter", "", kNeeded, "values of a row that is written"},
});
constexpr auto kTokensHiddenTopk = std::to_array<KernelSize>({
    {"tokens", "", kNeeded, ""},
    {"hidden", "", kNeeded, "values of a token"},
    {"topk", "top_k", kNeeded, "copies of a token"},
});
constexpr auto kTokensExpertsTopk = std::to_array<KernelSize>({
    {"tokens", "", kNeeded, ""},
    {"experts", "", kNeeded, "scores of a token"},
    {"topk", "top_k", kNeeded, "choices of a token"},
});
constexpr auto kRowsVocabulary = std::to_array<KernelSize>({
    {"rows", "tokens", kNeeded, "that are sampled"},
    {"vocabulary", "", kNeeded, "scores of a row"},
});

using F = KernelFamily;
const auto kKinds = std::to_array<KernelKind>({
    {"expert_ffn", "moe", F::kExpertFfn, "experts", "the routed experts of one rank, fused",
     kExpertSizes, fill_experts},
    {"gemm", "", F::kGemm, "gemm", "m x k times k x n", kGemmSizes, fill_gemm},
    {"attention_prefill", "", F::kAttentionPrefill, "attention_core", "causal, grouped heads",
     kPrefillSizes, fill_prefill},
    {"attention_decode", "", F::kAttentionDecode, "attention_core", "one query per sequence",
     kDecodeSizes, fill_decode},
    {"mla_prefill", "", F::kMlaPrefill, "attention_core", "causal, keys and values expanded",
     kMlaPrefillSizes, fill_mla_prefill},
    {"mla_decode", "", F::kMlaDecode, "attention_core", "absorbed: over the latent cache",
     kMlaDecodeSizes, fill_mla_decode},
    {"norm", "", F::kStreaming, "norm", "RMS norm", kRowsHidden, fill_streaming},
    {"residual_norm", "", F::kStreaming, "residual_norm", "adds the residual and normalises",
     kRowsHidden, fill_streaming},
    {"quantise", "quantize", F::kStreaming, "quantise", "bf16 to fp8 with scales", kRowsHidden,
     fill_streaming},
    {"activation", "swiglu", F::kStreaming, "shared_activation", "SwiGLU", kRowsInter,
     fill_streaming},
    {"permute_quantise", "permute", F::kStreaming, "permute_quantise",
     "tokens into the order of their experts", kTokensHiddenTopk, fill_streaming},
    {"weighted_sum", "unpermute", F::kStreaming, "weighted_sum", "experts' rows into tokens",
     kTokensHiddenTopk, fill_streaming},
    {"top_k", "topk", F::kStreaming, "top_k", "scores to choices", kTokensExpertsTopk,
     fill_streaming},
    {"embedding", "", F::kStreaming, "embedding", "rows of the table", kRowsHidden, fill_streaming},
    {"sampling", "", F::kStreaming, "sampling", "softmax and draw", kRowsVocabulary,
     fill_streaming},
    {"streaming", "", F::kStreaming, "", "any kernel bound by memory", kBytesSizes, fill_bytes},
    {"copy", "host_copy", F::kCopy, "", "between host and device", kBytesSizes, fill_bytes},
});

}  // namespace

bool KernelKind::has_format() const {
  return family != KernelFamily::kStreaming && family != KernelFamily::kCopy;
}

std::span<const KernelKind> kernel_kinds() { return kKinds; }

const KernelKind* find_kernel_kind(std::string_view name) {
  for (const KernelKind& kind : kKinds) {
    if (kind.name == name || (!kind.also.empty() && kind.also == name)) return &kind;
  }
  return nullptr;
}

std::vector<std::string> kernel_kind_names() {
  std::vector<std::string> names;
  for (const KernelKind& kind : kKinds) names.emplace_back(kind.name);
  return names;
}

int size_index(const KernelKind& kind, std::string_view key) {
  for (std::size_t i = 0; i < kind.sizes.size(); ++i) {
    if (kind.sizes[i].key == key || (!key.empty() && kind.sizes[i].also == key)) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

std::vector<std::string> size_names(const KernelKind& kind) {
  std::vector<std::string> names;
  for (const KernelSize& size : kind.sizes) names.emplace_back(size.key);
  return names;
}

KernelCall call_of(const KernelKind& kind, const KernelSubject& subject) {
  KernelCall call;
  if (kind.is_experts()) {
    call.experts = &subject.experts;
  } else {
    call.op = &subject.op;
  }
  return call;
}

double flops_of(const KernelKind& kind, const KernelSubject& subject) {
  return kind.is_experts() ? flops_of(subject.experts).count() : subject.op.flops.count();
}

double bytes_of(const KernelKind& kind, const KernelSubject& subject) {
  const Bytes bytes = kind.is_experts()
                          ? weight_bytes_of(subject.experts) + activation_bytes_of(subject.experts)
                          : subject.op.weight_bytes + subject.op.activation_bytes;
  return number(bytes.count());
}

std::vector<std::int64_t> balanced_rows(std::int64_t tokens, std::int64_t top_k,
                                        std::int64_t experts, std::int64_t ep) {
  const std::int64_t all = tokens * top_k;
  const std::int64_t rest = all % experts;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(experts / ep), all / experts);
  const auto before = [&](std::int64_t expert) { return (expert * rest + experts - 1) / experts; };
  for (std::int64_t e = 0; e < experts / ep; ++e) {
    rows[static_cast<std::size_t>(e)] += before(e + 1) - before(e);
  }
  return rows;
}

}  // namespace sim
