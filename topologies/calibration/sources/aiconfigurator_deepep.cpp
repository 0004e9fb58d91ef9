// DeepEP times of the aiconfigurator database (ai-dynamo/aiconfigurator), fp8 dispatch and bf16
// combine.
//
// Low latency: the mean kernel time of DeepEP's own test. Normal: the transmit kernel; the notify
// kernel in front of it (the size exchange) has a column of its own and is left out here. Every
// table has nodes of 8 GPUs; `num_token` is per rank.
#include "sim/input/text_file.h"
#include "topologies/calibration/sources/exchange_readers.h"
#include "topologies/calibration/sources/record_values.h"

namespace sim {
namespace {

constexpr double kMicrosecond = 1e-6;
constexpr int kNodeGpus = 8;

struct Columns {
  std::size_t nodes, hidden, tokens, top_k, experts;
};

Columns columns_of(const CsvFile& file) {
  return {file.column("node_num"), file.column("hidden_size"), file.column("num_token"),
          file.column("num_topk"), file.column("num_experts")};
}

MeasuredRow exchange_row(const MeasuredSource& source, const CsvFile& file, const Columns& columns,
                         std::int64_t number, const char* operation) {
  MeasuredRow row = row_of(source, number);
  row.operation = operation;
  row.dtype = row.operation == "dispatch" ? "fp8" : "bf16";
  row.nodes = static_cast<int>(file.count(columns.nodes, 1024));
  row.ranks = row.nodes * kNodeGpus;
  row.hidden = file.count(columns.hidden, 1 << 20);
  row.tokens = file.count(columns.tokens, 1 << 24);
  row.top_k = static_cast<int>(file.count(columns.top_k, 1024));
  row.experts = static_cast<int>(file.count(columns.experts, 1 << 16));
  return row;
}

}  // namespace

void read_aiconfigurator_low_latency(const MeasuredSource& source, const std::string& path,
                                     std::vector<MeasuredRow>& rows) {
  CsvFile file(path);
  const Columns columns = columns_of(file);
  const std::size_t times[] = {file.column("dispatch_avg_t_us"), file.column("combine_avg_t_us")};
  while (file.next()) {
    for (const int direction : {0, 1}) {
      MeasuredRow row = exchange_row(source, file, columns, next_number(rows),
                                     direction == 0 ? "dispatch" : "combine");
      row.algorithm = "deepep-low-latency";
      row.time_s = file.number(times[direction], 1e-3, 1e9) * kMicrosecond;
      rows.push_back(std::move(row));
    }
  }
}

void read_aiconfigurator_normal(const MeasuredSource& source, const std::string& path,
                                std::vector<MeasuredRow>& rows) {
  CsvFile file(path);
  const Columns columns = columns_of(file);
  const std::size_t times[] = {file.column("dispatch_transmit_us"),
                               file.column("combine_transmit_us")};
  const std::size_t sms[] = {file.column("dispatch_sms"), file.column("combine_sms")};
  while (file.next()) {
    for (const int direction : {0, 1}) {
      MeasuredRow row = exchange_row(source, file, columns, next_number(rows),
                                     direction == 0 ? "dispatch" : "combine");
      row.algorithm = "deepep-normal";
      row.sms = static_cast<int>(file.count(sms[direction], 1024));
      row.time_s = file.number(times[direction], 1e-3, 1e9) * kMicrosecond;
      rows.push_back(std::move(row));
    }
  }
}

// [hidden, topk, num_experts, num_token, dispatch_us, combine_us] on one node.
void read_aiconfigurator_low_latency_record(const MeasuredSource& source, const std::string& path,
                                            std::vector<MeasuredRow>& rows) {
  each_numbered_row(source, path, [&](const std::map<std::string, double>& value, std::int64_t) {
    for (const bool dispatch : {true, false}) {
      MeasuredRow row = row_of(source, next_number(rows));
      row.operation = dispatch ? "dispatch" : "combine";
      row.dtype = dispatch ? "fp8" : "bf16";
      row.algorithm = "deepep-low-latency";
      row.nodes = 1;
      row.ranks = kNodeGpus;
      row.hidden = static_cast<std::int64_t>(value.at("hidden"));
      row.top_k = static_cast<int>(value.at("topk"));
      row.experts = static_cast<int>(value.at("num_experts"));
      row.tokens = static_cast<std::int64_t>(value.at("num_token"));
      row.time_s = value.at(dispatch ? "dispatch_us" : "combine_us") * kMicrosecond;
      rows.push_back(std::move(row));
    }
  });
}

}  // namespace sim
