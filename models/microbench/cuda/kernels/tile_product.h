// The inner part of every matrix kernel here: a tile of C += A * B on the tensor cores, operands
// brought to shared memory by asynchronous copies in kStages stages. One stage holds 128 bytes of
// the contraction per row of the tile. The 16-byte chunks of a row lie permuted (chunk xor row %
// 8), so that neither the copies nor ldmatrix meet in a bank of shared memory.
//
// An operand lies in memory either "along" the contraction (its values are contiguous; what mma
// wants) or "across" it (contiguous along the rows or columns of C; read with ldmatrix.trans, for
// 16-bit values only).
#pragma once

#include "models/microbench/cuda/device_code.h"

namespace sim::device_code {

constexpr int kProductThreads = 256;
constexpr int kStages = 3;

enum class Layout { kAlong, kAcross };

template <typename V, int kTheRows, int kTheColumns, int kTheWarpsDown, Layout kTheA, Layout kTheB>
struct TileShape {
  using Value = V;
  static constexpr int kRows = kTheRows;
  static constexpr int kColumns = kTheColumns;
  static constexpr int kWarpsDown = kTheWarpsDown;
  static constexpr int kWarpsAcross = kProductThreads / 32 / kWarpsDown;
  static constexpr Layout kA = kTheA;
  static constexpr Layout kB = kTheB;
  static constexpr int kPer16Bytes = 16 / static_cast<int>(sizeof(Value));
  static constexpr int kInner = 8 * kPer16Bytes;                  // of a stage, in values
  static constexpr int kFragmentsDown = kRows / kWarpsDown / 16;  // of a warp, 16 rows each
  static constexpr int kFragmentsAcross = kColumns / kWarpsAcross / 8;
  static constexpr int kStageBytesA = kRows * 128;
  static constexpr int kStageBytesB = kColumns * 128;
  static constexpr int kSharedBytes = kStages * (kStageBytesA + kStageBytesB);
  static_assert(kFragmentsDown >= 1 && kFragmentsAcross >= 2 && kFragmentsAcross % 2 == 0);
  static_assert(sizeof(Value) == 2 || (kA == Layout::kAlong && kB == Layout::kAlong));
};

// Where the tile lies: `values` is row 0 of the operand's tile at contraction 0 (kAlong), or row 0
// of the contraction at column 0 of the tile (kAcross); `lines` rows (columns) of the tile are
// real, the others read as zeros.
template <typename Value>
struct Operand {
  const Value* values;
  std::int64_t stride;  // values between two lines of memory, a multiple of 16 bytes
  int lines;
};

template <Layout kLayout, int kLines, typename Value>
MOE_DEVICE void copy_stage(unsigned char* stage, const Operand<Value>& operand, int inner_begin,
                           int inner_end) {
  constexpr int kPer = 16 / static_cast<int>(sizeof(Value));
  constexpr int kMemoryLines = kLayout == Layout::kAlong ? kLines : 8 * kPer;
  constexpr int kChunks = kLayout == Layout::kAlong ? 8 : kLines / kPer;
  for (int i = thread_index(); i < kMemoryLines * kChunks; i += kProductThreads) {
    const int line = i / kChunks;
    const int chunk = i % kChunks;
    int inner;
    bool valid;
    std::int64_t from;
    if constexpr (kLayout == Layout::kAlong) {
      inner = inner_begin + chunk * kPer;
      valid = line < operand.lines && inner < inner_end;
      from = line * operand.stride + inner;
    } else {
      inner = inner_begin + line;
      valid = chunk * kPer < operand.lines && inner < inner_end;
      from = inner * operand.stride + chunk * kPer;
    }
    unsigned char* to = stage + line * (kChunks * 16) + ((chunk ^ (line & 7)) * 16);
    copy_async_16(to, operand.values + (valid ? from : 0), valid);
  }
}

// Fragments of one step of the contraction (32 bytes): for 16 rows of A, or 16 columns of B (two
// pairs of registers). `first`: the row or column of the tile, `step`: 0..3 within the stage.
// The four 8x8 matrices come in the order in which mma names A's registers; B's order has the two
// middle ones exchanged.
template <Layout kLayout, int kLines, bool kIsB>
MOE_DEVICE void load_fragment(std::uint32_t (&registers)[4], const unsigned char* stage, int first,
                              int step) {
  const int lane = thread_index() % 32;
  const int low = (lane >> 3) & 1;
  const int high = lane >> 4;
  const int outer = (kIsB ? high : low) * 8;  // which half of the 16 rows or columns
  const int inner = kIsB ? low : high;        // which half of the step's contraction
  if constexpr (kLayout == Layout::kAlong) {
    const int line = first + outer + (lane & 7);
    const int chunk = step * 2 + inner;
    load_matrices(registers, stage + line * 128 + ((chunk ^ (line & 7)) * 16));
  } else {
    const int line = step * 16 + inner * 8 + (lane & 7);
    const int chunk = (first + outer) / 8;
    load_matrices_transposed(registers, stage + line * (kLines * 2) + ((chunk ^ (line & 7)) * 16));
  }
}

template <typename Value>
MOE_DEVICE void multiply(float (&sum)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                         std::uint32_t b1) {
  if constexpr (sizeof(Value) == 2)
    multiply_bf16(sum, a, b0, b1);
  else
    multiply_fp8(sum, a, b0, b1);
}

template <typename Shape>
using Sums = float[Shape::kFragmentsDown][Shape::kFragmentsAcross][4];

// The row and column, within the tile, of register r (0..3) of fragment (down, across).
template <typename Shape>
MOE_DEVICE int sum_row(int down, int r) {
  const int warp = thread_index() / 32;
  return (warp / Shape::kWarpsAcross) * (Shape::kFragmentsDown * 16) + down * 16 + (r / 2) * 8 +
         (thread_index() % 32) / 4;
}
template <typename Shape>
MOE_DEVICE int sum_column(int across, int r) {
  const int warp = thread_index() / 32;
  return (warp % Shape::kWarpsAcross) * (Shape::kFragmentsAcross * 8) + across * 8 +
         2 * (thread_index() % 4) + r % 2;
}

// sums += the product over one stage.
template <typename Shape>
MOE_DEVICE void multiply_stage(Sums<Shape>& sums, const unsigned char* a, const unsigned char* b) {
  const int row = sum_row<Shape>(0, 0) - (thread_index() % 32) / 4;
  const int column = sum_column<Shape>(0, 0) - 2 * (thread_index() % 4);
  MOE_UNROLL
  for (int step = 0; step < 4; ++step) {
    std::uint32_t a_registers[Shape::kFragmentsDown][4];
    MOE_UNROLL
    for (int down = 0; down < Shape::kFragmentsDown; ++down)
      load_fragment<Shape::kA, Shape::kRows, false>(a_registers[down], a, row + down * 16, step);
    MOE_UNROLL
    for (int pair = 0; pair < Shape::kFragmentsAcross / 2; ++pair) {
      std::uint32_t b_registers[4];
      load_fragment<Shape::kB, Shape::kColumns, true>(b_registers, b, column + pair * 16, step);
      MOE_UNROLL
      for (int down = 0; down < Shape::kFragmentsDown; ++down) {
        multiply<typename Shape::Value>(sums[down][2 * pair], a_registers[down], b_registers[0],
                                        b_registers[1]);
        multiply<typename Shape::Value>(sums[down][2 * pair + 1], a_registers[down], b_registers[2],
                                        b_registers[3]);
      }
    }
  }
}

// Walks the contraction in stages and calls after_stage(first value of the stage) when a stage's
// product has been added to `sums`. Every thread of the block takes part; shared memory is free for
// others again when it returns.
template <typename Shape, typename AfterStage>
MOE_DEVICE void multiply_tile(Sums<Shape>& sums, const Operand<typename Shape::Value>& a,
                              const Operand<typename Shape::Value>& b, int inner,
                              unsigned char* shared, AfterStage after_stage) {
  unsigned char* shared_b = shared + kStages * Shape::kStageBytesA;
  const int count = (inner + Shape::kInner - 1) / Shape::kInner;
  const auto fetch = [&](int index) {
    if (index < count) {
      const int slot = index % kStages;
      copy_stage<Shape::kA, Shape::kRows>(shared + slot * Shape::kStageBytesA, a,
                                          index * Shape::kInner, inner);
      copy_stage<Shape::kB, Shape::kColumns>(shared_b + slot * Shape::kStageBytesB, b,
                                             index * Shape::kInner, inner);
    }
    commit_copies();  // an empty group too, so that the count of groups stays the count of stages
  };
  for (int index = 0; index < kStages - 1; ++index) fetch(index);
  for (int index = 0; index < count; ++index) {
    wait_copies<kStages - 2>();
    sync_block();  // everyone's copies have landed, and everyone has left the slot to be refilled
    fetch(index + kStages - 1);
    const int slot = index % kStages;
    multiply_stage<Shape>(sums, shared + slot * Shape::kStageBytesA,
                          shared_b + slot * Shape::kStageBytesB);
    after_stage(index * Shape::kInner);
  }
  wait_copies<0>();
  sync_block();
}

}  // namespace sim::device_code
