#include "models/calibration/sources/aiconfigurator_moe.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "sim/input/quantity.h"

namespace sim {
namespace {

// Data-sheet rates for what no kernel can exceed; models/devices is read by sim/app alone.
struct Sheet {
  std::string_view device;
  double bytes;  // per second
  double l2_bytes;
  double bf16_flops;  // fp8 twice, fp4 four times
};
constexpr std::array kSheets = {
    Sheet{"a100-sxm-80gb", 2.039e12, 40e6, 312e12},
    Sheet{"h100-sxm", 3.35e12, 50e6, 989e12},
    Sheet{"b200-sxm", 8e12, 126e6, 2250e12},
};

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

// Squared ReLU, two matrices: Nemotron's shapes, hidden x inter. In the A100 tables they were run
// gated like all others.
bool not_gated(std::int64_t hidden, std::int64_t inter) {
  constexpr std::array<std::pair<std::int64_t, std::int64_t>, 5> kShapes = {
      {{2688, 1856}, {4096, 2688}, {1024, 2688}, {2048, 5120}, {8192, 5120}}};
  return std::find(kShapes.begin(), kShapes.end(), std::pair(hidden, inter)) != kShapes.end();
}

double exponent_of(const CsvFile& file, std::size_t column) {
  std::string_view text = file.text(column);
  if (text == "balanced" || text == "uniform") return 0;
  constexpr std::string_view kLaw = "power_law_";
  if (text.starts_with(kLaw)) {
    text.remove_prefix(kLaw.size());
    if (text.ends_with("_eplb")) text.remove_suffix(5);
    if (const std::optional<double> value = parse_number(text); value && *value > 0) return *value;
  }
  file.fail(column, fmt::format("'{}' is not a distribution that this reader knows", text),
            "balanced, uniform and power_law_X are");
}

}  // namespace

MoeColumns::MoeColumns(const CsvFile& file)
    : framework(file.column("framework")),
      version(file.column("version")),
      source(file.column("kernel_source")),
      dtype(file.column("moe_dtype")),
      tokens(file.column("num_tokens")),
      hidden(file.column("hidden_size")),
      inter(file.column("inter_size")),
      top_k(file.column("topk")),
      experts(file.column("num_experts")),
      tp(file.column("moe_tp_size")),
      ep(file.column("moe_ep_size")),
      distribution(file.column("distribution")),
      latency(file.column("latency")) {}

MeasuredKernel moe_row(const KernelTable& table, const CsvFile& file, const MoeColumns& columns,
                       std::int64_t number) {
  MeasuredKernel row = kernel_of(table, number);
  const std::optional<KernelFormat> format = parse_kernel_format(file.text(columns.dtype));
  if (!format) {
    file.fail(columns.dtype,
              fmt::format("'{}' is not a format that this reader knows", file.text(columns.dtype)));
  }
  row.format = *format;
  row.framework =
      fmt::format("{} {}", lower(file.text(columns.framework)), file.text(columns.version));
  const std::int64_t ranks = file.count(columns.ep, 1 << 16);
  const std::int64_t width = file.count(columns.tp, 1 << 16);
  const std::int64_t inter = file.count(columns.inter, 1 << 24);
  row.routing.tokens = file.count(columns.tokens, 1 << 28);
  row.routing.top_k = file.count(columns.top_k, 1024);
  row.routing.experts = file.count(columns.experts, 1 << 16);
  row.routing.ranks = ranks;
  row.routing.exponent = exponent_of(file, columns.distribution);
  if (ranks < 1 || row.routing.experts % ranks != 0) {
    file.fail(columns.ep, "the ranks do not divide the experts");
  }
  if (width < 1 || inter % width != 0) {
    file.fail(columns.tp, "the tensor parallelism does not divide the inner size");
  }
  if (row.routing.tokens < 1 || row.routing.top_k < 1) {
    file.fail(columns.tokens, "a row has tokens and choices");
  }
  ExpertFfn& experts = row.experts;
  experts.hidden = file.count(columns.hidden, 1 << 24);
  experts.inter = inter / width;
  experts.gated = row.device == "a100-sxm-80gb" || !not_gated(experts.hidden, inter);
  experts.compute = format->multiplied;
  experts.stored = format->stored;
  experts.activations = DType::kBf16;
  experts.tokens = row.routing.tokens;
  experts.top_k = row.routing.top_k;
  experts.experts = row.routing.experts;
  row.distribution = file.text(columns.distribution) == "uniform"
                         ? "balanced"
                         : std::string(file.text(columns.distribution));
  row.time_s = file.number(columns.latency, 1e-6, 1e6) * 1e-3;
  return row;
}

void mark(MeasuredKernel& row, std::string why) {
  row.implausible = true;
  row.note = std::move(why);
}

void mark_beyond_the_data_sheet(MeasuredKernel& row) {
  if (row.implausible) return;
  const auto sheet = std::find_if(kSheets.begin(), kSheets.end(),
                                  [&](const Sheet& each) { return each.device == row.device; });
  if (sheet == kSheets.end()) return;
  const ExpertFfn& experts = row.experts;
  const double matrices = experts.gated ? 3 : 2;
  const double weights = matrices * static_cast<double>(experts.hidden * experts.inter) *
                         bytes_per_value(experts.stored);
  const std::int64_t local =
      (row.routing.slots > 0 ? row.routing.slots : row.routing.experts) / row.routing.ranks;
  // A cheap bound first: all local experts are touched.
  if (static_cast<double>(local) * weights / row.time_s <= 1.05 * sheet->bytes) return;
  double touched = 0;
  const std::vector<std::vector<std::int64_t>> draws = draw_rows(row.routing);
  for (const std::vector<std::int64_t>& draw : draws) {
    for (const std::int64_t rows : draw) touched += rows > 0 ? 1 : 0;
  }
  const double bytes = touched / static_cast<double>(draws.size()) * weights;
  if (bytes > 2 * sheet->l2_bytes && bytes / row.time_s > 1.05 * sheet->bytes) {
    mark(row, "faster than the memory can hand over the weights of the experts that should be hit");
  }
}

}  // namespace sim
