#include "models/microbench/cuda/transfers.h"

#include "models/microbench/cuda/rank_memory.h"

namespace sim::device_code {
namespace {

int device_count() {
  int count = 0;
  check_cuda(cudaGetDeviceCount(&count), "counting devices");
  return count;
}

// Pinned host memory, poisoned.
class PinnedBytes {
 public:
  explicit PinnedBytes(std::int64_t count) {
    check_cuda(cudaMallocHost(&bytes_, static_cast<std::size_t>(count)), "pinning host memory");
    std::memset(bytes_, 0xff, static_cast<std::size_t>(count));
  }
  PinnedBytes(const PinnedBytes&) = delete;
  PinnedBytes& operator=(const PinnedBytes&) = delete;
  ~PinnedBytes() { cudaFreeHost(bytes_); }
  float* floats() const { return static_cast<float*>(bytes_); }

 private:
  void* bytes_ = nullptr;
};

// A second stream that runs beside the device's for a part of a call.
class SideStream {
 public:
  SideStream() {
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
    check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event");
  }
  SideStream(const SideStream&) = delete;
  SideStream& operator=(const SideStream&) = delete;
  ~SideStream() {
    cudaEventDestroy(event_);
    cudaStreamDestroy(stream_);
  }
  cudaStream_t stream() const { return stream_; }
  void fork_from(const Device& device) { order(device.stream, stream_); }
  void join(const Device& device) { order(stream_, device.stream); }

 private:
  void order(cudaStream_t before, cudaStream_t after) {
    check_cuda(cudaEventRecord(event_, before), "recording an event");
    check_cuda(cudaStreamWaitEvent(after, event_, 0), "waiting for an event");
  }
  cudaStream_t stream_ = nullptr;
  cudaEvent_t event_ = nullptr;
};

void expect_same(Comparison& comparison, const std::string& name, const float* got,
                 const std::vector<float>& expected) {
  comparison.compare(name, as_doubles(std::vector<float>(got, got + expected.size())),
                     as_doubles(expected), 0.0);
}

void add_host_copy(PreparedCase& prepared, const KernelCase& what) {
  const std::int64_t count = what.size("bytes") / static_cast<std::int64_t>(sizeof(float));
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
  const std::string direction = what.option("direction");
  Device& device = prepared.device();
  if (direction != "to_host") {
    auto& from = prepared.keep(std::make_unique<PinnedBytes>(count * 4));
    for (std::int64_t i = 0; i < count; ++i) from.floats()[i] = static_cast<float>(i % 4093);
    auto& to = prepared.output<float>(count);
    prepared.add_step([&device, &from, &to, bytes] {
      check_cuda(
          cudaMemcpyAsync(to.data(), from.floats(), bytes, cudaMemcpyHostToDevice, device.stream),
          "copying to the device");
    });
    prepared.add_check([&from, &to](Comparison& comparison) {
      expect_same(comparison, "device memory", from.floats(), to.download());
    });
  }
  if (direction == "to_device") return;
  auto& from = prepared.random<float>(count, 1);
  auto& to = prepared.keep(std::make_unique<PinnedBytes>(count * 4));
  if (direction == "both") {
    // The side stream's copy begins with the call, beside the copy that is queued above it.
    auto& side = prepared.keep(std::make_unique<SideStream>());
    prepared.add_first_step([&device, &side, &from, &to, bytes] {
      side.fork_from(device);
      check_cuda(
          cudaMemcpyAsync(to.floats(), from.data(), bytes, cudaMemcpyDeviceToHost, side.stream()),
          "copying to the host");
    });
    prepared.add_step([&device, &side] { side.join(device); });
  } else {
    prepared.add_step([&device, &from, &to, bytes] {
      check_cuda(
          cudaMemcpyAsync(to.floats(), from.data(), bytes, cudaMemcpyDeviceToHost, device.stream),
          "copying to the host");
    });
  }
  prepared.add_check([&from, &to](Comparison& comparison) {
    expect_same(comparison, "host memory", to.floats(), from.download());
  });
}

void add_peer_copy(PreparedCase& prepared, const KernelCase& what) {
  const std::int64_t count = what.size("bytes") / static_cast<std::int64_t>(sizeof(Bf16));
  Device& device = prepared.device();
  const auto& from = prepared.random<Bf16>(count, 1);
  auto& ranks = prepared.keep(std::make_unique<RankMemory>(2, count, 0));
  prepared.add_step([&device, &from, &ranks, count] {
    check_cuda(cudaMemcpyPeerAsync(ranks.memory(1), 1, from.data(), 0,
                                   static_cast<std::size_t>(count) * sizeof(Bf16), device.stream),
               "copying to a peer");
  });
  prepared.add_check([&from, &ranks, count](Comparison& comparison) {
    const std::vector<Bf16> expected = from.download();  // waits for the copy too
    comparison.compare("the peer's memory", as_doubles(ranks.download(1, 0, count)),
                       as_doubles(expected), 0.0);
  });
}

}  // namespace

bool is_transfer(const KernelCase& what) {
  return what.kernel == "host_copy" || what.kernel == "peer_copy" || what.kernel == "all_to_all" ||
         what.kernel == "all_reduce";
}

std::string transfer_unsupported(const KernelCase& what) {
  const std::int64_t ranks = what.kernel == "host_copy"   ? 1
                             : what.kernel == "peer_copy" ? 2
                                                          : what.size("ranks");
  const int devices = device_count();
  if (ranks > devices) return devices == 1 ? "one device" : std::to_string(devices) + " devices";
  const bool exchange = what.kernel == "all_to_all" || what.kernel == "all_reduce";
  if (exchange && what.implementation != "vendor") return "exchanges are those of NCCL";
  if (!exchange && what.implementation != "own") return "copies are not the vendor library's";
  if (what.launch == "graph" || what.sms != 0) return "transfers are eager, on the whole device";
  if (what.size("bytes") < 16 * ranks) return "less than 16 bytes per rank";
  return exchange ? nccl_problem() : "";
}

std::unique_ptr<PreparedCase> prepare_transfer(const KernelCase& what, Device& device) {
  auto prepared = std::make_unique<PreparedCase>(device, false);
  if (what.kernel == "host_copy")
    add_host_copy(*prepared, what);
  else if (what.kernel == "peer_copy")
    add_peer_copy(*prepared, what);
  else
    add_exchange(*prepared, what);
  return prepared;
}

}  // namespace sim::device_code
