// InferSim's tables of H800 and H20: DeepGEMM, FlashAttention 3, FlashMLA. Microseconds of the GPU.
//
// Attention tables hold their heads in the name of the file (heads-kv heads-head size; of MLA
// heads- latent-rope), and so do our tables' names. Rows without a time are sizes that did not run.
#include <fmt/format.h>

#include <charconv>
#include <vector>

#include "models/calibration/measured_operators.h"
#include "models/calibration/sources/dense_readers.h"

namespace sim {
namespace {

constexpr double kMicro = 1e-6;
constexpr std::int64_t kMost = std::int64_t{1} << 24;

DataSheet sheet_of(const KernelTable& table, const KernelFormat& format) {
  const bool fp8 = format.multiplied == DType::kFp8;
  if (table.device == "h20") return {fp8 ? 296e12 : 148e12, 4e12};
  return {fp8 ? 1979e12 : 989e12, 3.352e12};
}

// The numbers that the table's name ends with: "...-32-4-128" -> 32, 4, 128.
std::vector<std::int64_t> sizes_in_name(const KernelTable& table, const std::string& path) {
  std::vector<std::int64_t> sizes(3);
  std::string_view name = table.name;
  for (std::size_t i = sizes.size(); i-- > 0;) {
    const std::size_t dash = name.rfind('-');
    const std::string_view word = name.substr(dash + 1);
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), sizes[i]);
    if (error != std::errc() || end != word.data() + word.size()) {
      throw Error(Place{path}, fmt::format("the table '{}' names no sizes", table.name));
    }
    name = name.substr(0, dash);
  }
  return sizes;
}

KernelFormat cache_format(const CsvFile& file) {
  KernelFormat format;
  if (file.has("kv_dtype")) format = format_in(file, file.column("kv_dtype"));
  format.multiplied = DType::kBf16;
  return format;
}

void read_decode(const KernelTable& table, const std::string& path, KernelFamily family,
                 AlikeSequences of, std::string_view source, std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const std::size_t batch = file.column("batch_size");
  const std::size_t context = file.column("kv_len");
  const std::size_t time = file.column("latency_us");
  for (std::int64_t number = 1; file.next(); ++number) {
    MeasuredKernel row = kernel_of(table, number);
    row.source = source;
    row.framework = "infersim";
    row.format = cache_format(file);
    row.family = family;
    row.time_s = file.number(time, 1e-1, 1e9) * kMicro;
    of.sequences = static_cast<double>(file.count(batch, kMost));
    of.context = static_cast<double>(file.count(context, kMost));
    row.op = decode_operator(family, row.format, of);
    mark_beyond(sheet_of(table, row.format), row);
    rows.push_back(std::move(row));
  }
}

void read_prefill(const KernelTable& table, const std::string& path, KernelFamily family,
                  AlikeSequences of, std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const std::size_t context = file.column("seq_len");
  const std::size_t time = file.column("latency_us");
  of.sequences = 1;
  for (std::int64_t number = 1; file.next(); ++number) {
    MeasuredKernel row = kernel_of(table, number);
    row.source = "fa3";
    row.framework = "infersim";
    row.format = cache_format(file);
    row.family = family;
    row.time_s = file.number(time, 1e-1, 1e9) * kMicro;
    of.context = static_cast<double>(file.count(context, kMost));
    row.op = prefill_operator(family, row.format, of);
    mark_beyond(sheet_of(table, row.format), row);
    rows.push_back(std::move(row));
  }
}

}  // namespace

void read_infersim_gemm(const KernelTable& table, const std::string& path,
                        std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const std::size_t m = file.column("m");
  const std::size_t n = file.column("n");
  const std::size_t k = file.column("k");
  const std::size_t time = file.column("latency_us");
  for (std::int64_t number = 1; file.next(); ++number) {
    MeasuredKernel row = kernel_of(table, number);
    row.source = "deepgemm";
    row.framework = "infersim";
    row.format = *parse_kernel_format("fp8_block");
    row.family = KernelFamily::kGemm;
    row.time_s = file.number(time, 1e-1, 1e9) * kMicro;
    row.op =
        gemm_operator(row.format, file.count(m, kMost), file.count(n, kMost), file.count(k, kMost));
    mark_beyond(sheet_of(table, row.format), row);
    rows.push_back(std::move(row));
  }
}

void read_infersim_attention_decode(const KernelTable& table, const std::string& path,
                                    std::vector<MeasuredKernel>& rows) {
  const std::vector<std::int64_t> sizes = sizes_in_name(table, path);
  const AlikeSequences of = {
      .heads = sizes[0], .kv_heads = sizes[1], .head_dim = sizes[2], .value_dim = sizes[2]};
  read_decode(table, path, KernelFamily::kAttentionDecode, of, "fa3", rows);
}

void read_infersim_attention_prefill(const KernelTable& table, const std::string& path,
                                     std::vector<MeasuredKernel>& rows) {
  const std::vector<std::int64_t> sizes = sizes_in_name(table, path);
  read_prefill(
      table, path, KernelFamily::kAttentionPrefill,
      {.heads = sizes[0], .kv_heads = sizes[1], .head_dim = sizes[2], .value_dim = sizes[2]}, rows);
}

void read_infersim_mla_decode(const KernelTable& table, const std::string& path,
                              std::vector<MeasuredKernel>& rows) {
  const std::vector<std::int64_t> sizes = sizes_in_name(table, path);  // heads, latent, rope
  const AlikeSequences of = {
      .heads = sizes[0], .kv_heads = 1, .head_dim = sizes[1] + sizes[2], .value_dim = sizes[1]};
  read_decode(table, path, KernelFamily::kMlaDecode, of, "flashmla", rows);
}

void read_infersim_mla_prefill(const KernelTable& table, const std::string& path,
                               std::vector<MeasuredKernel>& rows) {
  const std::vector<std::int64_t> sizes = sizes_in_name(table, path);  // heads, nope, rope
  read_prefill(table, path, KernelFamily::kMlaPrefill,
               {.heads = sizes[0],
                .kv_heads = sizes[0],
                .head_dim = sizes[1] + sizes[2],
                .value_dim = sizes[1]},
               rows);
}

}  // namespace sim
