// Dispatch and combine of other libraries, as their own pages print them (records of
// papers/ground_truth/ep_comm_other.yaml and aws_efa_moe.yaml). hidden 7168, top-8 of 256 experts,
// fp8 dispatch, bf16 combine, nodes of 8, unless said otherwise.
#include <fmt/format.h>

#include "topologies/calibration/sources/exchange_readers.h"
#include "topologies/calibration/sources/record_values.h"

namespace sim {
namespace {

constexpr NumberRange kRate{0.1, 1e5};
constexpr NumberRange kMicroseconds{1e-3, 1e9};

MeasuredRow library_row(const MeasuredSource& source, std::int64_t number, bool dispatch,
                        std::int64_t ranks, std::int64_t tokens) {
  MeasuredRow row = row_of(source, number);
  row.operation = dispatch ? "dispatch" : "combine";
  row.dtype = dispatch ? "fp8" : "bf16";
  row.algorithm = tokens > 512 ? "deepep-normal" : "deepep-low-latency";
  row.ranks = static_cast<int>(ranks);
  row.nodes = static_cast<int>((ranks + 7) / 8);
  row.tokens = tokens;
  row.hidden = 7168;
  row.top_k = 8;
  row.experts = 256;
  return row;
}

}  // namespace

// {ep, tokens, impl, dispatch_us, combine_us}. pplx-garden sends one copy per (token, expert) at
// every batch size; the DeepEP and UCCL-EP columns switch kernels.
void read_pplx_garden(const MeasuredSource& source, const std::string& path,
                      std::vector<MeasuredRow>& rows) {
  each_value(source, path, [&](YamlMap& value, std::int64_t) {
    const std::string implementation = value.text("impl");
    const std::int64_t ranks = value.count("ep", {8, 1024});
    const std::int64_t tokens = value.count("tokens", {1, 1 << 20});
    const bool own = implementation.starts_with("pplx");
    for (const bool dispatch : {true, false}) {
      MeasuredRow row = library_row(source, next_number(rows), dispatch, ranks, tokens);
      row.cluster = implementation.ends_with("CX7") ? "hgx-h100" : "p5en";
      row.library = own ? "pplx-garden" : implementation.starts_with("UCCL") ? "uccl-ep" : "deepep";
      if (own) row.algorithm = "deepep-low-latency";
      row.time_s = value.number(dispatch ? "dispatch_us" : "combine_us", kMicroseconds) * 1e-6;
      // As network_forms.md lists: a cell of another row, and numbers that fall where more is sent.
      const bool copied = own && row.cluster == "hgx-h100" && tokens == 4096 &&
                          ((ranks == 8 && dispatch) || (ranks == 16 && !dispatch));
      const bool deepep_one_node = !own && tokens == 4096 && ranks == 8;
      if (copied || deepep_one_node) {
        row.implausible = true;
        row.note = "implausible cell of the printed table";
      }
      rows.push_back(std::move(row));
    }
  });
}

// {op: "IBGDA Dispatch", EP8_us, EP16_us, ...} at 128 tokens. The rows copied from DeepEP's page
// and the dense all-to-alls, which pad to every expert, are left out.
void read_pplx_kernels(const MeasuredSource& source, const std::string& path,
                       std::vector<MeasuredRow>& rows) {
  each_value(source, path, [&](YamlMap& value, std::int64_t) {
    const std::string name = value.text("op");
    const std::size_t space = name.find(' ');
    const std::string transport = name.substr(0, space);
    const std::string operation = space == std::string::npos ? "" : name.substr(space + 1);
    if (transport == "DeepEP" || (operation != "Dispatch" && operation != "Combine")) return;
    for (const int ranks : {8, 16, 32, 64, 128}) {
      const std::string column = fmt::format("EP{}_us", ranks);
      if (!value.has(column)) continue;
      MeasuredRow row = library_row(source, next_number(rows), operation == "Dispatch", ranks, 128);
      row.library = transport == "NVLINK" ? "pplx-kernels" : "pplx-kernels " + transport;
      row.note = transport + " transport";
      row.time_s = value.number(column, kMicroseconds) * 1e-6;
      rows.push_back(std::move(row));
    }
  });
}

// {ep, dispatch_us, combine_us} at 128 tokens.
void read_uccl_low_latency(const MeasuredSource& source, const std::string& path,
                           std::vector<MeasuredRow>& rows) {
  each_value(source, path, [&](YamlMap& value, std::int64_t) {
    for (const bool dispatch : {true, false}) {
      MeasuredRow row =
          library_row(source, next_number(rows), dispatch, value.count("ep", {8, 1024}), 128);
      row.time_s = value.number(dispatch ? "dispatch_us" : "combine_us", kMicroseconds) * 1e-6;
      rows.push_back(std::move(row));
    }
  });
}

// {ep or ep_fp8/ep_bf16/ep_combine, dispatch_fp8_GBps, dispatch_bf16_GBps, combine_GBps} at 4096
// tokens, at most 4 nodes per token; DeepEP's logical bandwidths. Where a table prints microseconds
// too (p6-b200), those are the time.
void read_uccl_normal(const MeasuredSource& source, const std::string& path,
                      std::vector<MeasuredRow>& rows) {
  each_value(source, path, [&](YamlMap& value, std::int64_t) {
    for (const std::string column : {"dispatch_fp8", "dispatch_bf16", "combine"}) {
      if (!value.has(column + "_GBps")) continue;
      const std::string ep = value.has("ep")       ? "ep"
                             : column == "combine" ? "ep_combine"
                                                   : "ep_" + column.substr(column.find('_') + 1);
      MeasuredRow row = library_row(source, next_number(rows), column != "combine",
                                    value.count(ep, {8, 1024}), 4096);
      row.dtype = column == "dispatch_fp8" ? "fp8" : "bf16";
      if (row.nodes > 4) row.groups = row.nodes, row.top_groups = 4;
      if (column == "dispatch_bf16" && value.count("ep_fp8") != row.ranks) {
        row.implausible = true;
        row.note = "printed as EP32 in the row of EP64, beside another EP32";
      }
      const std::string time = column == "combine" ? "combine_us" : "dispatch_us";
      row.time_s = value.has(time) ? value.number(time, kMicroseconds) * 1e-6
                                   : seconds_of_bandwidth(
                                         row, row.nodes > 1 ? Counted::kNodes : Counted::kRanks,
                                         value.number(column + "_GBps", kRate));
      rows.push_back(std::move(row));
    }
  });
}

// {hw, kernel: "EP16-V1", dispatch_xgmi, dispatch_rdma, combine_xgmi, combine_rdma} at 4096 tokens.
// Logical bandwidths of one time: ranks (xgmi) or nodes (rdma), the own ones included.
void read_mori(const MeasuredSource& source, const std::string& path,
               std::vector<MeasuredRow>& rows) {
  each_value(source, path, [&](YamlMap& value, std::int64_t) {
    const bool mi300x = value.text("hw").starts_with("MI300X");
    const std::string kernel = value.text("kernel");
    const std::int64_t ranks = kernel.starts_with("EP8") ? 8 : std::atoi(kernel.c_str() + 2);
    for (const bool dispatch : {true, false}) {
      MeasuredRow row = library_row(source, next_number(rows), dispatch, ranks, 4096);
      row.cluster = mi300x ? "mi300x-cx7" : "mi355x-ainic";
      if (value.flag_or("stale", false)) row.note = "marked stale by its source";
      row.time_s = seconds_of_bandwidth(
          row, Counted::kRanks, value.number(dispatch ? "dispatch_xgmi" : "combine_xgmi", kRate));
      rows.push_back(std::move(row));
    }
  });
}

// {nodes, ranks, nvshmem_dispatch, ..., uccl_dispatch, ...}: bandwidth of the RDMA leg at 4096
// tokens in bf16, taken as DeepEP's logical one; null where the kernel gave up.
void read_efa_fan_out(const MeasuredSource& source, const std::string& path,
                      std::vector<MeasuredRow>& rows) {
  each_value(source, path, [&](YamlMap& value, std::int64_t) {
    const std::int64_t ranks = value.count("ranks", {8, 1024});
    for (const std::string backend : {"nvshmem", "uccl"}) {
      for (const bool dispatch : {true, false}) {
        const std::string column = backend + (dispatch ? "_dispatch" : "_combine");
        if (!value.has(column) || value.child(column).is_null()) continue;
        MeasuredRow row = library_row(source, next_number(rows), dispatch, ranks, 4096);
        row.dtype = "bf16";
        row.library = backend == "uccl" ? "uccl-ep" : "deepep nvshmem-libfabric";
        if (row.nodes > 4) row.groups = row.nodes, row.top_groups = 4;
        row.time_s = seconds_of_bandwidth(row, Counted::kNodes, value.number(column, kRate));
        rows.push_back(std::move(row));
      }
    }
  });
}

}  // namespace sim
