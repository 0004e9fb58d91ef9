// TensorRT-LLM's MoE all-to-all over NVLink on GB200: the aiconfigurator table and the kernel times
// of tech blog 18.
//
// Both route perfectly: each token goes to min(EP, top-k) ranks, all alike. aiconfigurator's
// latency is in milliseconds, num_tokens per rank; `moe_dtype` is what dispatch carries, combine
// carries bf16. Left out: combine_low_precision, whose payload the table does not say, and the
// two-sided kernels' prepare, which is the size exchange.
#include <fmt/format.h>

#include "sim/input/text_file.h"
#include "topologies/calibration/sources/exchange_readers.h"
#include "topologies/calibration/sources/record_values.h"

namespace sim {
namespace {

MeasuredRow balanced_row(const MeasuredSource& source, std::int64_t number, bool dispatch,
                         int ranks) {
  MeasuredRow row = row_of(source, number);
  row.operation = dispatch ? "dispatch" : "combine";
  row.ranks = ranks;
  row.nodes = (ranks + 3) / 4;  // trays of four GPUs in one NVLink domain
  row.balanced = true;
  return row;
}

}  // namespace

void read_aiconfigurator_trtllm(const MeasuredSource& source, const std::string& path,
                                std::vector<MeasuredRow>& rows) {
  CsvFile file(path);
  const std::size_t operation = file.column("op_name");
  const std::size_t kernel = file.column("kernel_source");
  const std::size_t dtype = file.column("moe_dtype");
  const std::size_t tokens = file.column("num_tokens");
  const std::size_t hidden = file.column("hidden_size");
  const std::size_t top_k = file.column("topk");
  const std::size_t experts = file.column("num_experts");
  const std::size_t ranks = file.column("moe_ep_size");
  const std::size_t latency = file.column("latency");
  while (file.next()) {
    const bool dispatch = file.text(operation) == "alltoall_dispatch";
    if (!dispatch && file.text(operation) != "alltoall_combine") continue;
    MeasuredRow row = balanced_row(source, next_number(rows), dispatch,
                                   static_cast<int>(file.count(ranks, 1024)));
    if (file.text(kernel) == "NVLinkOneSided") {
      row.algorithm = "nvlink-one-sided";
    } else if (file.text(kernel) == "NVLinkTwoSided") {
      row.algorithm = "nvlink-two-sided";
    } else {
      file.fail(kernel, fmt::format("'{}' is not a kernel of this table", file.text(kernel)),
                "NVLinkOneSided and NVLinkTwoSided are");
    }
    row.dtype = file.text(dtype) == "bfloat16" || !dispatch ? "bf16" : file.text(dtype);
    row.tokens = file.count(tokens, 1 << 24);
    row.hidden = file.count(hidden, 1 << 20);
    row.top_k = static_cast<int>(file.count(top_k, 1024));
    row.experts = static_cast<int>(file.count(experts, 1 << 16));
    row.time_s = file.number(latency, 1e-6, 1e6) * 1e-3;
    rows.push_back(std::move(row));
  }
}

// {ep, tokens_per_rank, dispatch_us, combine_us}, bf16, hidden 7168, top-8 of 256.
void read_trtllm_blog(const MeasuredSource& source, const std::string& path,
                      std::vector<MeasuredRow>& rows) {
  each_value(source, path, [&](YamlMap& value, std::int64_t) {
    for (const bool dispatch : {true, false}) {
      MeasuredRow row = balanced_row(source, next_number(rows), dispatch,
                                     static_cast<int>(value.count("ep", {2, 72})));
      row.algorithm = "nvlink-one-sided";
      row.dtype = "bf16";
      row.tokens = value.count("tokens_per_rank", {1, 1 << 24});
      row.hidden = 7168;
      row.top_k = 8;
      row.experts = 256;
      row.time_s = value.number(dispatch ? "dispatch_us" : "combine_us", {1e-3, 1e9}) * 1e-6;
      rows.push_back(std::move(row));
    }
  });
}

// {recipe, dispatch_us} at EP8 and 2048 tokens per rank; MXFP8 has fp8's bytes (1 per 32 values).
void read_trtllm_quantised(const MeasuredSource& source, const std::string& path,
                           std::vector<MeasuredRow>& rows) {
  static const std::vector<std::string> kRecipes = {"BF16", "MXFP8", "NVFP4"};
  each_value(source, path, [&](YamlMap& value, std::int64_t) {
    MeasuredRow row = balanced_row(source, next_number(rows), true, 8);
    const std::string recipe = value.choice("recipe", kRecipes);
    row.algorithm = "nvlink-one-sided";
    row.dtype = recipe == "BF16" ? "bf16" : recipe == "MXFP8" ? "fp8" : "nvfp4";
    row.tokens = 2048;
    row.hidden = 7168;
    row.top_k = 8;
    row.experts = 256;
    row.time_s = value.number("dispatch_us", {1e-3, 1e9}) * 1e-6;
    rows.push_back(std::move(row));
  });
}

}  // namespace sim
