#include "models/calibration/dense_transfer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "models/calibration/dense_fit.h"
#include "models/costs/calibrated_costs.h"
#include "models/device_reader.h"

namespace sim {
namespace {

using Rows = std::vector<const MeasuredKernel*>;

// Constants of `source` on `from`, against the rows of `to_source` that start with `table`.
struct Transfer {
  std::string_view from;
  KernelFamily family;
  std::string_view source;
  std::string_view format;
  double head_dim;  // 0: any
  std::string_view to_table;
  std::string_view to_source;
  std::string_view to_format;
  std::string_view note;
};

constexpr KernelFamily kDecode = KernelFamily::kAttentionDecode;
constexpr KernelFamily kPrefill = KernelFamily::kAttentionPrefill;
constexpr std::array kTransfers = {
    Transfer{"h100-sxm", kDecode, "vllm-fa3", "bf16", 128, "infersim-h800-attention-decode", "fa3",
             "bf16", "same die, other framework"},
    Transfer{"h800-sxm", kDecode, "fa3", "bf16", 128, "aic-h100-vllm-attention-decode", "vllm-fa3",
             "bf16", "same die, other framework"},
    Transfer{"h100-sxm", kDecode, "vllm-fa3", "bf16", 128, "infersim-h20-attention-decode", "fa3",
             "bf16", "data-sheet ratios"},
    Transfer{"h100-sxm", kDecode, "vllm-fa3", "bf16", 128, "llmservingsim-rtxpro6000-attention",
             "vllm-flash", "bf16", "data-sheet ratios, other kernel"},
    Transfer{"h100-sxm", kPrefill, "vllm-fa3", "bf16", 128, "infersim-h20-attention-prefill", "fa3",
             "bf16", "data-sheet ratios"},
    Transfer{"h100-sxm", kPrefill, "vllm-fa3", "bf16", 128, "llmservingsim-rtxpro6000-attention",
             "vllm-flash", "bf16", "data-sheet ratios, other kernel"},
    Transfer{"h20", kPrefill, "fa3", "bf16", 128, "aic-h100-vllm-attention-prefill", "vllm-fa3",
             "bf16", "data-sheet ratios, other framework"},
    Transfer{"h800-sxm", KernelFamily::kGemm, "deepgemm", "fp8_block", 0,
             "deepgemm/deepgemm_dense_2025_02", "deepgemm", "fp8_block", "published figures"},
    Transfer{"h800-sxm", KernelFamily::kGemm, "deepgemm", "fp8_block", 0,
             "deepgemm/deepgemm_dense_2025_03", "deepgemm", "fp8_block",
             "published figures, a month later"},
    Transfer{"h100-sxm", KernelFamily::kGemm, "deepgemm", "fp8_block", 0, "aic-h100-vllm-gemm",
             "vllm-deepgemm", "fp8_block", "same die, other framework"},
    Transfer{"h800-sxm", KernelFamily::kGemm, "deepgemm", "fp8_block", 0, "infersim-h20-gemm",
             "deepgemm", "fp8_block", "data-sheet ratios"},
    Transfer{"h20", KernelFamily::kGemm, "deepgemm", "fp8_block", 0, "infersim-h800-gemm",
             "deepgemm", "fp8_block", "data-sheet ratios"},
    Transfer{"h100-sxm", KernelFamily::kGemm, "cublas", "bf16", 0, "llmservingsim-rtxpro6000-dense",
             "cublas", "bf16", "data-sheet ratios"},
    Transfer{"h100-sxm", KernelFamily::kGemm, "cublas", "bf16", 0, "llmservingsim-h100-mixtral",
             "cublas", "bf16", "other framework"},
    Transfer{"h100-sxm", KernelFamily::kGemm, "cublas", "bf16", 0, "frontier-h800", "cublas",
             "bf16", "same die; routers only"},
    Transfer{"h100-sxm", KernelFamily::kGemm, "cublas", "bf16", 0, "frontier-a800", "cublas",
             "bf16",
             "A800, as an A100 by data-sheet ratios; routers, of which some rows hold host time "
             "and some do not"},
    Transfer{"h800-sxm", KernelFamily::kMlaPrefill, "fa3", "bf16", 0, "deepseek-train-trace", "fa3",
             "bf16", "training step, same device"},
    Transfer{"h800-sxm", KernelFamily::kMlaDecode, "flashmla", "bf16", 0, "infersim-h20-mla-decode",
             "flashmla", "bf16", "data-sheet ratios"},
    Transfer{"h100-sxm", KernelFamily::kMlaDecode, "flashmla", "bf16", 0,
             "aic-h100-vllm-mla-decode", "vllm-flashmla", "fp8_kv",
             "other cache format and framework"},
    Transfer{"h100-sxm", KernelFamily::kMlaDecode, "flashmla", "bf16", 0,
             "aic-h100-vllm-mla-decode", "vllm-flash-attn-mla", "bf16",
             "other kernel and framework"},
    Transfer{"h100-sxm", KernelFamily::kMlaPrefill, "fa3", "bf16", 0, "aic-h100-vllm-mla-prefill",
             "vllm-flash-attn-mla", "bf16",
             "other framework, whose call also expands keys and values"},
};

const KernelConstants* constants_of(const Transfer& transfer,
                                    const std::vector<TransferSource>& sources) {
  for (const TransferSource& each : sources) {
    const KernelConstants& constants = each.constants;
    if (each.device != transfer.from || constants.family != transfer.family ||
        constants.source != transfer.source || to_text(constants.format) != transfer.format) {
      continue;
    }
    if (transfer.head_dim > 0 && constants.range.back().second != transfer.head_dim) continue;
    return &constants;
  }
  return nullptr;
}

// What the shortest calls of a table take whatever their size: the median of those that the
// constants expect below a quarter of the measured time, where there are many. Zero: none.
double host_time(const KernelConstants& constants, const Device& device, const Rows& rows) {
  const std::vector<PredictionError> errors = dense_errors(constants, device, rows);
  std::vector<double> times;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (errors[i].error < -0.75) times.push_back(rows[i]->time_s);
  }
  if (times.size() * 10 < rows.size()) return 0;
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

std::string text_of(const ErrorSummary& errors) {
  if (errors.rows == 0) return "-";
  return fmt::format("{:.1f} / {:.1f} ({}), bias {:+.0f}", 100 * errors.median, 100 * errors.p90,
                     errors.rows, 100 * errors.bias);
}

}  // namespace

const std::vector<MeasuredKernel>& MeasuredTables::rows(const std::vector<std::string>& tables) {
  const auto found = read_.find(tables);
  if (found != read_.end()) return found->second;
  std::vector<MeasuredKernel>& rows = read_[tables];
  for (const std::string& table : tables) {
    const std::vector<MeasuredKernel> more = read_kernels(table, data_folder_);
    rows.insert(rows.end(), more.begin(), more.end());
  }
  return rows;
}

std::string transfers_markdown(const std::string& root, const std::vector<TransferSource>& sources,
                               MeasuredTables& tables) {
  std::string text =
      "\n## Constants on rows that no fit saw\n\nThe constants of one device or framework against "
      "the tables of another; shares stay, peaks are the other device's.\n*Host time*: what no "
      "call "
      "of the table is shorter than, because the host launches it uncaptured; estimated from the "
      "calls whose kernel should take a quarter of it at most. It is in no constant: a captured "
      "graph does not pay it. *GPU-bound*: rows measured at twice the host time at least.\n\n"
      "| constants | rows | what differs | host time | all rows | GPU-bound rows |\n"
      "|--|--|--|--|--|--|\n";
  for (const Transfer& transfer : kTransfers) {
    const KernelConstants* constants = constants_of(transfer, sources);
    if (constants == nullptr) continue;
    std::vector<std::string> names;
    for (const KernelTable& table : dense_tables()) {
      if (table.name.starts_with(transfer.to_table)) names.emplace_back(table.name);
    }
    Rows rows;
    for (const MeasuredKernel& row : tables.rows(names)) {
      const bool head = transfer.head_dim == 0 ||
                        row.op.attention.head_dim == static_cast<std::int64_t>(transfer.head_dim);
      if (row.family == transfer.family && row.source == transfer.to_source && head &&
          to_text(row.format) == transfer.to_format && !row.implausible) {
        rows.push_back(&row);
      }
    }
    if (rows.empty()) continue;
    const Device device = read_device(root + "/models/devices/" + rows[0]->device + ".yaml");
    const double host = host_time(*constants, device, rows);
    Rows bound;
    for (const MeasuredKernel* row : rows) {
      if (row->time_s >= 2 * host) bound.push_back(row);
    }
    const std::string head =
        transfer.head_dim > 0 ? fmt::format(", head {:.0f}", transfer.head_dim) : "";
    text += fmt::format(
        "| {} {} {} {}{} | {}, {} {} | {} | {} | {} | {} |\n", transfer.from,
        to_text(transfer.family), transfer.source, transfer.format, head, transfer.to_table,
        transfer.to_source, transfer.to_format, transfer.note,
        host > 0 ? fmt::format("{:.0f} us", host * 1e6) : "-",
        text_of(summarise_errors(dense_errors(*constants, device, rows, host))),
        host > 0 ? text_of(summarise_errors(dense_errors(*constants, device, bound, host))) : "-");
  }
  return text;
}

}  // namespace sim
