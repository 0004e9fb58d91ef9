// Expert layers that were published as text: aiconfigurator's wide-EP records of B200 and
// DeepGEMM's grouped GEMM tables (papers/ground_truth of the reference data).
#include <fmt/format.h>

#include "models/calibration/sources/aiconfigurator_moe.h"
#include "models/calibration/sources/expert_readers.h"
#include "sim/core/error.h"
#include "sim/input/record_file.h"

namespace sim {
namespace {

constexpr std::int64_t kHidden = 7168;  // DeepSeek-V3: the only shape of these records
constexpr std::int64_t kInter = 2048;
constexpr std::int64_t kExperts = 256;
constexpr std::int64_t kTopK = 8;

std::string record_of(const KernelTable& table) {
  return std::string(table.name.substr(table.name.rfind('/') + 1));
}

MeasuredKernel deepseek_row(const KernelTable& table, std::int64_t number) {
  MeasuredKernel row = kernel_of(table, number);
  row.format = *parse_kernel_format("fp8_block");
  row.experts.hidden = kHidden;
  row.experts.inter = kInter;
  row.experts.compute = DType::kFp8;
  row.experts.stored = DType::kFp8;
  return row;
}

}  // namespace

// [ep, tokens, uniform, power_law_0.6, ...] in ms; a null is a case that did not run.
void read_aiconfigurator_skew(const KernelTable& table, const std::string& path,
                              std::vector<MeasuredKernel>& rows) {
  const bool decode = table.name.find("generation") != std::string_view::npos;
  constexpr std::array<std::pair<const char*, double>, 6> kLaws = {{{"uniform", 0},
                                                                    {"power_law_0.6", 0.6},
                                                                    {"power_law_0.8", 0.8},
                                                                    {"power_law_1.01", 1.01},
                                                                    {"power_law_1.02", 1.02},
                                                                    {"power_law_1.2", 1.2}}};
  each_record_row(path, record_of(table), true, [&](const auto& value, std::int64_t) {
    for (const auto& [name, exponent] : kLaws) {
      const auto time = value.find(name);
      if (time == value.end()) continue;
      MeasuredKernel row = deepseek_row(table, static_cast<std::int64_t>(rows.size()) + 1);
      row.source = decode ? "deepgemm-masked" : "deepgemm-contiguous";
      row.framework = "sglang 0.5.10";
      row.distribution = exponent == 0 ? "balanced" : name;
      row.time_s = time->second * 1e-3;
      row.routing = {exponent, static_cast<std::int64_t>(value.at("num_tokens")),  kTopK,
                     kExperts, static_cast<std::int64_t>(value.at("moe_ep_size")), 0};
      if (!decode) {
        row.experts.tokens = row.routing.tokens;
        row.experts.top_k = kTopK;
        row.experts.experts = kExperts;
        if (exponent == 0 && row.routing.tokens * kTopK < 64 * kExperts) {
          mark(row, "uniform prefill of few tokens touched a few experts only");
        }
      }
      mark_beyond_the_data_sheet(row);
      rows.push_back(std::move(row));
    }
  });
}

// {groups, m_per_group, n, k, tflops}: t = 2 groups m n k / tflops. The two GEMMs of DeepSeek-V3's
// experts follow each other; together they are a fused call without what stands around them.
void read_deepgemm_grouped(const KernelTable& table, const std::string& path,
                           std::vector<MeasuredKernel>& rows) {
  double up_s = 0;
  each_record_value(path, record_of(table), [&](YamlMap& value, std::int64_t) {
    const std::int64_t groups = value.count("groups", {1, 1 << 16});
    const std::int64_t each = value.count("m_per_group", {1, 1 << 24});
    const std::int64_t n = value.count("n", {1, 1 << 24});
    const std::int64_t k = value.count("k", {1, 1 << 24});
    const double tflops = value.number("tflops", {1e-3, 1e6});
    const double time_s = 2.0 * static_cast<double>(groups * each) * static_cast<double>(n) *
                          static_cast<double>(k) / (tflops * 1e12);
    if (n == 2 * kInter && k == kHidden) {
      up_s = time_s;
      return;
    }
    if (n != kHidden || k != kInter || up_s == 0) {
      value.mistake("n", "neither of the two GEMMs of DeepSeek-V3's experts, in their order");
      return;
    }
    MeasuredKernel row = deepseek_row(table, static_cast<std::int64_t>(rows.size()) + 1);
    row.source = "deepgemm-contiguous";
    row.framework = "deepgemm";
    row.distribution = "balanced";
    row.draws = {std::vector<std::int64_t>(static_cast<std::size_t>(groups), each)};
    row.time_s = up_s + time_s;
    row.note = "two grouped GEMMs alone";
    up_s = 0;
    rows.push_back(std::move(row));
  });
}

}  // namespace sim
