#include "models/microbench/cuda/rank_memory.h"

#include <nccl.h>

#include "models/microbench/cuda/shared_library.h"

namespace sim::device_code {
namespace {

struct NcclLibrary {
  SharedLibrary library{{"libnccl.so.2"}, MOE_CUDA_LIBRARIES};
  std::string problem;
  decltype(&::ncclCommInitAll) init_all = nullptr;
  decltype(&::ncclCommDestroy) destroy = nullptr;
  decltype(&::ncclGroupStart) group_start = nullptr;
  decltype(&::ncclGroupEnd) group_end = nullptr;
  decltype(&::ncclSend) send = nullptr;
  decltype(&::ncclRecv) receive = nullptr;
  decltype(&::ncclAllReduce) all_reduce = nullptr;

  NcclLibrary() {
    if (!library.loaded()) {
      problem = "NCCL does not load: " + library.problem();
      return;
    }
    const bool whole =
        library.find(init_all, "ncclCommInitAll") && library.find(destroy, "ncclCommDestroy") &&
        library.find(group_start, "ncclGroupStart") && library.find(group_end, "ncclGroupEnd") &&
        library.find(send, "ncclSend") && library.find(receive, "ncclRecv") &&
        library.find(all_reduce, "ncclAllReduce");
    if (!whole) problem = "this NCCL lacks what all-to-all and all-reduce need";
  }
};

NcclLibrary& nccl() {
  static NcclLibrary library;
  return library;
}

void check_nccl(ncclResult_t status, const char* what) {
  if (status != ncclSuccess)
    throw Error(std::string("NCCL: ") + what + " failed with status " + std::to_string(status));
}

// One communicator per rank, made once per exchange.
class Communicators {
 public:
  explicit Communicators(int ranks) : handles_(static_cast<std::size_t>(ranks)) {
    check_nccl(nccl().init_all(handles_.data(), ranks, nullptr), "making communicators");
  }
  Communicators(const Communicators&) = delete;
  Communicators& operator=(const Communicators&) = delete;
  ~Communicators() {
    for (ncclComm_t handle : handles_) nccl().destroy(handle);
  }
  ncclComm_t of(int rank) const { return handles_[static_cast<std::size_t>(rank)]; }

 private:
  std::vector<ncclComm_t> handles_;
};

std::vector<Bf16> values_of_rank(int rank, std::int64_t count) {
  std::vector<Bf16> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = to_bf16(static_cast<float>(i % 251 + static_cast<std::size_t>(rank) * 256));
  return values;
}

}  // namespace

std::string nccl_problem() { return nccl().problem; }

RankMemory::RankMemory(int ranks, std::int64_t sent, std::int64_t received)
    : sent_(sent), ranks_(static_cast<std::size_t>(ranks)) {
  for (int rank = 0; rank < ranks; ++rank) {
    Rank& one = ranks_[static_cast<std::size_t>(rank)];
    check_cuda(cudaSetDevice(rank), "choosing a device");
    const std::size_t bytes = static_cast<std::size_t>(sent + received) * sizeof(Bf16);
    void* memory = nullptr;
    check_cuda(cudaMalloc(&memory, bytes), "allocating memory");
    one.values = static_cast<Bf16*>(memory);
    check_cuda(cudaMemset(memory, 0xff, bytes), "memset");
    check_cuda(cudaStreamCreateWithFlags(&one.stream, cudaStreamNonBlocking), "making a stream");
    // The way between two devices without the host, where there is one.
    for (int peer = 0; peer < ranks; ++peer) {
      int possible = 0;
      if (peer != rank && cudaDeviceCanAccessPeer(&possible, rank, peer) == cudaSuccess && possible)
        cudaDeviceEnablePeerAccess(peer, 0);
    }
    cudaGetLastError();  // access that was given before is no error
  }
  check_cuda(cudaSetDevice(0), "choosing device 0");
}

RankMemory::~RankMemory() {
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
    cudaSetDevice(static_cast<int>(rank));
    cudaStreamDestroy(ranks_[rank].stream);
    cudaFree(ranks_[rank].values);
  }
  cudaSetDevice(0);
}

void RankMemory::upload(int rank, const std::vector<Bf16>& values) {
  check_cuda(
      cudaMemcpy(memory(rank), values.data(), values.size() * sizeof(Bf16), cudaMemcpyHostToDevice),
      "upload");
}

std::vector<Bf16> RankMemory::download(int rank, std::int64_t first, std::int64_t values) const {
  std::vector<Bf16> result(static_cast<std::size_t>(values));
  check_cuda(cudaStreamSynchronize(stream(rank)), "waiting for a stream");
  check_cuda(cudaMemcpy(result.data(), memory(rank) + first, result.size() * sizeof(Bf16),
                        cudaMemcpyDeviceToHost),
             "download");
  return result;
}

void add_exchange(PreparedCase& prepared, const KernelCase& what) {
  const auto ranks = static_cast<int>(what.size("ranks"));
  const bool reduce = what.kernel == "all_reduce";
  const std::int64_t part = what.size("bytes") / static_cast<std::int64_t>(sizeof(Bf16)) / ranks;
  const std::int64_t count = part * ranks;  // values of a rank
  auto& memory = prepared.keep(std::make_unique<RankMemory>(ranks, count, count));
  auto& communicators = prepared.keep(std::make_unique<Communicators>(ranks));
  for (int rank = 0; rank < ranks; ++rank) memory.upload(rank, values_of_rank(rank, count));
  Device& device = prepared.device();
  prepared.add_step([=, &device, &memory, &communicators] {
    check_nccl(nccl().group_start(), "beginning a group");
    for (int rank = 0; rank < ranks; ++rank) {
      // Rank 0 is on the stream that is timed.
      const cudaStream_t stream = rank == 0 ? device.stream : memory.stream(rank);
      const ncclComm_t communicator = communicators.of(rank);
      if (reduce) {
        check_nccl(nccl().all_reduce(memory.memory(rank), memory.received(rank),
                                     static_cast<std::size_t>(count), ncclBfloat16, ncclSum,
                                     communicator, stream),
                   "an all-reduce");
        continue;
      }
      for (int peer = 0; peer < ranks; ++peer) {
        check_nccl(nccl().send(memory.memory(rank) + peer * part, static_cast<std::size_t>(part),
                               ncclBfloat16, peer, communicator, stream),
                   "a send");
        check_nccl(
            nccl().receive(memory.received(rank) + peer * part, static_cast<std::size_t>(part),
                           ncclBfloat16, peer, communicator, stream),
            "a receive");
      }
    }
    check_nccl(nccl().group_end(), "ending a group");
  });
  prepared.add_check([=, &device, &memory](Comparison& comparison) {
    finish(device);
    for (int rank = 0; rank < ranks; ++rank) {
      std::vector<double> expected(static_cast<std::size_t>(count));
      for (int peer = 0; peer < ranks; ++peer) {
        const std::vector<Bf16> sent = values_of_rank(peer, count);
        if (reduce) {
          for (std::size_t i = 0; i < sent.size(); ++i) expected[i] += as_double(sent[i]);
        } else {
          for (std::int64_t i = 0; i < part; ++i)
            expected[static_cast<std::size_t>(peer * part + i)] =
                as_double(sent[static_cast<std::size_t>(rank * part + i)]);
        }
      }
      comparison.compare("what rank " + std::to_string(rank) + " received",
                         as_doubles(memory.download(rank, count, count)), expected,
                         reduce ? 4 * kBf16Tolerance : 0.0);  // a sum is rounded at every rank
    }
  });
}

}  // namespace sim::device_code
