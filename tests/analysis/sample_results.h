// A small run whose every field has a value of its own, for the tests of store and queries.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>

#include "analysis/records.h"
#include "analysis/result_store.h"

namespace sim::testing {

// A folder of this test alone, removed at its end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "moe-results-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline RunRecord sample_run() {
  return {.name = "sample",
          .kind = "decode",
          .model = "deepseek-v3",
          .cluster = "hgx-h100",
          .devices = 2,
          .scenario = "model: deepseek-v3\n# 'quoted'; DROP TABLE runs\n",
          .seed = 7,
          .version = "0.1.0",
          .started_at = "2025-01-02T03:04:05Z"};
}

inline StepBatch sample_step(std::int64_t step) {
  StepBatch batch;
  batch.step = {.step = step,
                .start = Time(Duration(1000 * step)),
                .duration = Duration(1000),
                .tokens = 5,
                .dropped_choices = 6,
                .exposed_communication_fraction = 0.25};
  batch.layers = {{.layer = 3,
                   .attention = Duration(101),
                   .gate = Duration(102),
                   .dispatch = Duration(103),
                   .dispatch_network = Duration(104),
                   .expert = Duration(105),
                   .shared_expert = Duration(106),
                   .combine = Duration(107),
                   .combine_network = Duration(108),
                   .imbalance_max_over_mean = 1.5,
                   .expert_imbalance_max_over_mean = 2.5,
                   .tokens = 109,
                   .rows = 110,
                   .dropped = 111}};
  for (int device = 0; device < 2; ++device) {
    batch.devices.push_back({.device = DeviceId(device),
                             .attention = Duration(201),
                             .expert = Duration(202),
                             .dense = Duration(203),
                             .communication = Duration(204),
                             .other = Duration(205),
                             .wait_peer = Duration(206),
                             .network = Duration(207),
                             .launch = Duration(208),
                             .pipeline_bubble = Duration(209),
                             .idle_end = Duration(210),
                             .memory = Bytes(211)});
  }
  batch.links = {{.link = "node0/gpu0/nvlink-up",
                  .bytes = Bytes(301),
                  .busy = Duration(302),
                  .capacity = Bandwidth(450e9),
                  .utilisation = 0.125}};
  batch.experts = {{.layer = 3, .expert = ExpertId(17), .rows = 401, .replicas = 2}};
  batch.requests = {{.request = 501,
                     .device = DeviceId(1),
                     .arrival = Time(Duration(502)),
                     .first_token = Time(Duration(503)),
                     .finish = Time(Duration(504)),
                     .prompt_tokens = 505,
                     .output_tokens = 506}};
  batch.causes = {{"expert", Duration(600)}, {"network", Duration(400)}};
  batch.waits = {{.layer = 3,
                  .device = DeviceId(0),
                  .waited_for = DeviceId(1),
                  .cause = "token_straggler",
                  .duration = Duration(701)},
                 {.layer = std::nullopt,
                  .device = DeviceId(1),
                  .waited_for = std::nullopt,
                  .cause = "launch",
                  .duration = Duration(702)}};
  batch.spans = {{.device = DeviceId(1),
                  .stream = "compute",
                  .name = "experts",
                  .layer = 3,
                  .start = Time(Duration(801)),
                  .duration = Duration(802)}};
  return batch;
}

inline RunResult sample_result() {
  return {.fingerprint = "00000000deadbeef",
          .wall_s = 1.5,
          .metrics = {{"step_time_s", 1e-9, "s"}, {"imbalance_max_over_mean", 1.5, ""}},
          .traffic = {{3, DeviceId(0), DeviceId(1), "dispatch", Bytes(901)}},
          .costs = {{"grouped_gemm", "h100-sxm", "measured", "rows 1-9", Duration(1001)},
                    {"attention", "h100-sxm", "roofline", "peak", Duration(1002)}},
          .memory = {{DeviceId(0), "weights", Bytes(1101)}, {DeviceId(0), "kv", Bytes(1102)}}};
}

inline void write_sample(const std::string& path, int steps) {
  ResultStore store(path);
  store.begin_run(sample_run());
  for (int step = 0; step < steps; ++step) store.add(sample_step(step));
  store.finish_run(sample_result());
}

}  // namespace sim::testing
