// The emulator must see what it is there to see, and the number formats must be the real ones.
#include "models/microbench/cuda/emulation/block.h"

#include <gmock/gmock.h>

#include <stdexcept>

#include "models/microbench/cuda/device_code.h"
#include "tests/microbench/emulated.h"

namespace sim {
namespace {

using device_code::to_bf16;
using device_code::to_float;
using device_code::to_fp8;
using emulation::Order;

// Each thread passes its number to its neighbour through shared memory.
std::vector<float> neighbours(Order order, bool with_barrier) {
  std::vector<float> output = poisoned<float>(64);
  emulation::run({1, 64, 64 * sizeof(float), order}, [&] {
    auto* shared = reinterpret_cast<float*>(device_code::shared_memory());
    const int me = device_code::thread_index();
    shared[me] = static_cast<float>(me);
    if (with_barrier) device_code::sync_block();
    output[static_cast<std::size_t>(me)] = shared[(me + 1) % 64];
  });
  return output;
}

TEST(Emulation, AMissingBarrierGivesAnotherAnswer) {
  for (const Order order : emulation::kEveryOrder) {
    const std::vector<float> right = neighbours(order, true);
    for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(right[i], static_cast<float>((i + 1) % 64));
    EXPECT_TRUE(std::isnan(neighbours(Order::kAscendingEarlyCopies, false)[5]));
  }
}

TEST(Emulation, ACopyThatNobodyWaitsForHasNotHappened) {
  alignas(16) const float source[4] = {1, 2, 3, 4};
  for (const bool waits : {true, false}) {
    float seen = 0;
    emulation::run({1, 32, 16, Order::kDescendingLateCopies}, [&] {
      auto* shared = reinterpret_cast<float*>(device_code::shared_memory());
      if (device_code::thread_index() == 0) {
        device_code::copy_async_16(shared, source, true);
        device_code::commit_copies();
        if (waits) device_code::wait_copies<0>();
        seen = shared[3];
      }
    });
    EXPECT_EQ(std::isnan(seen), !waits);
  }
}

template <typename Body>
std::string error_of(Body body) {
  try {
    emulation::run({1, 64, 64, Order::kAscendingEarlyCopies}, body);
  } catch (const std::logic_error& error) {
    return error.what();
  }
  return "";
}

TEST(Emulation, StopsAtADeadlockAndAtMisuse) {
  EXPECT_EQ(error_of([] {
              if (device_code::thread_index() == 3) return;  // its warp waits for it
              device_code::sync_warp();
            }),
            "deadlock in block 0: 0 threads wait at the barrier, 33 are done, the others in a warp "
            "operation");
  EXPECT_EQ(error_of([] {
              if (device_code::thread_index() % 2 == 0)
                device_code::sync_warp();
              else
                device_code::warp_sum(1.0F);
            }),
            "lanes of warp 0 of block 0 meet in different warp operations");
  EXPECT_EQ(error_of([] {
              std::uint32_t registers[4];
              device_code::load_matrices(registers, device_code::shared_memory() + 56);
            }),
            "access of 16 bytes outside of shared memory (block 0, thread 0)");
}

TEST(NumberFormats, EveryFp8ValueComesBackAndTheOthersGoToTheNearest) {
  EXPECT_EQ(to_float(Fp8{0x7e}), 448.0F);
  EXPECT_EQ(to_float(Fp8{0x01}), 0.001953125F);  // 2^-9
  EXPECT_EQ(to_float(Fp8{0x38}), 1.0F);
  EXPECT_TRUE(std::isnan(to_float(Fp8{0x7f})));
  for (int bits = 0; bits < 256; ++bits) {
    if ((bits & 0x7f) == 0x7f) continue;
    EXPECT_EQ(to_fp8(to_float(Fp8{static_cast<std::uint8_t>(bits)})).bits, bits);
  }
  // Between two neighbours the middle goes to the even one, and the rest to the nearer one.
  for (int bits = 0; bits < 0x7e; ++bits) {
    const float low = to_float(Fp8{static_cast<std::uint8_t>(bits)});
    const float high = to_float(Fp8{static_cast<std::uint8_t>(bits + 1)});
    const float middle = (low + high) / 2;
    EXPECT_EQ(to_fp8(middle).bits, bits % 2 == 0 ? bits : bits + 1);
    EXPECT_EQ(to_fp8(std::nextafter(middle, low)).bits, bits);
    EXPECT_EQ(to_fp8(std::nextafter(middle, high)).bits, bits + 1);
  }
  EXPECT_EQ(to_fp8(1000.0F).bits, 0x7e);
  EXPECT_EQ(to_fp8(-1000.0F).bits, 0xfe);
}

TEST(NumberFormats, Bf16RoundsToNearestEven) {
  EXPECT_EQ(to_bf16(1.0F).bits, 0x3f80);
  EXPECT_EQ(to_bf16(1.00390625F).bits, 0x3f80);  // 1 + 2^-8, the middle, to even
  EXPECT_EQ(to_bf16(1.01171875F).bits, 0x3f82);  // 1 + 3 * 2^-8, the middle, to even
  EXPECT_EQ(to_bf16(std::nextafter(1.00390625F, 2.0F)).bits, 0x3f81);
  EXPECT_TRUE(std::isnan(to_float(to_bf16(NAN))));
}

}  // namespace
}  // namespace sim
