// ceiling_memory: `bytes` counts what is read and what is written.
#pragma once

#include "models/microbench/cuda/cases/prepared_case.h"
#include "models/microbench/cuda/kernels/memory.h"

namespace sim::device_code {

class MemoryCase : public PreparedCase {
 public:
  MemoryCase(Device& device, const KernelCase& what)
      : PreparedCase(device), what_(what.option("what")) {
    const std::int64_t arrays = what_ == "triad" ? 3 : what_ == "copy" ? 2 : 1;
    count_ = what.size("bytes") / arrays / 16;
    constexpr std::int64_t kChunksPerBlock = 4 * kMemoryThreads;
    const std::int64_t most = 1 + count_ / kChunksPerBlock;
    constexpr std::size_t kShared = kMemoryThreads / 32 * sizeof(std::uint32_t);
    if (what_ != "write") a_ = random_array<float>(4 * count_, 1);
    if (what_ == "triad") b_ = random_array<float>(4 * count_, 1);
    if (what_ == "read") {
      // As many as there can be; those beyond the grid stay poison and are not looked at.
      per_block_ = output_array<std::uint32_t>(most);
      blocks_ = add_kernel(&memory_read, kMemoryThreads, kShared, most, chunks(a_), count_,
                           per_block_.data());
      return;
    }
    out_ = output_array<float>(4 * count_);
    if (what_ == "write")
      add_kernel(&memory_write, kMemoryThreads, 0, most, chunks(out_), count_, kOne);
    else if (what_ == "copy")
      add_kernel(&memory_copy, kMemoryThreads, 0, most, chunks(a_), chunks(out_), count_);
    else
      add_kernel(&memory_triad, kMemoryThreads, 0, most, reinterpret_cast<Floats4*>(a_.data()),
                 reinterpret_cast<Floats4*>(b_.data()), reinterpret_cast<Floats4*>(out_.data()),
                 kFactor, count_);
  }

  microbench::CheckResult check() override {
    Comparison comparison;
    if (what_ == "read") {
      std::uint32_t all = 0;
      for (const float value : a_.download()) {
        std::uint32_t word;
        std::memcpy(&word, &value, sizeof word);
        all ^= word;
      }
      std::uint32_t got = 0;
      for (const std::uint32_t word : per_block_.download(0, blocks_)) got ^= word;
      comparison.same("words", {static_cast<std::int32_t>(got)}, {static_cast<std::int32_t>(all)});
      return comparison.result();
    }
    std::vector<double> expected(static_cast<std::size_t>(4 * count_), 1.0);
    if (what_ != "write") expected = as_doubles(a_.download());
    if (what_ == "triad") {
      const std::vector<float> b = b_.download();
      for (std::size_t i = 0; i < b.size(); ++i)
        expected[i] += as_double(kFactor) * as_double(b[i]);
    }
    comparison.compare("target", as_doubles(out_.download()), expected, kFp32Tolerance);
    return comparison.result();
  }

 private:
  static constexpr std::uint32_t kOne = 0x3f800000;  // 1.0F
  static constexpr float kFactor = 3.0F;
  static Bytes16* chunks(const Array<float>& array) {
    return reinterpret_cast<Bytes16*>(array.data());
  }
  std::string what_;
  std::int64_t count_ = 0;
  int blocks_ = 0;
  Array<float> a_, b_, out_;
  Array<std::uint32_t> per_block_;
};

}  // namespace sim::device_code
