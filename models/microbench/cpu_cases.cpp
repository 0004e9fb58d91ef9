#include "models/microbench/case_builder.h"

namespace sim::microbench {

namespace {

// Small enough that a layer takes some milliseconds on one core, with weights (100 MB) far larger
// than a second-level cache.
constexpr LayerShape kLayer{512, 1024, 16, 2};
// Another one in every size (151 MB), so that what is fitted on the first can be judged on it.
constexpr LayerShape kHeldOut{768, 512, 32, 4};

constexpr Skew kThree[] = {Skew::kUniform, Skew::kZipf, Skew::kOneHot};
constexpr Skew kTwo[] = {Skew::kUniform, Skew::kZipf};
constexpr Skew kOne[] = {Skew::kZipf};

Sizes attention(std::int64_t sequences, const char* length_name, std::int64_t length) {
  return {{"sequences", sequences},
          {length_name, length},
          {"heads", 8},
          {"kv_heads", 2},
          {"head_dim", 64}};
}

Sizes latent_decode(std::int64_t sequences, std::int64_t context) {
  return {{"sequences", sequences},
          {"context", context},
          {"heads", 8},
          {"kv_rank", 512},
          {"rope_dim", 64}};
}

Sizes latent_prefill(std::int64_t tokens) {
  return {
      {"sequences", 1}, {"tokens", tokens}, {"heads", 4}, {"head_dim", 192}, {"value_dim", 128}};
}

void add_attention(CaseBuilder& list, bool quick) {
  const Counts lengths = quick ? Counts{64, 256} : Counts{64, 128, 256, 512, 1024};
  for (const std::int64_t tokens : lengths) {
    const Passes passes = tokens <= 256 ? Passes{"forward", "backward"} : Passes{"forward"};
    list.matrix("attention_prefill", attention(1, "tokens", tokens), passes);
    list.matrix("mla_prefill", latent_prefill(tokens), passes);
  }
  const Counts sequences = quick ? Counts{1, 16} : Counts{1, 4, 16, 64};
  const Counts contexts = quick ? Counts{256, 2048} : Counts{128, 512, 2048, 4096};
  for (const std::int64_t s : sequences) {
    for (const std::int64_t context : contexts) {
      list.matrix("attention_decode", attention(s, "context", context), {"forward"});
      list.matrix("mla_decode", latent_decode(s, context), {"forward"});
    }
  }
}

}  // namespace

std::vector<KernelCase> cpu_cases(bool quick) {
  const Passes matrix_passes = {"forward", "dgrad", "wgrad"};
  const Passes both = {"forward", "backward"};
  const Counts tokens =
      quick ? Counts{1, 4, 16, 64, 256, 1024} : Counts{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
  const Counts few = quick ? Counts{16, 256} : Counts{4, 16, 64, 256, 1024};
  constexpr std::int64_t kMiB = 1 << 20;

  CaseBuilder list({"vendor"}, {"own"});
  list.memory_ceiling(quick ? Counts{128 * kMiB} : Counts{64 * kMiB, 512 * kMiB});
  list.matrix_ceiling(quick ? Counts{1024} : Counts{512, 1024, 2048});
  for (const std::int64_t m : tokens) {
    const Passes passes = m >= 16 ? matrix_passes : Passes{"forward"};
    list.gemm({m}, kLayer.experts, kLayer.hidden, passes);
  }
  list.gemm(few, kHeldOut.experts, kHeldOut.hidden, {"forward"});
  list.gemm(few, kLayer.hidden, kLayer.hidden, quick ? Passes{"forward"} : matrix_passes);
  for (const std::int64_t t : tokens) {
    list.row_kernels(kLayer, {t}, quick && t != 256 ? Passes{"forward"} : both);
  }
  list.row_kernels(kHeldOut, few, {"forward"});
  list.grouped(kLayer, few, kOne, matrix_passes);
  if (!quick) list.grouped(kLayer, tokens, kSkews, {"forward"});
  list.grouped_padded(kLayer, few, Skew::kZipf, 16);
  list.ffn(kLayer, tokens, quick ? std::span<const Skew>(kThree) : kSkews, {"forward"});
  list.ffn(kLayer, few, kOne, {"backward"});
  list.ffn(kHeldOut, few, quick ? std::span<const Skew>(kOne) : kSkews, {"forward"});
  add_attention(list, quick);
  list.layer(kLayer, tokens, quick ? std::span<const Skew>(kTwo) : kSkews);
  list.layer(kHeldOut, quick ? few : tokens, quick ? std::span<const Skew>(kTwo) : kSkews);
  return list.take();
}

}  // namespace sim::microbench
