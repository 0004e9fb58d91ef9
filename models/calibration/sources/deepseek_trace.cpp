// DeepSeek's published trace of a training step on H800 (profile-data, train.json): what each
// kernel took. Only the forward attention has a shape that the trace tells: FlashAttention 3 over
// heads of 192 and 128, launched as 32 blocks of 128 queries x 128 heads, which are the expanded
// heads of DeepSeek-V3 over 4096 tokens. The other kernels' widths are not in the trace.
#include <memory>
#include <nlohmann/json.hpp>

#include "models/calibration/measured_operators.h"
#include "models/calibration/sources/dense_readers.h"

namespace sim {

void read_deepseek_trace(const KernelTable& table, const std::string& path,
                         std::vector<MeasuredKernel>& rows) {
  constexpr double kBlock = 128;
  TextFile file(path);
  std::string text;
  for (std::string_view line; file.next(line);) text.append(line);
  const nlohmann::json trace = nlohmann::json::parse(text, nullptr, false);
  if (trace.is_discarded()) throw Error(Place{path}, "this is not JSON");
  const nlohmann::json& events = trace.is_object() ? trace["traceEvents"] : trace;
  std::int64_t number = 0;
  for (const nlohmann::json& event : events) {
    ++number;
    if (event.value("cat", "") != "kernel") continue;
    const std::string name = event.value("name", "");
    const nlohmann::json grid =
        event.value("args", nlohmann::json::object()).value("grid", nlohmann::json());
    if (name.find("Flash_fwd_kernel_traits<192, 128, 128") == std::string::npos ||
        grid.size() != 3) {
      continue;
    }
    MeasuredKernel row = kernel_of(table, number);
    row.source = "fa3";
    row.framework = "deepseek";
    row.family = KernelFamily::kMlaPrefill;
    row.time_s = event.value("dur", 0.0) * 1e-6;
    const std::int64_t heads = grid[1].get<std::int64_t>();
    row.op = prefill_operator(row.family, row.format,
                              {.sequences = 1,
                               .context = grid[0].get<double>() * kBlock,
                               .heads = heads,
                               .kv_heads = heads,
                               .head_dim = 192,
                               .value_dim = 128});
    if (row.time_s > 0) rows.push_back(std::move(row));
  }
}

}  // namespace sim
