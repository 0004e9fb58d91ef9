// Memory and streams of several devices, and NCCL's exchanges among them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/microbench/cuda/cases/prepared_case.h"

namespace sim::device_code {

// Why NCCL cannot be used here; empty when it can.
std::string nccl_problem();

// On each of devices 0..ranks a send and a receive array of bf16, and a stream; device 0 stays
// the current one.
class RankMemory {
 public:
  RankMemory(int ranks, std::int64_t sent, std::int64_t received);
  ~RankMemory();
  RankMemory(const RankMemory&) = delete;
  RankMemory& operator=(const RankMemory&) = delete;

  int count() const { return static_cast<int>(ranks_.size()); }
  // The whole memory of a rank: what it sends, then what it receives.
  Bf16* memory(int rank) const { return ranks_[static_cast<std::size_t>(rank)].values; }
  Bf16* received(int rank) const { return memory(rank) + sent_; }
  cudaStream_t stream(int rank) const { return ranks_[static_cast<std::size_t>(rank)].stream; }
  void upload(int rank, const std::vector<Bf16>& values);
  std::vector<Bf16> download(int rank, std::int64_t first, std::int64_t values) const;

 private:
  struct Rank {
    Bf16* values = nullptr;
    cudaStream_t stream = nullptr;
  };
  std::int64_t sent_;
  std::vector<Rank> ranks_;
};

// all_to_all or all_reduce of a case. The call ends when device 0's part has.
void add_exchange(PreparedCase& prepared, const KernelCase& what);

}  // namespace sim::device_code
