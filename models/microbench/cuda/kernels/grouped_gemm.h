// Grouped GEMM over a vector of row offsets that lies on the device, forward and backward:
//   forward  out[r, n]    = x[r, k] * w[e][n, k]^T      r: the rows of expert e
//   dgrad    dx[r, k]     = dy[r, n] * w[e][n, k]
//   wgrad    dw[e][n, k]  = dy[r, n]^T * x[r, k]        zeros for an expert without rows
// bf16 in and out, sums in fp32; forward also in fp8 with a scale per 128 values of a row of x and
// per 128 x 128 block of w (the recipe of DeepSeek-V3, arXiv:2412.19437, section 3.3.2).
// A fixed number of blocks walks over the tiles of all experts, so the grid is what limits the SMs.
// n and k are multiples of 16 bytes; with a single expert it is a plain GEMM.
#pragma once

#include "models/microbench/cuda/kernels/tile_product.h"

namespace sim::device_code {

enum class GemmPass { kForward, kDgrad, kWgrad };

template <typename Value>
struct GroupedGemmArguments {
  const Value* a;  // forward: x, dgrad: dy, wgrad: dy
  const Value* b;  // forward: w, dgrad: w, wgrad: x
  Bf16* out;
  const float* a_scales;        // fp8: [rows][ceil(k / 128)]
  const float* b_scales;        // fp8: [experts][ceil(n / 128)][ceil(k / 128)]
  const std::int32_t* offsets;  // experts + 1: where each expert's rows begin
  int experts;
  int n;
  int k;
};

template <GemmPass kThePass, typename Value, int kRows, int kWarpsDown>
struct GroupedGemm {
  static constexpr GemmPass kPass = kThePass;
  using Shape = TileShape<Value, kRows, 128, kWarpsDown,
                          kPass == GemmPass::kWgrad ? Layout::kAcross : Layout::kAlong,
                          kPass == GemmPass::kForward ? Layout::kAlong : Layout::kAcross>;
  using Arguments = GroupedGemmArguments<Value>;
  static constexpr bool kScaled = sizeof(Value) == 1;
  static std::size_t shared_bytes(int experts) {
    return Shape::kSharedBytes + (static_cast<std::size_t>(experts) + 1) * sizeof(std::int32_t);
  }
};
template <int kRows, int kWarpsDown>
using Bf16Forward = GroupedGemm<GemmPass::kForward, Bf16, kRows, kWarpsDown>;
using LargeForward = Bf16Forward<128, 2>;
using SmallForward = Bf16Forward<32, 1>;  // few rows per expert: the weights' bytes count
using Dgrad = GroupedGemm<GemmPass::kDgrad, Bf16, 128, 2>;
using Wgrad = GroupedGemm<GemmPass::kWgrad, Bf16, 128, 2>;
using Fp8Forward = GroupedGemm<GemmPass::kForward, Fp8, 128, 2>;

// first_tile[e]: the number of row tiles of all experts before e; first_tile[experts]: of all.
// One warp scans, 32 experts at a time.
MOE_DEVICE void count_row_tiles(std::int32_t* first_tile, const std::int32_t* offsets, int experts,
                                int tile_rows) {
  if (thread_index() < 32) {
    const int lane = thread_index();
    int before = 0;
    for (int base = 0; base < experts; base += 32) {
      const int expert = base + lane;
      const int tiles = expert < experts
                            ? (offsets[expert + 1] - offsets[expert] + tile_rows - 1) / tile_rows
                            : 0;
      int sum = tiles;
      for (int distance = 1; distance < 32; distance *= 2) {
        const int other = shuffle_from(sum, lane >= distance ? lane - distance : lane);
        if (lane >= distance) sum += other;
      }
      if (expert < experts) first_tile[expert] = before + sum - tiles;
      before += shuffle_from(sum, 31);
    }
    if (lane == 0) first_tile[experts] = before;
  }
  sync_block();
}

// The expert of a row tile: the last one whose first tile is not beyond it and that has tiles.
MOE_DEVICE int expert_of(const std::int32_t* first_tile, int experts, int tile) {
  int low = 0;
  int high = experts;  // first_tile[low] <= tile < first_tile[high]
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (first_tile[middle] <= tile)
      low = middle;
    else
      high = middle;
  }
  return low;
}

template <typename Shape>
MOE_DEVICE void store_tile(const Sums<Shape>& sums, Bf16* out, std::int64_t stride, int rows,
                           int columns) {
  MOE_UNROLL
  for (int down = 0; down < Shape::kFragmentsDown; ++down) MOE_UNROLL
  for (int across = 0; across < Shape::kFragmentsAcross; ++across) MOE_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int row = sum_row<Shape>(down, 2 * half);
    const int column = sum_column<Shape>(across, 0);
    if (row < rows && column < columns)  // columns is even, so the pair is inside
      *reinterpret_cast<std::uint32_t*>(out + row * stride + column) =
          pack_bf16(sums[down][across][2 * half], sums[down][across][2 * half + 1]);
  }
}

// The tile's product with the scales of fp8: each stage holds exactly 128 values of the
// contraction, so a stage's product is scaled once and added.
template <typename Gemm>
MOE_DEVICE void scaled_tile(Sums<typename Gemm::Shape>& sums,
                            const Operand<typename Gemm::Shape::Value>& a,
                            const Operand<typename Gemm::Shape::Value>& b,
                            const typename Gemm::Arguments& arguments, int first_row,
                            const float* b_scales, unsigned char* shared) {
  using Shape = typename Gemm::Shape;
  const int blocks = (arguments.k + 127) / 128;
  Sums<Shape> partial = {};
  multiply_tile<Shape>(partial, a, b, arguments.k, shared, [&](int inner) {
    const float b_scale = b_scales[inner / 128];
    MOE_UNROLL
    for (int down = 0; down < Shape::kFragmentsDown; ++down) MOE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = sum_row<Shape>(down, 2 * half);
      const float scale =
          row < a.lines ? arguments.a_scales[static_cast<std::int64_t>(first_row + row) * blocks +
                                             inner / 128] *
                              b_scale
                        : 0.0F;
      MOE_UNROLL
      for (int across = 0; across < Shape::kFragmentsAcross; ++across) MOE_UNROLL
      for (int r = 2 * half; r < 2 * half + 2; ++r) {
        sums[down][across][r] += scale * partial[down][across][r];
        partial[down][across][r] = 0;
      }
    }
  });
}

// Tile `tile` of forward or dgrad: rows of the expert by columns of its output.
template <typename Gemm>
MOE_DEVICE void ragged_tile(const typename Gemm::Arguments& arguments,
                            const std::int32_t* first_tile, int tile, int column_tiles,
                            unsigned char* shared) {
  using Shape = typename Gemm::Shape;
  using Value = typename Shape::Value;
  constexpr bool kForward = Gemm::kPass == GemmPass::kForward;
  const int inner = kForward ? arguments.k : arguments.n;
  const int columns = kForward ? arguments.n : arguments.k;
  // Tiles of expert e are [first_tile[e], first_tile[e + 1]) * column_tiles.
  const int expert = expert_of(first_tile, arguments.experts, tile / column_tiles);
  const int row_tiles = first_tile[expert + 1] - first_tile[expert];
  const int within = tile - first_tile[expert] * column_tiles;
  const int first_column = (within / row_tiles) * Shape::kColumns;
  const int first_row = arguments.offsets[expert] + (within % row_tiles) * Shape::kRows;
  const int rows = arguments.offsets[expert + 1] - first_row;
  const Operand<Value> a{arguments.a + static_cast<std::int64_t>(first_row) * inner, inner, rows};
  const std::int64_t weights = static_cast<std::int64_t>(expert) * arguments.n * arguments.k;
  const Operand<Value> b{
      arguments.b + weights +
          (kForward ? static_cast<std::int64_t>(first_column) * arguments.k : first_column),
      arguments.k, columns - first_column};
  Sums<Shape> sums = {};
  if constexpr (Gemm::kScaled) {
    const int blocks = (arguments.k + 127) / 128;
    const float* b_scales =
        arguments.b_scales +
        (static_cast<std::int64_t>(expert) * ((arguments.n + 127) / 128) + first_column / 128) *
            blocks;
    scaled_tile<Gemm>(sums, a, b, arguments, first_row, b_scales, shared);
  } else {
    multiply_tile<Shape>(sums, a, b, inner, shared, [](int) {});
  }
  store_tile<Shape>(sums,
                    arguments.out + static_cast<std::int64_t>(first_row) * columns + first_column,
                    columns, rows, columns - first_column);
}

// Tile of wgrad: n by k of one expert, contraction over its rows.
template <typename Gemm>
MOE_DEVICE void weight_tile(const typename Gemm::Arguments& arguments, int tile, int row_tiles,
                            int column_tiles, unsigned char* shared) {
  using Shape = typename Gemm::Shape;
  using Value = typename Shape::Value;
  const int expert = tile / (row_tiles * column_tiles);
  const int within = tile % (row_tiles * column_tiles);
  const int first_n = (within % row_tiles) * Shape::kRows;
  const int first_k = (within / row_tiles) * Shape::kColumns;
  const std::int64_t first_row = arguments.offsets[expert];
  const int rows = arguments.offsets[expert + 1] - arguments.offsets[expert];
  const Operand<Value> a{arguments.a + first_row * arguments.n + first_n, arguments.n,
                         arguments.n - first_n};
  const Operand<Value> b{arguments.b + first_row * arguments.k + first_k, arguments.k,
                         arguments.k - first_k};
  Sums<Shape> sums = {};
  multiply_tile<Shape>(sums, a, b, rows, shared, [](int) {});
  store_tile<Shape>(sums,
                    arguments.out +
                        (static_cast<std::int64_t>(expert) * arguments.n + first_n) * arguments.k +
                        first_k,
                    arguments.k, arguments.n - first_n, arguments.k - first_k);
}

template <typename Gemm>
MOE_KERNEL(kProductThreads)
grouped_gemm(typename Gemm::Arguments arguments) {
  using Shape = typename Gemm::Shape;
  unsigned char* shared = shared_memory();
  if constexpr (Gemm::kPass == GemmPass::kWgrad) {
    const int row_tiles = (arguments.n + Shape::kRows - 1) / Shape::kRows;
    const int column_tiles = (arguments.k + Shape::kColumns - 1) / Shape::kColumns;
    const int tiles = arguments.experts * row_tiles * column_tiles;
    for (int tile = block_index(); tile < tiles; tile += block_count())
      weight_tile<Gemm>(arguments, tile, row_tiles, column_tiles, shared);
  } else {
    auto* first_tile = reinterpret_cast<std::int32_t*>(shared + Shape::kSharedBytes);
    count_row_tiles(first_tile, arguments.offsets, arguments.experts, Shape::kRows);
    const int columns = Gemm::kPass == GemmPass::kForward ? arguments.n : arguments.k;
    const int column_tiles = (columns + Shape::kColumns - 1) / Shape::kColumns;
    const int tiles = first_tile[arguments.experts] * column_tiles;
    for (int tile = block_index(); tile < tiles; tile += block_count())
      ragged_tile<Gemm>(arguments, first_tile, tile, column_tiles, shared);
  }
}

}  // namespace sim::device_code
