// What recording costs a host: an item is one choice, and the rate is per second of a recording
// thread's own CPU time. The batches of a run fit into the buffer, so none is dropped; the writer
// thread empties it meanwhile into a file of the temporary folder.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "traces/capture/moe_capture.h"

namespace sim::speed {
namespace {

constexpr std::int64_t kTopK = 8;
constexpr std::int64_t kChoicesOfARun = 4'000'000;

moe_capture* capture = nullptr;
std::string path;

void open_log(const benchmark::State& state) {
  path = (std::filesystem::temp_directory_path() / ("moe-capture-" + std::to_string(getpid())))
             .string();
  const std::uint32_t experts[] = {256};
  moe_capture_options options = MOE_CAPTURE_OPTIONS;
  options.path = path.c_str();
  options.layers = 1;
  options.experts = experts;
  options.top_k = kTopK;
  options.flags = MOE_CAPTURE_OVERWRITE | (state.range(1) ? MOE_CAPTURE_WEIGHTS : 0);
  options.buffer_bytes = std::uint64_t{256} << 20;
  char error[256] = "";
  capture = moe_capture_open(&options, error, sizeof error);
  if (capture == nullptr) throw std::runtime_error(error);
}

void close_log(const benchmark::State&) {
  moe_capture_close(&capture);
  std::filesystem::remove(path);
}

void capture_record(benchmark::State& state) {
  const auto tokens = static_cast<std::uint32_t>(state.range(0));
  std::vector<std::int64_t> ids(static_cast<std::size_t>(tokens * kTopK));
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(i * 7 % 256);
  moe_capture_batch batch = MOE_CAPTURE_BATCH;
  batch.source_rank = static_cast<std::uint32_t>(state.thread_index());
  batch.tokens = tokens;
  batch.top_k = kTopK;
  batch.ids = ids.data();
  const std::vector<float> weights(ids.size(), 0.125F);
  if (state.range(1)) batch.weights = weights.data();
  std::int64_t dropped = 0;
  for (auto _ : state) {
    dropped += moe_capture_record(capture, &batch) != MOE_CAPTURE_STORED;
    ++batch.step;
  }
  if (dropped > 0) state.SkipWithError("a batch was dropped");
  state.SetItemsProcessed(state.iterations() * tokens * kTopK);
}

// tokens of a batch, with gate weights or not; in one thread and in two
#define MOE_CAPTURE_SPEED(TOKENS, WEIGHTS)            \
  BENCHMARK(capture_record)                           \
      ->Args({TOKENS, WEIGHTS})                       \
      ->ArgNames({"tokens", "weights"})               \
      ->ThreadRange(1, 2)                             \
      ->Iterations(kChoicesOfARun / kTopK / (TOKENS)) \
      ->Setup(open_log)                               \
      ->Teardown(close_log)
MOE_CAPTURE_SPEED(1, 0);
MOE_CAPTURE_SPEED(16, 0);
MOE_CAPTURE_SPEED(128, 0);
MOE_CAPTURE_SPEED(4096, 0);
MOE_CAPTURE_SPEED(4096, 1);

}  // namespace
}  // namespace sim::speed
