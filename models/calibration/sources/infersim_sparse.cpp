// InferSim's sparse attention of DeepSeek-V3.2 on H800: FlashMLA over the chosen 2048 keys, and the
// indexer's scores (64 heads of 128 in fp8). Microseconds of the GPU.
//
// The attention always reads 2048 keys a query, also of shorter caches: the printed MFU says so. In
// prefill the queries are the last of the cache, so pairs are causal.
#include <algorithm>

#include "models/calibration/measured_operators.h"
#include "models/calibration/sources/dense_readers.h"

namespace sim {
namespace {

constexpr double kMicro = 1e-6;
constexpr std::int64_t kMost = std::int64_t{1} << 24;
constexpr double kHeads = 128, kLatent = 512, kRope = 64, kChosen = 2048;
constexpr double kIndexHeads = 64, kIndexWidth = 128;

MeasuredKernel row_of(const KernelTable& table, std::int64_t number, double time_s,
                      const char* format, double flops, double bytes) {
  MeasuredKernel row = kernel_of(table, number);
  row.framework = "infersim";
  row.format = *parse_kernel_format(format);
  row.family = KernelFamily::kOther;
  row.time_s = time_s;
  row.op.family = KernelFamily::kOther;
  row.op.stored = row.format.stored;
  row.op.compute = row.format.multiplied;
  row.op.flops = Flops(flops);
  row.op.activation_bytes = Bytes(static_cast<std::int64_t>(bytes));
  return row;
}

MeasuredKernel attention_row(const KernelTable& table, std::int64_t number, double time_s,
                             double queries, double cached, double key_bytes, const char* format) {
  const double width = 2 * kLatent + kRope;
  MeasuredKernel row =
      row_of(table, number, time_s, format, 2 * queries * kChosen * kHeads * width,
             cached * (kLatent + kRope) * key_bytes + queries * kHeads * width * 2);
  row.source = "flashmla-sparse";
  row.op.name = "attention_core";
  return row;
}

MeasuredKernel scores_row(const KernelTable& table, std::int64_t number, double time_s,
                          double pairs, double cached) {
  MeasuredKernel row = row_of(table, number, time_s, "fp8", pairs * 2 * kIndexHeads * kIndexWidth,
                              cached * (kIndexWidth + 4) + pairs * 4);
  row.source = "deepgemm-mqa-logits";
  row.op.name = "index_scores";
  return row;
}

}  // namespace

void read_infersim_sparse_decode(const KernelTable& table, const std::string& path,
                                 std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const std::size_t batch = file.column("batch_size");
  file.column("kv_len");  // the rows differ in it; what is read does not
  const std::size_t time = file.column("latency_us");
  for (std::int64_t number = 1; file.next(); ++number) {
    const double queries = static_cast<double>(file.count(batch, kMost));
    rows.push_back(attention_row(table, number, file.number(time, 0.1, 1e9) * kMicro, queries,
                                 queries * kChosen, 1, "fp8_kv"));
  }
}

void read_infersim_sparse_prefill(const KernelTable& table, const std::string& path,
                                  std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const std::size_t queries = file.column("s_q");
  const std::size_t cached = file.column("s_kv");
  const std::size_t time = file.column("latency_us");
  for (std::int64_t number = 1; file.next(); ++number) {
    rows.push_back(attention_row(table, number, file.number(time, 0.1, 1e9) * kMicro,
                                 static_cast<double>(file.count(queries, kMost)),
                                 static_cast<double>(file.count(cached, kMost)), 2, "bf16"));
  }
}

void read_infersim_scores_decode(const KernelTable& table, const std::string& path,
                                 std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const std::size_t batch = file.column("batchsize");
  const std::size_t next = file.column("next_n");
  const std::size_t cached = file.column("s_kv");
  const std::size_t time = file.column("latency_us");
  for (std::int64_t number = 1; file.next(); ++number) {
    const double keys = static_cast<double>(file.count(batch, kMost) * file.count(cached, kMost));
    rows.push_back(scores_row(table, number, file.number(time, 0.1, 1e9) * kMicro,
                              keys * static_cast<double>(file.count(next, kMost)), keys));
  }
}

void read_infersim_scores_prefill(const KernelTable& table, const std::string& path,
                                  std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const std::size_t queries = file.column("s_q");
  const std::size_t cached = file.column("s_kv");
  const std::size_t time = file.column("latency_us");
  for (std::int64_t number = 1; file.next(); ++number) {
    const double q = static_cast<double>(file.count(queries, kMost));
    const double keys = static_cast<double>(file.count(cached, kMost));
    rows.push_back(scores_row(table, number, file.number(time, 0.1, 1e9) * kMicro,
                              q * (keys - q) + q * (q + 1) / 2, keys));
  }
}

}  // namespace sim
