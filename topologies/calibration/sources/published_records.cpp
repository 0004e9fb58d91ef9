// Records of nccl-tests results that were published as text
// (papers/ground_truth/nccl_measured.yaml). Time is what the bus bandwidth says: all-reduce t = 2 S
// (g-1)/g / busbw, else half of it.
#include <fmt/format.h>

#include "topologies/calibration/sources/readers.h"
#include "topologies/calibration/sources/record_values.h"

namespace sim {
namespace {

double time_of(std::string_view operation, std::int64_t bytes, int ranks, double busbw_gb_per_s) {
  const double share = static_cast<double>(ranks - 1) / ranks;
  const double factor = operation == "all-reduce" ? 2 * share : share;
  return factor * static_cast<double>(bytes) / (busbw_gb_per_s * 1e9);
}

constexpr NumberRange kRate{1e-3, 1e7};
constexpr CountRange kSize{1, std::int64_t{1} << 40};

}  // namespace

// {bytes, busbw} or {bytes, time_us} or {bytes, busbw_1node, busbw_4node} on nodes of 8. Rows are
// numbered as they are told: value 1 on one node and on four, value 2 on one node, ...
void read_published_all_reduce(const MeasuredSource& source, const std::string& path,
                               std::vector<MeasuredRow>& rows) {
  std::int64_t number = 0;
  each_value(source, path, [&](YamlMap& value, std::int64_t) {
    const std::int64_t bytes = value.count("bytes", kSize);
    const auto add = [&](int nodes, double time_s) {
      MeasuredRow row = row_of(source, ++number);
      row.operation = "all-reduce";
      row.algorithm = "nccl";
      row.nodes = nodes;
      row.ranks = 8 * nodes;
      row.bytes = Bytes(bytes);
      row.time_s = time_s;
      rows.push_back(std::move(row));
    };
    if (value.has("busbw_4node")) {
      add(1, time_of("all-reduce", bytes, 8, value.number("busbw_1node", kRate)));
      add(4, time_of("all-reduce", bytes, 32, value.number("busbw_4node", kRate)));
      if (bytes < 512 << 10) {  // "0.01 GB/s": two digits are too few for a time
        rows.back().implausible = true;
        rows.back().note = "bandwidth printed with one or two digits";
      }
    } else if (value.has("time_us")) {
      add(1, value.number("time_us", kRate) * 1e-6);
    } else {
      add(1, time_of("all-reduce", bytes, 8, value.number("busbw", kRate)));
    }
  });
}

// {gpu, gpus, busbw, busbw_nvls_off} at 8 GiB: what NCCL picks, and the ring alone.
void read_nvls_gpu_count(const MeasuredSource& source, const std::string& path,
                         std::vector<MeasuredRow>& rows) {
  constexpr std::int64_t kBytes = std::int64_t{8} << 30;
  std::int64_t number = 0;
  each_value(source, path, [&](YamlMap& value, std::int64_t) {
    const int ranks = static_cast<int>(value.count("gpus", {2, 8}));
    const bool b200 = value.text("gpu") == "B200";
    for (const char* key : {"busbw", "busbw_nvls_off"}) {
      const bool ring = std::string_view(key) == "busbw_nvls_off";
      MeasuredRow row = row_of(source, ++number);
      row.cluster = b200 ? "hgx-b200" : "hgx-h200";
      row.operation = "all-reduce";
      row.algorithm = ring ? "nccl-ring" : "nccl";
      row.ranks = ranks;
      row.bytes = Bytes(kBytes);
      row.time_s = time_of("all-reduce", kBytes, ranks, value.number(key, kRate));
      rows.push_back(std::move(row));
    }
  });
}

// {collective, algo, busbw} at 16 GiB on 8 GPUs.
void read_collectives_16_gib(const MeasuredSource& source, const std::string& path,
                             std::vector<MeasuredRow>& rows) {
  constexpr std::int64_t kBytes = std::int64_t{16} << 30;
  each_value(source, path, [&](YamlMap& value, std::int64_t number) {
    MeasuredRow row = row_of(source, number);
    const std::string collective = value.text("collective");
    row.operation = collective.substr(0, collective.find(','));
    row.algorithm = value.text("algo") == "NVLS" ? "nccl-nvls" : "nccl-ring";
    row.ranks = 8;
    row.bytes = Bytes(kBytes);
    row.time_s = time_of(row.operation, kBytes, 8, value.number("busbw", kRate));
    rows.push_back(std::move(row));
  });
}

}  // namespace sim
