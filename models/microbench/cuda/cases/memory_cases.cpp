// Compiled twice: as CUDA by memory_cases.cu, and by the host compiler for the tests.
#include "models/microbench/cuda/cases/row_steps.h"
#include "models/microbench/cuda/kernels/memory.h"

namespace sim::device_code {
namespace {

// The exclusive or of all words, against that of what every block kept.
void add_memory_read(PreparedCase& prepared, const Array<float>& source, std::int64_t count,
                     std::int64_t most_blocks) {
  auto& per_block = prepared.output<std::uint32_t>(most_blocks);
  constexpr std::size_t kShared = kMemoryThreads / 32 * sizeof(std::uint32_t);
  const int blocks =
      prepared.add_kernel(&memory_read, kMemoryThreads, kShared, most_blocks,
                          reinterpret_cast<const Bytes16*>(source.data()), count, per_block.data());
  prepared.add_check([&source, &per_block, blocks](Comparison& comparison) {
    std::uint32_t all = 0;
    for (const float value : source.download()) {
      std::uint32_t word;
      std::memcpy(&word, &value, sizeof word);
      all ^= word;
    }
    std::uint32_t got = 0;
    for (const std::uint32_t word : per_block.download(0, blocks)) got ^= word;
    comparison.same("words", {static_cast<std::int32_t>(got)}, {static_cast<std::int32_t>(all)});
  });
}

}  // namespace

// `bytes` counts what is read and what is written.
void add_memory(PreparedCase& prepared, const KernelCase& what) {
  constexpr std::uint32_t kOneBits = 0x3f800000;  // 1.0F
  constexpr float kFactor = 3.0F;
  const std::string kind = what.option("what");
  const std::int64_t arrays = kind == "triad" ? 3 : kind == "copy" ? 2 : 1;
  const std::int64_t count = what.size("bytes") / arrays / 16;
  const std::int64_t most_blocks = 1 + count / (4 * kMemoryThreads);
  const Array<float>* a = kind == "write" ? nullptr : &prepared.random<float>(4 * count, 1);
  const Array<float>* b = kind == "triad" ? &prepared.random<float>(4 * count, 1) : nullptr;
  if (kind == "read") return add_memory_read(prepared, *a, count, most_blocks);
  Array<float>& out = prepared.output<float>(4 * count);
  if (kind == "write")
    prepared.add_kernel(&memory_write, kMemoryThreads, 0, most_blocks,
                        reinterpret_cast<Bytes16*>(out.data()), count, kOneBits);
  else if (kind == "copy")
    prepared.add_kernel(&memory_copy, kMemoryThreads, 0, most_blocks,
                        reinterpret_cast<const Bytes16*>(a->data()),
                        reinterpret_cast<Bytes16*>(out.data()), count);
  else
    prepared.add_kernel(&memory_triad, kMemoryThreads, 0, most_blocks,
                        reinterpret_cast<const Floats4*>(a->data()),
                        reinterpret_cast<const Floats4*>(b->data()),
                        reinterpret_cast<Floats4*>(out.data()), kFactor, count);
  prepared.add_check([a, b, &out](Comparison& comparison) {
    std::vector<double> expected(static_cast<std::size_t>(out.size()), 1.0);
    if (a != nullptr) expected = as_doubles(a->download());
    if (b != nullptr) {
      const std::vector<float> factors = b->download();
      for (std::size_t i = 0; i < factors.size(); ++i)
        expected[i] += as_double(kFactor) * as_double(factors[i]);
    }
    comparison.compare("target", as_doubles(out.download()), expected, kFp32Tolerance);
  });
}

}  // namespace sim::device_code
