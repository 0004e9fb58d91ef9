// Constants of expert kernels taken elsewhere.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "models/costs/borrowed_constants.h"
#include "models/costs/calibrated_costs.h"
#include "sim/app/expert_subject.h"

namespace sim {
namespace {

constexpr std::size_t kFewRows = 20;         // what "a few rows of its own" are
constexpr std::size_t kFewestOfTarget = 60;  // rows to try them on

// Constants of one kernel over rows of another table; then with a few rows of its own.
TransferAccuracy transfer(std::string kind, std::string from, std::string to,
                          const std::vector<double>& values, const DeviceRates& rates,
                          const KernelRows& target, ErrorPool& before, ErrorPool& after) {
  TransferAccuracy result{std::move(kind), std::move(from), std::move(to), {}, {}};
  const std::vector<CountedKernel> rows = counted(target, kMostErrorRows);
  const ErrorPool first = pool_of(rows, rates, values);
  result.before = first.summary();
  before.add(first);
  if (rows.size() < kFewestOfTarget) return result;
  std::vector<std::pair<double, std::size_t>> lots;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    lots.emplace_back(lot_of(rows[i].row->id, "few"), i);
  }
  std::sort(lots.begin(), lots.end());
  std::vector<CountedKernel> few, rest;
  for (std::size_t i = 0; i < lots.size(); ++i) {
    (i < kFewRows ? few : rest).push_back(rows[lots[i].second]);
  }
  ExpertFitQuestion question;
  question.rows = few;
  question.rates = rates;
  question.values = values;
  question.free = {"start", "compute_share", "memory_share"};
  question.from_values = true;
  question.starts = 1;
  const ErrorPool second = pool_of(rest, rates, fit_experts(question).values);
  result.after = second.summary();
  after.add(second);
  return result;
}

struct Pair {
  const char* kind;
  const char* from;  // "device kernel format"
  const char* to;    // the same; or "table:NAME KERNEL"
};
// Same kernel, other framework; same kernel, another device by its data sheet (weight-only kernels
// by SM count x clock).
constexpr Pair kPairs[] = {
    {"framework", "h100-sxm vllm-triton bf16", "h100-sxm sglang-triton bf16"},
    {"framework", "h100-sxm sglang-triton bf16", "h100-sxm vllm-triton bf16"},
    {"framework", "h100-sxm vllm-triton fp8_block", "h100-sxm sglang-triton fp8_block"},
    {"framework", "h100-sxm sglang-triton fp8_block", "h100-sxm vllm-triton fp8_block"},
    {"framework", "h100-sxm vllm-marlin int4_wo", "h100-sxm sglang-marlin int4_wo"},
    {"framework", "h100-sxm vllm-marlin w4a16_mxfp4", "h100-sxm sglang-marlin w4a16_mxfp4"},
    {"framework", "a100-sxm-80gb sglang-triton bf16", "a100-sxm-80gb vllm-triton bf16"},
    {"framework", "a100-sxm-80gb vllm-triton bf16", "table:frontier-a100-mixtral vllm-triton"},
    {"framework", "a100-sxm-80gb vllm-triton bf16", "table:frontier-a800-qwen3 vllm-triton"},
    {"device", "h100-sxm sglang-triton bf16", "a100-sxm-80gb sglang-triton bf16"},
    {"device", "a100-sxm-80gb sglang-triton bf16", "h100-sxm sglang-triton bf16"},
    {"device", "h100-sxm vllm-triton bf16", "a100-sxm-80gb vllm-triton bf16"},
    {"device", "h100-sxm sglang-marlin int4_wo", "a100-sxm-80gb sglang-marlin int4_wo"},
    {"device", "h100-sxm vllm-marlin int4_wo", "b200-sxm vllm-marlin int4_wo"},
    {"device", "h100-sxm vllm-marlin w4a16_mxfp4", "b200-sxm vllm-marlin w4a16_mxfp4"},
    {"device", "h100-sxm deepgemm-masked fp8_block", "h800-sxm deepgemm-masked fp8_block"},
    {"device", "h100-sxm deepgemm-contiguous fp8_block", "h800-sxm deepgemm-contiguous fp8_block"},
    {"device", "h100-sxm deepgemm-masked fp8_block", "b200-sxm deepgemm-masked fp8_block"},
    {"device", "h100-sxm deepgemm-contiguous fp8_block", "b200-sxm deepgemm-contiguous fp8_block"},
    {"device", "h100-sxm vllm-triton bf16", "table:frontier-h800-phi-tiny vllm-triton"},
    {"device", "h100-sxm vllm-triton bf16", "table:frontier-h800-qwen3 vllm-triton"},
    {"device", "h100-sxm vllm-triton bf16", "table:frontier-h800-qwen3-next vllm-triton"},
    {"library", "h800-sxm deepgemm-contiguous fp8_block",
     "table:deepgemm/deepgemm_grouped_contiguous_2025_02 deepgemm-contiguous"},
    {"library", "h800-sxm deepgemm-contiguous fp8_block",
     "table:deepgemm/deepgemm_grouped_contiguous_2025_03 deepgemm-contiguous"},
};

// The values that another device takes: borrowed as a device file borrows them.
std::vector<double> lent_values(const ExpertSubject& from, const Device& lender,
                                const Device& taker) {
  BorrowedKernels wish;
  wish.from = lender.name;
  wish.families = {KernelFamily::kExpertFfn};
  wish.scale = weight_only(from.spec->format) ? BorrowScale::kSmClock : BorrowScale::kDataSheet;
  wish.reason = "for the page of errors";
  Device only = lender;
  only.kernels = {from.constants};
  only.kernels.front().values = from.values;
  return borrow(wish, only, taker).front().values;
}

}  // namespace

void add_transfers(const std::map<std::string, ExpertSubject>& subjects,
                   const std::map<std::string, Device>& devices, const std::string& data_folder,
                   ExpertAccuracy& result) {
  ErrorPool framework, device, after;
  for (const Pair& pair : kPairs) {
    const auto from = subjects.find(pair.from);
    if (from == subjects.end()) continue;
    std::string to = pair.to;
    std::vector<MeasuredKernel> of_table;
    KernelRows target;
    std::string device_name;
    if (to.starts_with("table:")) {
      const std::string table = to.substr(6, to.find(' ') - 6);
      of_table = read_kernels(table, data_folder);
      for (const MeasuredKernel& row : of_table) {
        if (!row.implausible) target.push_back(&row);
      }
      device_name = of_table.front().device;
      to = table;
    } else {
      const auto found = subjects.find(to);
      if (found == subjects.end()) continue;
      target = found->second.rows;
      device_name = found->second.device;
    }
    if (target.empty()) continue;
    const Device& taker = devices.at(device_name);
    std::vector<double> values = from->second.values;
    if (taker.name != from->second.device) {
      values = lent_values(from->second, devices.at(from->second.device), taker);
    }
    // InferSim and DeepGEMM time the two GEMMs alone, and not the host.
    if (!target.front()->note.empty() && target.front()->draws.size() == 1) {
      for (std::size_t p = 0; p < values.size(); ++p) {
        const std::string_view key = kGroupedGemmForm.parameters[p].key;
        if (key == "activation" || key == "remote") values[p] = 0;
        if (key == "start" && !from->second.spec->instead.empty()) {
          values[p] = from->second.constants.values[p];
        }
      }
    }
    const DeviceRates rates = rates_for(taker, from->second.spec->format.multiplied, taker.sms);
    const bool same = std::string_view(pair.kind) == "framework";
    result.transfers.push_back(transfer(pair.kind, pair.from, to, values, rates, target,
                                        same ? framework : device, after));
  }
  result.framework = framework.summary();
  result.device = device.summary();
  result.device_after = after.summary();
}

// The same question asked of two frameworks.
void add_frameworks(const std::map<std::string, ExpertSubject>& subjects, ExpertAccuracy& result) {
  constexpr std::array<std::array<const char*, 3>, 4> kSame = {
      {{"h100-sxm bf16: vLLM, SGLang (Triton)", "h100-sxm vllm-triton bf16",
        "h100-sxm sglang-triton bf16"},
       {"h100-sxm fp8_block: vLLM, SGLang (Triton)", "h100-sxm vllm-triton fp8_block",
        "h100-sxm sglang-triton fp8_block"},
       {"h100-sxm int4_wo: vLLM, SGLang (Marlin)", "h100-sxm vllm-marlin int4_wo",
        "h100-sxm sglang-marlin int4_wo"},
       {"a100-sxm-80gb bf16: vLLM, SGLang (Triton)", "a100-sxm-80gb vllm-triton bf16",
        "a100-sxm-80gb sglang-triton bf16"}}};
  const auto question = [](const MeasuredKernel& row) {
    return fmt::format("{} {} {} {} {} {} {}", row.experts.hidden, row.experts.inter,
                       row.routing.top_k, row.routing.experts, row.routing.ranks,
                       row.routing.tokens, row.distribution);
  };
  for (const auto& [what, one, other] : kSame) {
    const auto a = subjects.find(one);
    const auto b = subjects.find(other);
    if (a == subjects.end() || b == subjects.end()) continue;
    std::map<std::string, double> times;
    for (const MeasuredKernel* row : a->second.rows) times[question(*row)] = row->time_s;
    ErrorPool pool;
    for (const MeasuredKernel* row : b->second.rows) {
      const auto found = times.find(question(*row));
      if (found != times.end()) pool.add(*row, found->second);
    }
    result.frameworks.push_back({what, pool.summary()});
  }
}

}  // namespace sim
