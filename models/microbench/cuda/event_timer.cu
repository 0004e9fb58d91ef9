#include "models/microbench/cuda/event_timer.h"

#include <chrono>

#include "models/microbench/cpu/stopwatch.h"

namespace sim::device_code {
namespace {

constexpr int kBatch = 16;
constexpr double kLeastWait = 50e-6;
constexpr double kMostWait = 20e-3;

// Holds the stream for so many nanoseconds.
__global__ void wait_kernel(unsigned long long nanoseconds) {
  unsigned long long begin;
  unsigned long long now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
  do {
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  } while (now - begin < nanoseconds);
}

class Event {
 public:
  Event() { check_cuda(cudaEventCreate(&event_), "making an event"); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { cudaEventDestroy(event_); }
  void record(const Device& device) {
    check_cuda(cudaEventRecord(event_, device.stream), "recording an event");
  }
  // Seconds; REQUIRES: both have happened.
  double since(const Event& earlier) const {
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, earlier.event_, event_), "reading a time");
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

// A call of one copy, captured.
class Graph {
 public:
  Graph(Device& device, PreparedCase& prepared) {
    check_cuda(cudaStreamBeginCapture(device.stream, cudaStreamCaptureModeThreadLocal),
               "beginning a graph");
    prepared.launch();
    cudaGraph_t graph = nullptr;
    check_cuda(cudaStreamEndCapture(device.stream, &graph), "ending a graph");
    const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check_cuda(status, "making a graph ready");
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph() { cudaGraphExecDestroy(executable_); }
  void launch(const Device& device) {
    check_cuda(cudaGraphLaunch(executable_, device.stream), "launching a graph");
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

const void* probe_kernel() { return reinterpret_cast<const void*>(&wait_kernel); }

microbench::Timing time_on_device(Device& device,
                                  const std::vector<std::unique_ptr<PreparedCase>>& copies,
                                  const microbench::TimingPolicy& policy, bool graph) {
  std::vector<std::unique_ptr<Graph>> graphs;
  for (const auto& copy : copies) {
    copy->launch();  // kernels are loaded, libraries have made their choices
    finish(device);
    if (graph) graphs.push_back(std::make_unique<Graph>(device, *copy));
  }
  std::size_t turn = 0;
  const auto call = [&] {
    const std::size_t copy = turn++ % copies.size();
    if (graph)
      graphs[copy]->launch(device);
    else
      copies[copy]->launch();
  };
  // Queuing alone is timed while the stream is held, or a slow device would hold up the host.
  double queue_seconds = kLeastWait;
  for (int i = 0; i < std::max(1, policy.warm_up); ++i) {
    wait_kernel<<<1, 1, 0, device.stream>>>(static_cast<unsigned long long>(kMostWait * 1e9));
    const auto begin = std::chrono::steady_clock::now();
    for (int j = 0; j < kBatch; ++j) call();
    queue_seconds = seconds_since(begin);
    finish(device);
  }
  const double wait = std::min(std::max(2 * queue_seconds, kLeastWait), kMostWait);

  Event begins[kBatch];
  Event ends[kBatch];
  std::vector<double> seconds;
  double total = 0;
  while (static_cast<std::int64_t>(seconds.size()) < policy.least_repeats ||
         (total < policy.least_time_s &&
          static_cast<std::int64_t>(seconds.size()) < microbench::kMostRepeats)) {
    wait_kernel<<<1, 1, 0, device.stream>>>(static_cast<unsigned long long>(wait * 1e9));
    for (int i = 0; i < kBatch; ++i) {
      begins[i].record(device);
      call();
      ends[i].record(device);
    }
    finish(device);
    check_cuda(cudaGetLastError(), "a timed call");
    for (int i = 0; i < kBatch; ++i) {
      // An event's clock has steps of about half a microsecond: never a time of zero.
      seconds.push_back(std::max(ends[i].since(begins[i]), 1e-9));
      total += seconds.back();
    }
  }
  return microbench::timing_of(std::move(seconds));
}

}  // namespace sim::device_code
