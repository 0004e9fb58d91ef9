#include "models/microbench/cuda/emulation/operations.h"

#include <cstring>

#include "models/microbench/cuda/number_formats.cuh"

namespace sim::emulation {
namespace {

struct Match {
  int value;
  std::uint32_t lanes;
};

struct MatrixLoad {
  const void* row;
  std::uint32_t* registers;
};

struct Multiply {
  float* sum;
  const std::uint32_t* a;
  std::uint32_t b[2];
};

std::uint16_t half_word(const void* row, int index) {
  std::uint16_t value;
  std::memcpy(&value, static_cast<const unsigned char*>(row) + 2 * index, sizeof value);
  return value;
}

// Lane l gets, of matrix i, the values (l / 4, 2 * (l % 4)) and the next one of that row; with
// .trans the row and the column change places.
template <bool kTransposed>
void load_all(void* const (&lanes)[kWarpSize]) {
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const auto* mine = static_cast<const MatrixLoad*>(lanes[lane]);
    for (int matrix = 0; matrix < 4; ++matrix) {
      std::uint32_t word = 0;
      for (int half = 0; half < 2; ++half) {
        const int first = lane / 4;
        const int second = 2 * (lane % 4) + half;
        const int row = kTransposed ? second : first;
        const int column = kTransposed ? first : second;
        const auto* owner = static_cast<const MatrixLoad*>(lanes[8 * matrix + row]);
        word |= static_cast<std::uint32_t>(half_word(owner->row, column)) << (16 * half);
      }
      mine->registers[matrix] = word;
    }
  }
}

// One instruction for both formats: a register holds kPer values of one row of A (column of B).
// A is 16 x 8 kPer: register i of lane l holds row l / 4 + 8 (i % 2), values from
// kPer (l % 4) + 4 kPer (i / 2). B: column l / 4, values from kPer (l % 4) + 4 kPer i.
// The sum: register i of lane l is row l / 4 + 8 (i / 2), column 2 (l % 4) + i % 2.
template <int kPer, typename Value>
void multiply_all(void* const (&lanes)[kWarpSize]) {
  constexpr int kInner = 8 * kPer;
  float a[16][kInner];
  float b[8][kInner];
  const auto unpack = [](std::uint32_t word, int index) {
    constexpr int kBits = 32 / kPer;
    using Bits = decltype(Value::bits);
    return device_code::to_float(Value{static_cast<Bits>(word >> (kBits * index))});
  };
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const auto* mine = static_cast<const Multiply*>(lanes[lane]);
    for (int index = 0; index < kPer; ++index) {
      for (int i = 0; i < 4; ++i)
        a[lane / 4 + 8 * (i % 2)][kPer * (lane % 4) + 4 * kPer * (i / 2) + index] =
            unpack(mine->a[i], index);
      for (int i = 0; i < 2; ++i)
        b[lane / 4][kPer * (lane % 4) + 4 * kPer * i + index] = unpack(mine->b[i], index);
    }
  }
  for (int lane = 0; lane < kWarpSize; ++lane) {
    auto* mine = static_cast<Multiply*>(lanes[lane]);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2);
      const int column = 2 * (lane % 4) + i % 2;
      float total = 0;
      for (int k = 0; k < kInner; ++k) total += a[row][k] * b[column][k];
      mine->sum[i] += total;
    }
  }
}

}  // namespace

std::uint32_t lanes_with_same(int value) {
  Match mine{value, 0};
  warp_operation(
      [](void* const(&lanes)[kWarpSize]) {
        for (void* asking : lanes) {
          auto* match = static_cast<Match*>(asking);
          for (int lane = 0; lane < kWarpSize; ++lane)
            if (static_cast<const Match*>(lanes[lane])->value == match->value)
              match->lanes |= std::uint32_t{1} << lane;
        }
      },
      &mine);
  return mine.lanes;
}

void load_matrices(std::uint32_t (&registers)[4], const void* row) {
  check_shared_16(row);
  MatrixLoad mine{row, registers};
  warp_operation(load_all<false>, &mine);
}

void load_matrices_transposed(std::uint32_t (&registers)[4], const void* row) {
  check_shared_16(row);
  MatrixLoad mine{row, registers};
  warp_operation(load_all<true>, &mine);
}

void multiply_bf16(float (&sum)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                   std::uint32_t b1) {
  Multiply mine{sum, a, {b0, b1}};
  warp_operation(multiply_all<2, device_code::Bf16>, &mine);
}

void multiply_fp8(float (&sum)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                  std::uint32_t b1) {
  Multiply mine{sum, a, {b0, b1}};
  warp_operation(multiply_all<4, device_code::Fp8>, &mine);
}

}  // namespace sim::emulation
