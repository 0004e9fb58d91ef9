// Dense GEMM, grouped attention and MLA of the aiconfigurator database. Latencies are milliseconds.
//
// gemm_perf times m x k times k x n with the quantisation of the input, where the format has one.
// attention_perf: `step` is the cached tokens before the new one; `window_size` 0 is none.
// mla_perf: `num_heads` of this rank; the prefill call expands keys and values itself (kv_b_proj),
// the decode call absorbs and expands (q_absorb, v_up): vLLM's implementation does both inside.
#include <array>
#include <cmath>

#include "models/calibration/measured_operators.h"
#include "models/calibration/sources/dense_readers.h"

namespace sim {
namespace {

constexpr double kMilli = 1e-3;
constexpr std::int64_t kMost = std::int64_t{1} << 24;
// H100 SXM: data sheet.
constexpr DataSheet kH100 = {989e12, 3.35e12};
constexpr DataSheet kH100Fp8 = {1979e12, 3.35e12};

struct Named {
  std::string_view in_table;
  std::string_view ours;
};
constexpr std::array kSources = {
    Named{"torch.nn.functional.linear", "cublas"},
    Named{"CutlassFP8ScaledMMLinearKernel", "vllm-cutlass"},
    Named{"DeepGemmFp8BlockScaledMMKernel", "vllm-deepgemm"},
    Named{"FlashInferFp8BlockScaledMMKernel", "vllm-flashinfer"},
    Named{"CutlassFp8BlockScaledMMKernel", "vllm-cutlass"},
    Named{"vllm_flash_attn_fa3", "vllm-fa3"},
    Named{"vllm_flash_attn_fa4", "vllm-fa4"},
    Named{"vllm_flash_attn_mla", "vllm-flash-attn-mla"},
    Named{"vllm_flashmla", "vllm-flashmla"},
};

struct Columns {
  explicit Columns(const CsvFile& file)
      : framework(file.column("framework")),
        version(file.column("version")),
        source(file.column("kernel_source")),
        latency(file.column("latency")) {}
  std::size_t framework, version, source, latency;
};

MeasuredKernel row_with(const KernelTable& table, const CsvFile& file, const Columns& columns,
                        std::int64_t number) {
  MeasuredKernel row = kernel_of(table, number);
  for (const char letter : file.text(columns.framework)) {
    row.framework += static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  }
  row.framework += " " + std::string(file.text(columns.version));
  row.time_s = file.number(columns.latency, 1e-6, 1e6) * kMilli;
  for (const Named& each : kSources) {
    if (each.in_table == file.text(columns.source)) row.source = each.ours;
  }
  if (row.source.empty()) {
    file.fail(columns.source, "'" + std::string(file.text(columns.source)) +
                                  "' is not a kernel that this reader knows");
  }
  return row;
}

std::int64_t at_least_one(const CsvFile& file, std::size_t column) {
  const std::int64_t value = file.count(column, kMost);
  if (value == 0) file.fail(column, "a size is at least 1");
  return value;
}

// bf16 arithmetic over a cache of `column`'s format.
KernelFormat cache_format(const CsvFile& file, std::size_t column) {
  KernelFormat format = format_in(file, column);
  format.multiplied = DType::kBf16;
  return format;
}

void read_attention(const KernelTable& table, const std::string& path, bool decode,
                    std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const Columns columns(file);
  const std::size_t batch = file.column("batch_size");
  const std::size_t length = file.column("isl");
  const std::size_t step = file.column("step");
  const std::size_t heads = file.column("num_heads");
  const std::size_t kv_heads = file.column("num_key_value_heads");
  const std::size_t head_dim = file.column("head_dim");
  const std::size_t cache = file.column("kv_cache_dtype");
  const std::size_t window = file.column("window_size");
  for (std::int64_t number = 1; file.next(); ++number) {
    MeasuredKernel row = row_with(table, file, columns, number);
    row.format = cache_format(file, cache);
    AlikeSequences of;
    of.sequences = static_cast<double>(at_least_one(file, batch));
    of.context = static_cast<double>(at_least_one(file, length) + file.count(step, kMost));
    of.window = static_cast<double>(file.count(window, kMost));
    of.heads = at_least_one(file, heads);
    of.kv_heads = at_least_one(file, kv_heads);
    of.head_dim = of.value_dim = at_least_one(file, head_dim);
    row.family = decode ? KernelFamily::kAttentionDecode : KernelFamily::kAttentionPrefill;
    row.op = (decode ? decode_operator : prefill_operator)(row.family, row.format, of);
    row.distribution = of.window > 0 ? "window" : "";
    row.op.prepares = true;
    mark_beyond(kH100, row);
    rows.push_back(std::move(row));
  }
}

void read_mla(const KernelTable& table, const std::string& path, bool decode,
              std::vector<MeasuredKernel>& rows) {
  constexpr std::int64_t kLatent = 512, kRope = 64, kNope = 128, kValue = 128;
  CsvFile file(path);
  const Columns columns(file);
  const std::size_t batch = file.column("batch_size");
  const std::size_t length = file.column("isl");
  const std::size_t step = file.column("step");
  const std::size_t heads = file.column("num_heads");
  const std::size_t cache = file.column("kv_cache_dtype");
  for (std::int64_t number = 1; file.next(); ++number) {
    MeasuredKernel row = row_with(table, file, columns, number);
    row.format = cache_format(file, cache);
    AlikeSequences of;
    of.sequences = static_cast<double>(at_least_one(file, batch));
    of.context = static_cast<double>(at_least_one(file, length) + file.count(step, kMost));
    of.heads = at_least_one(file, heads);
    of.kv_heads = decode ? 1 : of.heads;
    of.head_dim = decode ? kLatent + kRope : kNope + kRope;
    of.value_dim = decode ? kLatent : kValue;
    row.family = decode ? KernelFamily::kMlaDecode : KernelFamily::kMlaPrefill;
    row.op = (decode ? decode_operator : prefill_operator)(row.family, row.format, of);
    row.note = "host time included";
    row.op.prepares = true;
    mark_beyond(kH100, row);
    rows.push_back(std::move(row));
  }
}

}  // namespace

void read_aiconfigurator_gemm(const KernelTable& table, const std::string& path,
                              std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const Columns columns(file);
  const std::size_t dtype = file.column("gemm_dtype");
  const std::size_t m = file.column("m");
  const std::size_t n = file.column("n");
  const std::size_t k = file.column("k");
  for (std::int64_t number = 1; file.next(); ++number) {
    MeasuredKernel row = row_with(table, file, columns, number);
    row.format = format_in(file, dtype);
    row.family = KernelFamily::kGemm;
    row.op = gemm_operator(row.format, at_least_one(file, m), at_least_one(file, n),
                           at_least_one(file, k));
    if (row.format.block_scales) row.note = "host time included";
    row.op.prepares = true;
    mark_beyond(row.format.multiplied == DType::kFp8 ? kH100Fp8 : kH100, row);
    rows.push_back(std::move(row));
  }
}

void read_aiconfigurator_attention_decode(const KernelTable& table, const std::string& path,
                                          std::vector<MeasuredKernel>& rows) {
  read_attention(table, path, true, rows);
}
void read_aiconfigurator_attention_prefill(const KernelTable& table, const std::string& path,
                                           std::vector<MeasuredKernel>& rows) {
  read_attention(table, path, false, rows);
}
void read_aiconfigurator_mla_decode(const KernelTable& table, const std::string& path,
                                    std::vector<MeasuredKernel>& rows) {
  read_mla(table, path, true, rows);
}
void read_aiconfigurator_mla_prefill(const KernelTable& table, const std::string& path,
                                     std::vector<MeasuredKernel>& rows) {
  read_mla(table, path, false, rows);
}

}  // namespace sim
