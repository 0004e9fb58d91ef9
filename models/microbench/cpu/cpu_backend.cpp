// The CPU as a device: the twins of reference/, timed and checked.
#include <cblas.h>

#include <algorithm>
#include <thread>

#include "models/microbench/cpu/cpu_kernel.h"
#include "models/microbench/cpu/machine_facts.h"
#include "models/microbench/cpu/stopwatch.h"
#include "sim/core/error.h"

namespace sim::microbench {

namespace {

class CpuBackend : public Backend {
 public:
  explicit CpuBackend(int threads) : threads_(threads) { openblas_set_num_threads(threads); }

  std::string name() const override { return "cpu"; }
  DeviceFacts facts() const override { return machine_facts(threads_); }

  TimingPolicy timing(bool quick) const override {
    TimingPolicy policy;
    policy.warm_up = quick ? 1 : 2;
    policy.least_repeats = quick ? 7 : 9;
    policy.least_time_s = quick ? 0.01 : 0.1;
    policy.clock = threads_ == 1 ? "steady clock; the thread's own time where others took its core"
                                 : "steady clock";
    policy.rotating_bytes = 256LL << 20;
    policy.rotated =
        "inputs, weights and outputs of a call; beyond the second-level cache by far, as a layer "
        "finds them after the other layers ran; not surely beyond a shared third-level cache; "
        "experts without rows count as rotated but are not read, so few tokens rotate over less";
    return policy;
  }

  std::string unsupported(const KernelCase& c) const override {
    if (c.kernel == "host_copy") return "the memory of a CPU is the host's";
    if (c.kernel == "peer_copy" || c.kernel == "all_to_all" || c.kernel == "all_reduce") {
      return "one device";
    }
    const CpuKernelEntry* entry = find(c);
    if (entry == nullptr) return "no twin on the CPU";
    if (c.implementation != entry->implementation) {
      return "on the CPU it is '" + std::string(entry->implementation) + "'";
    }
    if (c.dtype != "fp32") return "the CPU's twins compute in fp32";
    if (c.sms != 0) return "fewer threads are asked for with --threads";
    if (c.launch != "eager") return "a CPU has no launch graphs";
    const bool routed = c.kernel == "permute" || c.kernel == "unpermute" || c.kernel == "moe_layer";
    if (routed && !c.rows.empty() && c.total_rows() != c.size("tokens") * c.size("top_k")) {
      return "all experts are here, so rows are tokens x top_k";
    }
    return "";
  }

  Timing time(const KernelCase& c, const TimingPolicy& policy) override {
    const auto kernel = ready(c, policy.rotating_bytes);
    return time_calls([&](std::int64_t copy) { kernel->run(copy); }, arrays_.copies(), policy,
                      threads_ == 1 ? CallClock::kSteadyOrOwn : CallClock::kSteady);
  }

  CheckResult check(const KernelCase& c) override { return ready(c, 0)->check(); }

 private:
  static const CpuKernelEntry* find(const KernelCase& c) {
    for (const CpuKernelEntry& entry : cpu_kernels()) {
      if (entry.kernel == c.kernel) return &entry;
    }
    return nullptr;
  }

  std::unique_ptr<CpuKernel> ready(const KernelCase& c, std::int64_t rotating_bytes) {
    SIM_CHECK(unsupported(c).empty(), "only cases that are supported are run");
    arrays_.clear();
    std::unique_ptr<CpuKernel> kernel = find(c)->make(c, arrays_);
    arrays_.settle(rotating_bytes);
    kernel->prepare();
    return kernel;
  }

  int threads_;
  RotatingArrays arrays_;
};

constexpr CpuKernelEntry kKernels[] = {
    {"ceiling_memory", "own", make_memory_ceiling},
    {"ceiling_matrix", "vendor", make_gemm},
    {"gemm", "vendor", make_gemm},
    {"top_k", "own", make_top_k},
    {"permute", "own", make_permute},
    {"unpermute", "own", make_unpermute},
    {"grouped_gemm", "vendor", make_grouped_gemm},
    {"expert_ffn", "vendor", make_expert_ffn},
    {"activation", "own", make_activation},
    {"norm", "own", make_norm},
    {"quantise", "own", make_quantise},
    {"attention_prefill", "vendor", make_attention},
    {"attention_decode", "vendor", make_attention},
    {"mla_prefill", "vendor", make_attention},
    {"mla_decode", "vendor", make_attention},
    {"moe_layer", "vendor", make_moe_layer},
};

}  // namespace

std::span<const CpuKernelEntry> cpu_kernels() { return kKernels; }

std::unique_ptr<Backend> make_cpu_backend(int threads) {
  const int most = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  if (threads < 1 || threads > most) {
    throw Error("--threads is " + std::to_string(threads) + ", but this machine has 1 to " +
                std::to_string(most));
  }
  return std::make_unique<CpuBackend>(threads);
}

}  // namespace sim::microbench
