#include "models/microbench/cuda/emulation/block.h"

#include <ucontext.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace sim::emulation {
namespace {

constexpr std::size_t kStackBytes = 256 * 1024;
constexpr std::align_val_t kSharedAlignment{128};

struct AlignedDelete {
  void operator()(unsigned char* bytes) const { ::operator delete(bytes, kSharedAlignment); }
};

enum class State { kRunnable, kAtBarrier, kInWarpOperation, kDone };

struct Copy {
  void* shared;
  const void* global;
  bool valid;
};

struct Fiber {
  ucontext_t context{};
  std::unique_ptr<char[]> stack;
  State state = State::kRunnable;
  WarpOperation operation = nullptr;
  void* arguments = nullptr;
  std::vector<Copy> uncommitted;
  std::deque<std::vector<Copy>> groups;
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
#endif
};

struct Machine {
  Launch launch;
  const std::function<void()>* body = nullptr;
  std::vector<Fiber> fibers;
  std::unique_ptr<unsigned char, AlignedDelete> shared_storage;
  unsigned char* shared = nullptr;
  ucontext_t scheduler{};
  int block = 0;
  int thread = 0;
  std::string failure;
#if defined(__SANITIZE_ADDRESS__)
  const void* scheduler_stack = nullptr;
  std::size_t scheduler_stack_bytes = 0;
  void* scheduler_fake_stack = nullptr;
#endif
};

Machine* machine = nullptr;  // of the run() in progress: kernels are plain functions

Fiber& current() { return machine->fibers[static_cast<std::size_t>(machine->thread)]; }

void carry_out(const Copy& copy) {
  if (copy.valid)
    std::memcpy(copy.shared, copy.global, 16);
  else
    std::memset(copy.shared, 0, 16);
}

// Back to the scheduler; returns when the scheduler resumes this thread.
void yield_as(State state) {
  Fiber& fiber = current();
  fiber.state = state;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(state == State::kDone ? nullptr : &fiber.fake_stack,
                                 machine->scheduler_stack, machine->scheduler_stack_bytes);
#endif
  swapcontext(&fiber.context, &machine->scheduler);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fiber.fake_stack, nullptr, nullptr);
#endif
}

// An error cannot be thrown through a fiber: it is noted, and the thread never resumes (so nothing
// that owns memory may live here).
[[noreturn]] void fail(const char* message) {
  if (machine->failure.empty())
    machine->failure = std::string(message) + " (block " + std::to_string(machine->block) +
                       ", thread " + std::to_string(machine->thread) + ")";
  for (;;) yield_as(State::kDone);
}

void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &machine->scheduler_stack,
                                  &machine->scheduler_stack_bytes);
#endif
  (*machine->body)();
  wait_copies(0);
  for (;;) yield_as(State::kDone);
}

void resume(int thread) {
  machine->thread = thread;
  Fiber& fiber = current();
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&machine->scheduler_fake_stack, fiber.stack.get(), kStackBytes);
#endif
  swapcontext(&machine->scheduler, &fiber.context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(machine->scheduler_fake_stack, nullptr, nullptr);
#endif
}

std::vector<int> order_of(int count, Order order, std::mt19937& random) {
  std::vector<int> ids(static_cast<std::size_t>(count));
  std::iota(ids.begin(), ids.end(), 0);
  if (order == Order::kDescendingLateCopies) std::reverse(ids.begin(), ids.end());
  if (order == Order::kShuffledLateCopies)
    for (std::size_t i = ids.size(); i > 1; --i) std::swap(ids[i - 1], ids[random() % i]);
  return ids;
}

// Carries out the operation in which all 32 lanes wait; false while a lane is still missing.
bool finish_warp_operation(int warp) {
  void* arguments[kWarpSize];
  Fiber* lanes = &machine->fibers[static_cast<std::size_t>(warp * kWarpSize)];
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if (lanes[lane].state != State::kInWarpOperation) return false;
    if (lanes[lane].operation != lanes[0].operation)
      throw std::logic_error("lanes of warp " + std::to_string(warp) + " of block " +
                             std::to_string(machine->block) + " meet in different warp operations");
    arguments[lane] = lanes[lane].arguments;
  }
  lanes[0].operation(arguments);
  for (int lane = 0; lane < kWarpSize; ++lane) lanes[lane].state = State::kRunnable;
  return true;
}

// Runs a warp until each of its threads is at the barrier or done; false if nothing moved.
bool advance_warp(int warp, std::mt19937& random) {
  bool moved = false;
  for (;;) {
    bool progress = false;
    for (int lane : order_of(kWarpSize, machine->launch.order, random)) {
      const int thread = warp * kWarpSize + lane;
      if (machine->fibers[static_cast<std::size_t>(thread)].state != State::kRunnable) continue;
      resume(thread);
      if (!machine->failure.empty()) throw std::logic_error(machine->failure);
      progress = true;
    }
    if (finish_warp_operation(warp)) progress = true;
    if (!progress) return moved;
    moved = true;
  }
}

void run_block(std::mt19937& random) {
  const int warps = machine->launch.threads / kWarpSize;
  std::memset(machine->shared, 0xff, machine->launch.shared_bytes);
  for (Fiber& fiber : machine->fibers) {
    fiber.state = State::kRunnable;
    fiber.uncommitted.clear();
    fiber.groups.clear();
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, fiber_main, 0);
  }
  for (;;) {
    bool progress = false;
    for (int warp : order_of(warps, machine->launch.order, random))
      progress = advance_warp(warp, random) || progress;
    std::size_t done = 0;
    std::size_t waiting = 0;
    for (const Fiber& fiber : machine->fibers) {
      done += fiber.state == State::kDone ? 1 : 0;
      waiting += fiber.state == State::kAtBarrier ? 1 : 0;
    }
    if (done == machine->fibers.size()) return;
    if (done + waiting == machine->fibers.size()) {
      for (Fiber& fiber : machine->fibers)
        if (fiber.state == State::kAtBarrier) fiber.state = State::kRunnable;
    } else if (!progress) {
      throw std::logic_error("deadlock in block " + std::to_string(machine->block) + ": " +
                             std::to_string(waiting) + " threads wait at the barrier, " +
                             std::to_string(done) + " are done, the others in a warp operation");
    }
  }
}

}  // namespace

void run(const Launch& launch, const std::function<void()>& thread_body) {
  if (launch.threads <= 0 || launch.threads % kWarpSize != 0 || launch.threads > 1024)
    throw std::logic_error("a block has 32 to 1024 threads, whole warps");
  Machine here;
  here.launch = launch;
  here.body = &thread_body;
  here.fibers.resize(static_cast<std::size_t>(launch.threads));
  // No value-initialisation: only touched pages of the stacks count.
  for (Fiber& fiber : here.fibers) fiber.stack.reset(new char[kStackBytes]);
  // Exactly this many bytes, so that the address sanitizer sees an access beyond them.
  here.shared_storage.reset(static_cast<unsigned char*>(
      ::operator new(std::max<std::size_t>(launch.shared_bytes, 1), kSharedAlignment)));
  here.shared = here.shared_storage.get();
  if (machine != nullptr) throw std::logic_error("a kernel cannot start a kernel");
  machine = &here;
  struct Reset {
    ~Reset() { machine = nullptr; }
  } reset;
  std::mt19937 random(20260101);
  for (int block : order_of(launch.blocks, launch.order, random)) {
    here.block = block;
    run_block(random);
  }
}

int thread_index() { return machine->thread; }
int thread_count() { return machine->launch.threads; }
int block_index() { return machine->block; }
int block_count() { return machine->launch.blocks; }
unsigned char* shared_memory() { return machine->shared; }
void sync_block() { yield_as(State::kAtBarrier); }

void warp_operation(WarpOperation operation, void* arguments) {
  current().operation = operation;
  current().arguments = arguments;
  yield_as(State::kInWarpOperation);
}

void copy_async_16(void* shared, const void* global, bool valid) {
  check_shared_16(shared);
  if (valid && reinterpret_cast<std::uintptr_t>(global) % 16 != 0)
    fail("asynchronous copy from a global address that is no multiple of 16");
  const Copy copy{shared, global, valid};
  if (machine->launch.order == Order::kAscendingEarlyCopies)
    carry_out(copy);
  else
    current().uncommitted.push_back(copy);
}

void commit_copies() {
  current().groups.push_back(std::move(current().uncommitted));
  current().uncommitted.clear();
}

void wait_copies(int groups_left) {
  Fiber& fiber = current();
  while (fiber.groups.size() > static_cast<std::size_t>(groups_left)) {
    for (const Copy& copy : fiber.groups.front()) carry_out(copy);
    fiber.groups.pop_front();
  }
}

void check_shared_16(const void* shared) {
  const auto* address = static_cast<const unsigned char*>(shared);
  const bool inside =
      address >= machine->shared && address + 16 <= machine->shared + machine->launch.shared_bytes;
  if (!inside) fail("access of 16 bytes outside of shared memory");
  if ((address - machine->shared) % 16 != 0)
    fail("access of 16 bytes of shared memory at an address that is no multiple of 16");
}

}  // namespace sim::emulation
