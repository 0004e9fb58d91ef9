// What DeepEP and its Hybrid-EP branch print about themselves (records of papers/ground_truth/
// deepep.yaml). hidden 7168, top-8, fp8 dispatch (or as the column says), bf16 combine, nodes of 8.
//
// Normal kernels print logical bandwidths: distinct nodes, the local one included ("RDMA"), or
// distinct ranks, the own one included ("NVLink"), times bytes over kernel time; without the notify
// kernel. V1: 4096 tokens, 256 experts, at most 4 nodes per token, 24 SMs. V2: 8192 tokens, no
// group limit; 256 experts assumed (not stated). Hybrid-EP: 4096 tokens, 8 experts per rank.
#include <fmt/format.h>

#include <cstdlib>

#include "topologies/calibration/sources/exchange_readers.h"
#include "topologies/calibration/sources/record_values.h"

namespace sim {
namespace {

constexpr NumberRange kRate{0.1, 1e5};
constexpr NumberRange kMicroseconds{1e-3, 1e9};

MeasuredRow published_row(const MeasuredSource& source, std::int64_t number, bool dispatch) {
  MeasuredRow row = row_of(source, number);
  row.operation = dispatch ? "dispatch" : "combine";
  row.dtype = dispatch ? "fp8" : "bf16";
  row.algorithm = "deepep-normal";
  row.hidden = 7168;
  row.top_k = 8;
  row.experts = 256;
  return row;
}

void set_ranks(MeasuredRow& row, std::int64_t ranks) {
  row.ranks = static_cast<int>(ranks);
  row.nodes = static_cast<int>((ranks + 7) / 8);
}

void set_time(MeasuredRow& row, double gigabytes_per_second) {
  row.time_s = seconds_of_bandwidth(row, row.nodes > 1 ? Counted::kNodes : Counted::kRanks,
                                    gigabytes_per_second);
}

}  // namespace

void read_deepep_v1_normal(const MeasuredSource& source, const std::string& path,
                           std::vector<MeasuredRow>& rows) {
  each_value(source, path, [&](YamlMap& value, std::int64_t) {
    for (const bool dispatch : {true, false}) {
      MeasuredRow row = published_row(source, next_number(rows), dispatch);
      set_ranks(row, value.count("ep", {8, 1024}));
      row.tokens = 4096;
      row.sms = 24;
      if (row.nodes > 4) row.groups = row.nodes, row.top_groups = 4;
      set_time(row, value.number(dispatch ? "dispatch_GBps" : "combine_GBps", kRate));
      rows.push_back(std::move(row));
    }
  });
}

// {ep, dispatch_us, combine_us} at 128 tokens. The test's default is 288 experts, but its kernels
// want equal experts per rank: 256 where 288 do not divide (EP64 and above). The first release (a
// record of 2025-02-24) sends everything through the NIC.
void read_deepep_v1_low_latency(const MeasuredSource& source, const std::string& path,
                                std::vector<MeasuredRow>& rows) {
  const bool first_release = source.table.ends_with("2025_02_24");
  each_value(source, path, [&](YamlMap& value, std::int64_t) {
    for (const bool dispatch : {true, false}) {
      MeasuredRow row = published_row(source, next_number(rows), dispatch);
      row.algorithm = first_release ? "deepep-low-latency-no-nvlink" : "deepep-low-latency";
      set_ranks(row, value.count("ep", {8, 1024}));
      row.tokens = 128;
      row.experts = 288 % row.ranks == 0 ? 288 : 256;
      row.time_s = value.number(dispatch ? "dispatch_us" : "combine_us", kMicroseconds) * 1e-6;
      rows.push_back(std::move(row));
    }
  });
}

// {arch, topo: "EP 8 x 2", num_sms: "12" | "64 (Max perf)", dispatch_GBps, combine_GBps}
void read_deepep_v2(const MeasuredSource& source, const std::string& path,
                    std::vector<MeasuredRow>& rows) {
  each_value(source, path, [&](YamlMap& value, std::int64_t) {
    const std::string topology = value.text("topo");
    const std::string sms = value.text("num_sms");
    for (const bool dispatch : {true, false}) {
      MeasuredRow row = published_row(source, next_number(rows), dispatch);
      row.cluster = value.text("arch") == "SM100" ? "hgx-b200" : "hgx-h100";
      const std::size_t times = topology.find(" x ");
      const int nodes = times == std::string::npos ? 1 : std::atoi(topology.c_str() + times + 3);
      if (!topology.starts_with("EP 8") || nodes < 1 || nodes > 1024) {
        value.mistake("topo", "'" + topology + "' is not 'EP 8' or 'EP 8 x N'");
        continue;
      }
      set_ranks(row, 8 * nodes);
      row.tokens = 8192;
      row.library = "deepep-v2";
      row.sms = std::atoi(sms.c_str());
      set_time(row, value.number(dispatch ? "dispatch_GBps" : "combine_GBps", kRate));
      rows.push_back(std::move(row));
    }
  });
}

// {ranks, num_sms, kernel_dispatch_fp8, kernel_dispatch_bf16, kernel_combine}: the kernels' own
// time; the "torch API" columns hold the host's part too and are left out.
void read_hybrid_ep_h100(const MeasuredSource& source, const std::string& path,
                         std::vector<MeasuredRow>& rows) {
  each_value(source, path, [&](YamlMap& value, std::int64_t) {
    for (const std::string column : {"dispatch_fp8", "dispatch_bf16", "combine"}) {
      MeasuredRow row = published_row(source, next_number(rows), column != "combine");
      row.dtype = column == "dispatch_fp8" ? "fp8" : "bf16";
      set_ranks(row, value.count("ranks", {8, 1024}));
      row.tokens = 4096;
      row.experts = 8 * row.ranks;
      row.sms = static_cast<int>(value.count("num_sms", {1, 1024}));
      set_time(row, value.number("kernel_" + column, kRate));
      rows.push_back(std::move(row));
    }
  });
}

// {implementation, measurement, num_sms, dispatch_fp8, dispatch_bf16, combine} on one node.
// DeepEP's rows are timed around the PyTorch call: kept with that note, never fitted.
void read_hybrid_ep_b200(const MeasuredSource& source, const std::string& path,
                         std::vector<MeasuredRow>& rows) {
  each_value(source, path, [&](YamlMap& value, std::int64_t) {
    const bool hybrid = value.text("implementation") == "HybridEP";
    const bool api = value.text("measurement") == "Torch API";
    if (hybrid && api) return;  // its kernel time is there too
    for (const std::string column : {"dispatch_fp8", "dispatch_bf16", "combine"}) {
      MeasuredRow row = published_row(source, next_number(rows), column != "combine");
      row.dtype = column == "dispatch_fp8" ? "fp8" : "bf16";
      row.library = hybrid ? "hybrid-ep" : "deepep";
      set_ranks(row, 8);
      row.tokens = 4096;
      row.experts = 64;
      row.sms = static_cast<int>(value.count("num_sms", {1, 1024}));
      if (api) row.note = "timed around the PyTorch call, not the kernel";
      set_time(row, value.number(column, kRate));
      rows.push_back(std::move(row));
    }
  });
}

}  // namespace sim
