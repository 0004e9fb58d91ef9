// Tables of measured collectives.
#include <fmt/format.h>

#include <utility>

#include "sim/input/suggestion.h"
#include "topologies/calibration/sources/readers.h"

namespace sim {
namespace {

constexpr std::string_view kAiconfigurator = "ai-dynamo/aiconfigurator @ 095f58a51c4c";
constexpr std::string_view kApex = "microsoft/apex_plus @ 8769096536a3, profile/comm";
constexpr std::string_view kVidur = "microsoft/vidur @ 7d47513363ec, data/profiling/network";
constexpr std::string_view kOpenBook =
    "ML Engineering Open Book, network/README.md (stas00/ml-engineering @ 744d01e18b79)";
constexpr const char* kRecords = "papers/ground_truth/nccl_measured.yaml";

#define AIC "data/collectives/aiconfigurator/"
#define APEX "data/collectives/apex-plus/"
#define VIDUR "data/collectives/vidur/"
constexpr MeasuredSource kSources[] = {
    {"aic-nccl-a100-2.27.3", AIC "a100_sxm__comm__nccl__2.27.3__nccl_perf.csv.gz", kAiconfigurator,
     "hgx-a100", "nccl 2.27.3", &read_aiconfigurator_nccl},
    {"aic-nccl-h100-2.29.2", AIC "h100_sxm__comm__nccl__2.29.2__nccl_perf.csv.gz", kAiconfigurator,
     "hgx-h100", "nccl 2.29.2", &read_aiconfigurator_nccl},
    {"aic-nccl-h100-2.23", AIC "h100_sxm__comm__nccl__2.23__nccl_perf.csv.gz", kAiconfigurator,
     "hgx-h100", "nccl 2.23", &read_aiconfigurator_nccl},
    {"aic-nccl-b200-2.29.2", AIC "b200_sxm__comm__nccl__2.29.2__nccl_perf.csv.gz", kAiconfigurator,
     "hgx-b200", "nccl 2.29.2", &read_aiconfigurator_nccl},
    // The file is named after 2.23; its rows say 2.29.2.
    {"aic-nccl-gb200-2.29.2", AIC "gb200__comm__nccl__2.23__nccl_perf.csv.gz", kAiconfigurator,
     "gb200-nvl72", "nccl 2.29.2", &read_aiconfigurator_nccl},
    {"apex-h100-all-gather", APEX "H100-SXM-80GB/all_gather.csv", kApex, "hgx-h100", "",
     &read_apex_collective},
    {"apex-h100-all-reduce", APEX "H100-SXM-80GB/all_reduce.csv", kApex, "hgx-h100", "",
     &read_apex_collective},
    {"apex-h100-all-to-all", APEX "H100-SXM-80GB/alltoall.csv", kApex, "hgx-h100", "",
     &read_apex_collective},
    {"apex-h100-reduce-scatter", APEX "H100-SXM-80GB/reduce_scatter.csv", kApex, "hgx-h100", "",
     &read_apex_collective},
    {"apex-h100-send-receive", APEX "H100-SXM-80GB/sendrecv.csv", kApex, "hgx-h100", "",
     &read_apex_collective},
    {"apex-v100-all-gather", APEX "V100-PCIE-16GB/all_gather.csv", kApex, "v100-pcie", "",
     &read_apex_collective},
    {"apex-v100-all-reduce", APEX "V100-PCIE-16GB/all_reduce.csv", kApex, "v100-pcie", "",
     &read_apex_collective},
    {"apex-v100-all-to-all", APEX "V100-PCIE-16GB/alltoall.csv", kApex, "v100-pcie", "",
     &read_apex_collective},
    {"apex-v100-send-receive", APEX "V100-PCIE-16GB/sendrecv.csv", kApex, "v100-pcie", "",
     &read_apex_collective},
    {"vidur-a100-all-reduce", VIDUR "a100_dgx__all_reduce.csv.gz", kVidur, "hgx-a100", "",
     &read_vidur_collective},
    {"vidur-a100-send-receive", VIDUR "a100_dgx__send_recv.csv.gz", kVidur, "hgx-a100", "",
     &read_vidur_collective},
    {"vidur-h100-all-reduce", VIDUR "h100_dgx__all_reduce.csv.gz", kVidur, "hgx-h100", "",
     &read_vidur_collective},
    {"vidur-h100-send-receive", VIDUR "h100_dgx__send_recv.csv.gz", kVidur, "hgx-h100", "",
     &read_vidur_collective},
    {"nccl-tests-rtx3090", "data/collectives/nccl-tests-4x8-rtx3090/nccl_all_reduce0.txt.gz",
     "Panlichen/nccl-tests @ 2c51b1bec6fd, 4 nodes of 8 RTX 3090", "rtx3090-box", "",
     &read_nccl_tests_log},
    {"nccl-tests-a3mega", "data/collectives/nccl-tests-a3mega-2x8-h100/all_reduce_perf.md",
     "lessizzmore/create-a3mega-ztan-fork @ 346b825ad3b5, 2 GCP a3-megagpu nodes", "a3-mega", "",
     &read_nccl_tests_log},
    {"open-book/nccl_allreduce_a100x8", kRecords, kOpenBook, "hgx-a100", "",
     &read_published_all_reduce},
    {"open-book/nccl_allreduce_h200x8", kRecords, kOpenBook, "hgx-h200", "nccl 2.27.7",
     &read_published_all_reduce},
    {"open-book/nccl_allreduce_b200_1_vs_4_nodes", kRecords, kOpenBook, "p6-b200", "nccl 2.27.7",
     &read_published_all_reduce},
    {"open-book/nccl_nvls_gpu_count", kRecords, kOpenBook, "hgx-h200", "", &read_nvls_gpu_count},
    {"open-book/nccl_collectives_h200_16g", kRecords, kOpenBook, "hgx-h200", "",
     &read_collectives_16_gib},
};
#undef AIC
#undef APEX
#undef VIDUR

}  // namespace

std::span<const MeasuredSource> collective_sources() { return kSources; }

std::string operation_named(std::string_view text, const Place& place) {
  static const std::pair<std::string_view, std::string_view> kNames[] = {
      {"all_reduce", "all-reduce"},         {"all_gather", "all-gather"},
      {"reduce_scatter", "reduce-scatter"}, {"alltoall", "all-to-all"},
      {"send_recv", "send-receive"},        {"sendrecv", "send-receive"}};
  std::vector<std::string> known;
  for (const auto& [theirs, ours] : kNames) {
    if (theirs == text) return std::string(ours);
    known.emplace_back(theirs);
  }
  throw Error(place, fmt::format("'{}' is not an operation", text), suggest(text, known));
}

}  // namespace sim
