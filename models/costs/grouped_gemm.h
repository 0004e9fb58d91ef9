// What the grouped GEMM form needs of the rows per expert: three numbers and a tile.
#pragma once

#include <cstdint>
#include <span>

#include "models/costs/cost_form.h"

namespace sim {

// How a kernel picks the rows of its tiles from the batch; not from each expert's own rows.
struct TileRule {
  enum Kind {
    kMeanRows = 0,   // 2^(round(log2(tokens top_k / experts)) + shift), between least and most
    kTwoSizes = 1,   // least where tokens <= experts, else most (Triton without a tuned file)
    kSixteenth = 2,  // 2^round(log2(tokens / 16)), between least and most
  };
  Kind kind = kMeanRows;
  int shift = 0;
  int log2_least = 4;
  int log2_most = 6;
};
int log2_tile(const TileRule& rule, const ExpertFfn& ffn);

// Means over draws may be fractions.
struct GroupedRows {
  double active = 0;  // experts with a row
  double tiles = 0;   // sum over experts of ceil(rows / tile)
  double rows = 0;
  double tile = 0;  // rows of one
};
GroupedRows count_rows(std::span<const std::int64_t> rows, int log2_tile);

// The form with the rows counted already: a fit tries many values on one count. `values` as in
// grouped_gemm_form.cpp.
KernelParts grouped_gemm_time(const ExpertFfn& ffn, const GroupedRows& rows,
                              const DeviceRates& rates, std::span<const double> values);
TileRule tile_rule_of(std::span<const double> values);
void set_tile_rule(const TileRule& rule, std::span<double> values);

}  // namespace sim
