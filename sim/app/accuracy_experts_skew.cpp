#include "sim/app/accuracy_experts_skew.h"

#include <fmt/format.h>

#include <cmath>
#include <map>

#include "models/calibration/expert_fit.h"

namespace sim {
namespace {

constexpr double kNoSkew = 0.05;  // a smaller difference is noise

const char* model_of(const MeasuredKernel& row) {
  const ExpertFfn& experts = row.experts;
  if (experts.hidden == 7168 && experts.inter == 2048 && row.routing.experts == 256) {
    return "DeepSeek-V3";
  }
  if (experts.hidden == 2048 && experts.inter == 768) return "Qwen3-30B-A3B";
  return nullptr;
}

}  // namespace

void add_skews(std::span<const MeasuredKernel* const> rows, const DeviceRates& rates,
               std::span<const double> values, std::vector<SkewCount>& counts) {
  std::map<std::string, const MeasuredKernel*> balanced;
  const auto launch = [](const MeasuredKernel& row) {
    return fmt::format("{} {} {} {}", row.table, row.experts.hidden, row.routing.ranks,
                       row.routing.tokens);
  };
  for (const MeasuredKernel* row : rows) {
    const bool even = row->routing.exponent == 0 && row->routing.tokens > 0;
    if (even && model_of(*row) != nullptr) balanced[launch(*row)] = row;
  }
  const auto seconds = [&](const MeasuredKernel& row) {
    const std::vector<CountedKernel> one = {count_kernel(row)};
    return predict_experts(one, rates, values).front();
  };
  std::map<std::string, SkewCount> found;
  for (const MeasuredKernel* row : rows) {
    const char* model = model_of(*row);
    const bool behind_dispatch = row->experts.tokens == 0;
    if (model == nullptr || row->routing.exponent == 0 || row->routing.slots > 0 ||
        (row->routing.ranks > 64 && !behind_dispatch)) {
      continue;
    }
    const auto even = balanced.find(launch(*row));
    if (even == balanced.end()) continue;
    const double measured = row->time_s / even->second->time_s - 1;
    if (std::abs(measured) <= kNoSkew) continue;
    const double predicted = seconds(*row) / seconds(*even->second) - 1;
    SkewCount& count = found[fmt::format("{} {} {}", row->table, row->source, model)];
    count.table = fmt::format("{}, {} {}", row->table, row->source, to_text(row->format));
    count.model = model;
    const int range = row->routing.tokens <= 256 ? 0 : row->routing.tokens < 1024 ? 1 : 2;
    ++count.cases[range];
    if ((predicted > 0) == (measured > 0)) ++count.right[range];
  }
  for (auto& [name, count] : found) counts.push_back(std::move(count));
}

}  // namespace sim
