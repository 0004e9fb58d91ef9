// What the kernels of this folder use of a GPU, under one set of names: CUDA and PTX under nvcc,
// the fibers of emulation/block.h under a host compiler, so that one source is both what runs on
// the device and what the tests run without one. Blocks and threads are one-dimensional; shared
// memory is dynamic only. Fragment layouts are those of the PTX ISA ("Matrix fragments for
// mma.m16n8k16 with floating point type", "... for mma.m16n8k32", "ldmatrix").
#pragma once

#include <cstdint>
#include <cstring>

#include "models/microbench/cuda/number_formats.cuh"

#ifdef __CUDACC__
#define MOE_DEVICE __device__ __forceinline__
#define MOE_KERNEL(threads) static __global__ void __launch_bounds__(threads)
#define MOE_UNROLL _Pragma("unroll")
#define MOE_UNROLL_TWICE _Pragma("unroll 2")  // where unrolling all would take the registers
#else
#include "models/microbench/cuda/emulation/operations.h"
#define MOE_DEVICE inline
#define MOE_KERNEL(threads) inline void
#define MOE_UNROLL
#define MOE_UNROLL_TWICE
#endif

namespace sim::device_code {

struct alignas(16) Bytes16 {
  std::uint32_t words[4];
};

#ifdef __CUDACC__

MOE_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
MOE_DEVICE int thread_count() { return static_cast<int>(blockDim.x); }
MOE_DEVICE int block_index() { return static_cast<int>(blockIdx.x); }
MOE_DEVICE int block_count() { return static_cast<int>(gridDim.x); }
MOE_DEVICE void sync_block() { __syncthreads(); }
MOE_DEVICE unsigned char* shared_memory() {
  extern __shared__ __align__(128) unsigned char moe_shared_memory[];
  return moe_shared_memory;
}

// All 32 lanes take part in each of these.
MOE_DEVICE void sync_warp() { __syncwarp(); }
template <typename T>
MOE_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffU, value, mask);
}
template <typename T>
MOE_DEVICE T shuffle_from(T value, int lane) {
  return __shfl_sync(0xffffffffU, value, lane);
}
MOE_DEVICE std::uint32_t lanes_with_same(int value) { return __match_any_sync(0xffffffffU, value); }
MOE_DEVICE int count_bits(std::uint32_t bits) { return __popc(bits); }
MOE_DEVICE float exponential_2(float x) { return exp2f(x); }
MOE_DEVICE float logarithm_2(float x) { return log2f(x); }

MOE_DEVICE std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// 16 bytes from global to shared memory in the background; zeros when not `valid`.
MOE_DEVICE void copy_async_16(void* shared, const void* global, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(bytes)
               : "memory");
}
MOE_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kGroupsLeft>
MOE_DEVICE void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroupsLeft) : "memory");
}

// Four 8x8 matrices of 16-bit values; lane l names row l % 8 of matrix l / 8 (16 bytes).
MOE_DEVICE void load_matrices(std::uint32_t (&registers)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(shared_address(row))
               : "memory");
}
MOE_DEVICE void load_matrices_transposed(std::uint32_t (&registers)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(shared_address(row))
               : "memory");
}

// sum += a (16 x 16) * b (16 x 8)
MOE_DEVICE void multiply_bf16(float (&sum)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                              std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// sum += a (16 x 32) * b (32 x 8) of e4m3; before sm_89 the device has no such instruction.
MOE_DEVICE void multiply_fp8(float (&sum)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                             std::uint32_t b1) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 890
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  __trap();  // the backend refuses fp8 on such a device
#endif
}

#else  // the host, under emulation

using emulation::block_count;
using emulation::block_index;
using emulation::commit_copies;
using emulation::copy_async_16;
using emulation::count_bits;
using emulation::exponential_2;
using emulation::lanes_with_same;
using emulation::load_matrices;
using emulation::load_matrices_transposed;
using emulation::logarithm_2;
using emulation::multiply_bf16;
using emulation::multiply_fp8;
using emulation::shared_memory;
using emulation::shuffle_from;
using emulation::shuffle_xor;
using emulation::sync_block;
using emulation::sync_warp;
using emulation::thread_count;
using emulation::thread_index;
template <int kGroupsLeft>
void wait_copies() {
  emulation::wait_copies(kGroupsLeft);
}

#endif

// Sums and maxima over the lanes of a warp; every lane gets the result.
MOE_DEVICE float warp_sum(float value) {
  for (int mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}
MOE_DEVICE float warp_max(float value) {
  for (int mask = 16; mask > 0; mask /= 2) {
    const float other = shuffle_xor(value, mask);
    value = other > value ? other : value;
  }
  return value;
}

// The sum over a block of at most 32 warps; every thread gets it. `scratch`: 32 floats of shared
// memory that no thread uses now.
MOE_DEVICE float block_sum(float value, float* scratch) {
  value = warp_sum(value);
  sync_block();  // the last use of scratch is over
  if (thread_index() % 32 == 0) scratch[thread_index() / 32] = value;
  sync_block();
  const int lane = thread_index() % 32;
  return warp_sum(lane < thread_count() / 32 ? scratch[lane] : 0.0F);
}

// Two bf16 in one 32-bit register, the first in the low half.
MOE_DEVICE std::uint32_t pack_bf16(float low, float high) {
  return static_cast<std::uint32_t>(to_bf16(low).bits) |
         (static_cast<std::uint32_t>(to_bf16(high).bits) << 16U);
}

// Eight bf16 at a 16-byte boundary.
MOE_DEVICE void load_8(const Bf16* source, float (&values)[8]) {
  const Bytes16 bytes = *reinterpret_cast<const Bytes16*>(source);
  MOE_UNROLL
  for (int i = 0; i < 4; ++i) {
    values[2 * i] = to_float(Bf16{static_cast<std::uint16_t>(bytes.words[i] & 0xffffU)});
    values[2 * i + 1] = to_float(Bf16{static_cast<std::uint16_t>(bytes.words[i] >> 16U)});
  }
}
MOE_DEVICE void store_8(Bf16* target, const float (&values)[8]) {
  Bytes16 bytes;
  MOE_UNROLL
  for (int i = 0; i < 4; ++i) bytes.words[i] = pack_bf16(values[2 * i], values[2 * i + 1]);
  *reinterpret_cast<Bytes16*>(target) = bytes;
}

}  // namespace sim::device_code
