// A block of a CUDA kernel on the host: each thread is a fiber, blocks run one after the other, and
// the order of threads is a parameter, so that a missing barrier gives another answer in another
// order. Asynchronous copies are carried out as early or as late as the memory model allows.
// For tests only: about a thousand times slower than a processor would be with plain loops.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace sim::emulation {

constexpr int kWarpSize = 32;

// In which order runnable threads are resumed, and when an asynchronous copy happens: at its issue
// (a reader of the old contents loses) or when it is waited for (a reader without a wait loses).
enum class Order { kAscendingEarlyCopies, kDescendingLateCopies, kShuffledLateCopies };
constexpr Order kEveryOrder[] = {Order::kAscendingEarlyCopies, Order::kDescendingLateCopies,
                                 Order::kShuffledLateCopies};

struct Launch {
  int blocks = 1;
  int threads = kWarpSize;  // a multiple of the warp size
  std::size_t shared_bytes = 0;
  Order order = Order::kAscendingEarlyCopies;
};

// Runs `thread_body` once per thread of every block. Shared memory is poisoned (all bits set)
// before each block. Throws std::logic_error on a deadlock, on lanes of a warp that meet in
// different warp operations, and on a misaligned or outlying access of the copy and matrix
// instructions.
void run(const Launch& launch, const std::function<void()>& thread_body);

// What a running thread may ask; REQUIRES: called from inside run().
int thread_index();
int thread_count();
int block_index();
int block_count();
unsigned char* shared_memory();
void sync_block();

// A warp operation sees the arguments of all 32 lanes at once, when the last lane has arrived.
using WarpOperation = void (*)(void* const (&lanes)[kWarpSize]);
void warp_operation(WarpOperation operation, void* arguments);

// cp.async of 16 bytes (zeros when not `valid`), cp.async.commit_group, cp.async.wait_group.
void copy_async_16(void* shared, const void* global, bool valid);
void commit_copies();
void wait_copies(int groups_left);

// Stops the run with a message unless the 16 bytes at `shared` are aligned shared memory.
void check_shared_16(const void* shared);

}  // namespace sim::emulation
