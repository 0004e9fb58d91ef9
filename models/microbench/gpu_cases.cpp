#include "models/microbench/case_builder.h"

namespace sim::microbench {

namespace {

// Published sizes of the models' routed experts (their config.json on Hugging Face).
constexpr LayerShape kDeepSeekV3{7168, 2048, 256, 8};
constexpr LayerShape kQwen3{2048, 768, 128, 8};    // Qwen3-30B-A3B
constexpr LayerShape kMixtral{4096, 14336, 8, 2};  // 8x7B
constexpr LayerShape kGptOss{2880, 2880, 32, 4};   // 20b

// The experts that one of `ranks` ranks of an expert-parallel group holds, with its share of the
// rows: how the experts of a large model are met in practice (and how they fit one device).
void add_local_experts(CaseBuilder& list, const LayerShape& shape, std::int64_t ranks,
                       const Counts& tokens, std::span<const Skew> skews, const Passes& passes) {
  const std::size_t before = list.cases().size();
  list.ffn(shape, tokens, skews, passes);
  const auto local = static_cast<std::size_t>(shape.experts / ranks);
  for (std::size_t i = before; i < list.cases().size(); ++i) list.cases()[i].rows.resize(local);
  std::erase_if(list.cases(), [](const KernelCase& one) {
    return one.kernel == "expert_ffn" && one.total_rows() == 0;
  });
}

void add_attention(CaseBuilder& list, bool quick) {
  const Counts lengths =
      quick ? Counts{512, 4096} : Counts{128, 512, 1024, 2048, 4096, 8192, 16384};
  for (const std::int64_t tokens : lengths) {
    const Passes passes = tokens <= 4096 ? Passes{"forward", "backward"} : Passes{"forward"};
    for (const std::int64_t kv_heads : {4, 8}) {
      list.plain("attention_prefill",
                 {{"sequences", 1},
                  {"tokens", tokens},
                  {"heads", 32},
                  {"kv_heads", kv_heads},
                  {"head_dim", 128}},
                 passes);
    }
    list.plain("mla_prefill",
               {{"sequences", 1},
                {"tokens", tokens},
                {"heads", 128},
                {"head_dim", 192},
                {"value_dim", 128}},
               passes);
  }
  const Counts sequences = quick ? Counts{1, 64} : Counts{1, 4, 16, 64, 128, 256};
  const Counts contexts = quick ? Counts{4096} : Counts{512, 2048, 4096, 16384};
  for (const std::int64_t s : sequences) {
    for (const std::int64_t context : contexts) {
      list.plain("attention_decode",
                 {{"sequences", s},
                  {"context", context},
                  {"heads", 32},
                  {"kv_heads", 8},
                  {"head_dim", 128}},
                 {"forward"});
      list.plain("mla_decode",
                 {{"sequences", s},
                  {"context", context},
                  {"heads", 128},
                  {"kv_rank", 512},
                  {"rope_dim", 64}},
                 {"forward"});
    }
  }
}

void add_copies(CaseBuilder& list, bool quick) {
  constexpr std::int64_t kMiB = 1 << 20;
  const Counts bytes =
      quick ? Counts{kMiB, 256 * kMiB} : Counts{65536, kMiB, 16 * kMiB, 256 * kMiB, 1024 * kMiB};
  for (const std::int64_t count : bytes) {
    for (const char* direction : {"to_device", "to_host", "both"}) {
      list.plain("host_copy", {{"bytes", count}}, {"forward"}, {{"direction", direction}});
    }
    list.plain("peer_copy", {{"bytes", count}}, {"forward"});
    for (const std::int64_t ranks : {2, 4, 8}) {
      for (const char* kernel : {"all_to_all", "all_reduce"}) {
        KernelCase one;
        one.kernel = kernel;
        one.implementation = "vendor";
        one.dtype = "bf16";
        one.sizes = {{"bytes", count}, {"ranks", ranks}};
        list.cases().push_back(one);
      }
    }
  }
}

// What changes when a kernel gets fewer SMs or is launched through a graph.
void add_sms_and_graphs(CaseBuilder& list, const Counts& sms) {
  CaseBuilder part({"own"}, {"own"});
  part.dtypes({"bf16"}, "bf16");
  constexpr Skew kSkew[] = {Skew::kZipf};
  part.grouped(kQwen3, {64, 1024}, kSkew, {"forward"});
  part.ffn(kQwen3, {64, 1024}, kSkew, {"forward"});
  for (const KernelCase& whole : part.cases()) {
    for (const std::int64_t count : sms) {
      KernelCase one = whole;
      one.sms = static_cast<int>(count);
      list.cases().push_back(one);
    }
    KernelCase one = whole;
    one.launch = "graph";
    list.cases().push_back(one);
  }
}

}  // namespace

std::vector<KernelCase> gpu_cases(bool quick) {
  constexpr std::int64_t kGiB = 1 << 30;
  constexpr Skew kOne[] = {Skew::kZipf};
  const std::span<const Skew> skews = quick ? std::span<const Skew>(kOne) : kSkews;
  const Passes matrix_passes = {"forward", "dgrad", "wgrad"};
  const Passes both = {"forward", "backward"};
  const Counts tokens = quick ? Counts{16, 256, 4096}
                              : Counts{1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
  const Counts few = quick ? Counts{256} : Counts{16, 128, 1024, 8192};
  const Counts batches = quick ? Counts{4096} : Counts{1024, 8192};  // of training

  CaseBuilder list({"own", "vendor"}, {"own"});
  list.dtypes({"bf16", "fp8"}, "bf16");
  list.memory_ceiling({kGiB});
  list.matrix_ceiling(quick ? Counts{8192} : Counts{4096, 8192});
  for (const LayerShape& shape : {kDeepSeekV3, kQwen3, kMixtral, kGptOss}) {
    list.dtypes({"bf16"}, "bf16");
    list.gemm(few, shape.experts, shape.hidden, matrix_passes);  // the router
    list.row_kernels(shape, few, both);
    list.dtypes({"bf16", "fp8"}, "bf16");
    list.gemm(few, shape.hidden, shape.hidden, {"forward"});
  }
  list.gemm(tokens, 4096, 7168, {"forward"});
  for (const LayerShape& shape : {kQwen3, kGptOss, kMixtral}) {
    list.dtypes({"bf16", "fp8"}, "bf16");
    list.grouped(shape, few, skews, {"forward"});
    list.grouped_padded(shape, few, Skew::kZipf, kUsualTile);
    list.ffn(shape, tokens, skews, {"forward"});
    list.dtypes({"bf16"}, "bf16");
    list.grouped(shape, batches, kOne, {"dgrad", "wgrad"});
    list.ffn(shape, batches, kOne, {"backward"});
  }
  list.dtypes({"bf16", "fp8"}, "bf16");
  add_local_experts(list, kDeepSeekV3, 8, tokens, skews, {"forward"});
  add_local_experts(list, kDeepSeekV3, 32, tokens, skews, {"forward"});
  list.dtypes({"bf16"}, "bf16");
  add_local_experts(list, kDeepSeekV3, 32, batches, kOne, {"backward"});
  add_attention(list, quick);
  add_copies(list, quick);
  add_sms_and_graphs(list, quick ? Counts{64} : Counts{16, 32, 64, 96, 112, 124});
  for (const LayerShape& shape : {kQwen3, kGptOss, kMixtral}) list.layer(shape, tokens, skews);
  return list.take();
}

}  // namespace sim::microbench
