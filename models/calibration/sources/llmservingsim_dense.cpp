// LLMServingSim's profile of vLLM 0.19 on one RTX PRO 6000, Qwen3-30B-A3B in bf16, tensor parallel
// width 1: kernels of the GPU, in microseconds, per layer and number of tokens or sequences.
//
// Widths are the model's (its config.json): hidden 2048, 32 heads and 4 key-value heads of 128,
// vocabulary 151936. qk_norm reads and writes queries and keys; rotary_emb too; the sampler reads
// fp32 logits twice, as models/operators.cpp counts it.
#include <fmt/format.h>

#include <array>

#include "models/calibration/measured_operators.h"
#include "models/calibration/sources/dense_readers.h"

namespace sim {
namespace {

constexpr double kMicro = 1e-6;
constexpr std::int64_t kMost = std::int64_t{1} << 20;
constexpr std::int64_t kHidden = 2048, kHeads = 32, kKvHeads = 4, kHeadDim = 128;
constexpr std::int64_t kVocabulary = 151936;
constexpr double kValue = 2;  // bytes of bf16

struct ProfiledLayer {
  std::string_view in_table;
  std::string_view ours;  // of models/operators.cpp
  std::int64_t n, k;      // of a GEMM
  double bytes_per_row;   // of a streaming kernel
};
constexpr double kQueriesAndKeys = static_cast<double>((kHeads + kKvHeads) * kHeadDim) * kValue;
constexpr std::array kLayers = {
    ProfiledLayer{"embedding", "embedding", 0, 0, 2 * kHidden* kValue},
    ProfiledLayer{"layernorm", "residual_norm", 0, 0, 4 * kHidden* kValue},
    ProfiledLayer{"final_layernorm", "residual_norm", 0, 0, 4 * kHidden* kValue},
    ProfiledLayer{"qk_norm", "norm", 0, 0, 2 * kQueriesAndKeys},
    ProfiledLayer{"rotary_emb", "rope_kv_write", 0, 0, 2 * kQueriesAndKeys},
    ProfiledLayer{"qkv_proj", "qkv_proj", (kHeads + 2 * kKvHeads) * kHeadDim, kHidden, 0},
    ProfiledLayer{"o_proj", "o_proj", kHidden, kHeads* kHeadDim, 0},
    ProfiledLayer{"lm_head", "lm_head", kVocabulary, kHidden, 0},
    ProfiledLayer{"sampler", "sampling", 0, 0, 8.0 * kVocabulary},
};

void read_layers(const KernelTable& table, const std::string& path, const char* size_column,
                 std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const std::size_t layer = file.column("layer");
  const std::size_t size = file.column(size_column);
  const std::size_t time = file.column("time_us");
  for (std::int64_t number = 1; file.next(); ++number) {
    MeasuredKernel row = kernel_of(table, number);
    row.framework = "vllm 0.19.0";
    row.time_s = file.number(time, 1e-1, 1e7) * kMicro;
    const std::int64_t count = file.count(size, kMost);
    const ProfiledLayer* known = nullptr;
    for (const ProfiledLayer& each : kLayers) {
      if (each.in_table == file.text(layer)) known = &each;
    }
    if (known == nullptr) {
      file.fail(layer, fmt::format("'{}' is not a layer that this reader knows", file.text(layer)));
    }
    if (known->n > 0) {
      row.source = "cublas";
      row.family = KernelFamily::kGemm;
      row.op = gemm_operator(row.format, count, known->n, known->k);
      row.op.name = known->ours;
    } else {
      row.source = "vllm";
      row.family = KernelFamily::kStreaming;
      row.op = streaming_operator(known->ours, static_cast<double>(count) * known->bytes_per_row);
    }
    rows.push_back(std::move(row));
  }
}

}  // namespace

void read_llmservingsim_qwen(const KernelTable& table, const std::string& path,
                             std::vector<MeasuredKernel>& rows) {
  read_layers(table, path, "tokens", rows);
}

void read_llmservingsim_sequences(const KernelTable& table, const std::string& path,
                                  std::vector<MeasuredKernel>& rows) {
  read_layers(table, path, "sequences", rows);
}

// An older profile: Mixtral-8x7B on one H100 in PyTorch, nanoseconds per layer and number of
// tokens. Its GEMMs are cuBLAS's; norms, activations and rotary positions are unfused PyTorch,
// several kernels each, which no server runs, and are left out; so is the gate, which holds host
// time.
void read_llmservingsim_mixtral(const KernelTable& table, const std::string& path,
                                std::vector<MeasuredKernel>& rows) {
  static constexpr std::array kGemms = {
      ProfiledLayer{"q_proj", "q_proj", 4096, 4096, 0},
      ProfiledLayer{"k_proj", "kv_proj", 1024, 4096, 0},
      ProfiledLayer{"v_proj", "kv_proj", 1024, 4096, 0},
      ProfiledLayer{"o_proj", "o_proj", 4096, 4096, 0},
      ProfiledLayer{"expert.w1", "up_proj", 14336, 4096, 0},
      ProfiledLayer{"expert.w2", "down_proj", 4096, 14336, 0},
      ProfiledLayer{"expert.w3", "up_proj", 14336, 4096, 0},
      ProfiledLayer{"lm_head", "lm_head", 32000, 4096, 0},
  };
  CsvFile file(path);
  const std::size_t layer = file.column("layer_name");
  const std::size_t tokens = file.column("input");
  const std::size_t time = file.column("latency(ns)");
  for (std::int64_t number = 1; file.next(); ++number) {
    for (const ProfiledLayer& each : kGemms) {
      if (each.in_table != file.text(layer)) continue;
      MeasuredKernel row = kernel_of(table, number);
      row.source = "cublas";
      row.framework = "pytorch";
      row.family = KernelFamily::kGemm;
      row.time_s = file.number(time, 100, 1e10) * 1e-9;
      row.op = gemm_operator(row.format, file.count(tokens, kMost), each.n, each.k);
      row.op.name = each.ours;
      rows.push_back(std::move(row));
    }
  }
}

// Mixed batches: `prefill_chunk` new tokens of one sequence over `kv_prefill` cached ones, and
// `n_decode` sequences of `kv_decode` tokens. Only rows of one kind are ours.
void read_llmservingsim_attention(const KernelTable& table, const std::string& path,
                                  std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const std::size_t chunk = file.column("prefill_chunk");
  const std::size_t cached = file.column("kv_prefill");
  const std::size_t sequences = file.column("n_decode");
  const std::size_t context = file.column("kv_decode");
  const std::size_t time = file.column("time_us");
  for (std::int64_t number = 1; file.next(); ++number) {
    const bool decode = file.count(chunk, kMost) == 0 && file.count(sequences, kMost) > 0;
    const bool prefill = file.count(sequences, kMost) == 0 && file.count(cached, kMost) == 0 &&
                         file.count(chunk, kMost) > 0;
    if (!decode && !prefill) continue;
    MeasuredKernel row = kernel_of(table, number);
    row.framework = "vllm 0.19.0";
    row.source = "vllm-flash";
    row.time_s = file.number(time, 1e-1, 1e9) * kMicro;
    AlikeSequences of = {
        .heads = kHeads, .kv_heads = kKvHeads, .head_dim = kHeadDim, .value_dim = kHeadDim};
    of.sequences = decode ? static_cast<double>(file.count(sequences, kMost)) : 1;
    of.context =
        static_cast<double>(decode ? file.count(context, kMost) : file.count(chunk, kMost));
    row.family = decode ? KernelFamily::kAttentionDecode : KernelFamily::kAttentionPrefill;
    row.op = (decode ? decode_operator : prefill_operator)(row.family, row.format, of);
    rows.push_back(std::move(row));
  }
}

}  // namespace sim
