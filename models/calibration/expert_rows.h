// Measured expert layers of one kernel on one device, with their rows counted for every tile that a
// kernel may pick: what a fit tries thousands of values on.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/calibration/measured_kernel.h"
#include "models/costs/grouped_gemm.h"

namespace sim {

// Tiles of 8 to 256 rows.
constexpr int kLeastTile = 3;
constexpr int kMostTile = 8;

struct CountedDraw {
  std::int64_t tokens = 0;  // that the kernel is handed
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  double active = 0;
  double rows = 0;
  std::int64_t most = 0;   // rows of the fullest expert
  std::int64_t local = 0;  // experts of the rank
  double tiles[kMostTile - kLeastTile + 1] = {};
};

struct CountedKernel {
  const MeasuredKernel* row = nullptr;
  std::vector<CountedDraw> draws;
};

// Which rows are about one kernel: of these tables, by source and format.
struct ExpertGroup {
  std::string source;
  KernelFormat format;
  std::vector<CountedKernel> rows;
};

// REQUIRES: the row is of experts. Draws what the row's routing stands for; the row keeps no draws.
CountedKernel count_kernel(const MeasuredKernel& row);

// Every n-th row of its table, n the least prime that leaves about `most` rows; all of them when
// they are few.
struct Thinned {
  std::vector<const MeasuredKernel*> rows;
  std::int64_t step = 1;
};
Thinned thinned(const std::vector<const MeasuredKernel*>& rows, std::size_t most);
// A number in [0, 1) that an id always has: what splits draw lots by.
double lot_of(std::string_view id, std::string_view purpose);

// The same shape of model on however many ranks: hidden size, choices, experts.
std::string model_shape(const MeasuredKernel& row);
// One kernel launch but for its tokens and their distribution.
std::string launch_shape(const MeasuredKernel& row);

// One prediction: the mean over draws. Draws that pick the same tile are counted together before
// the form, when `together`: a hundredth of a per cent off, and ten times as fast.
struct TiledDraw {
  double weight = 0;
  std::int64_t tokens = 0;
  std::int64_t top_k = 0;
  GroupedRows rows;
};
std::vector<TiledDraw> tiled(const CountedKernel& kernel, const TileRule& rule, bool together);
double seconds_of(const MeasuredKernel& row, std::span<const TiledDraw> draws,
                  const DeviceRates& rates, std::span<const double> values);

}  // namespace sim
