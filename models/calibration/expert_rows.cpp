#include "models/calibration/expert_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/core/random.h"

namespace sim {

CountedKernel count_kernel(const MeasuredKernel& row) {
  CountedKernel counted;
  counted.row = &row;
  std::vector<std::vector<std::int64_t>> drawn;
  if (row.draws.empty() && row.routing.tokens > 0) drawn = draw_rows(row.routing);
  for (const std::vector<std::int64_t>& draw : row.draws.empty() ? drawn : row.draws) {
    const ExpertFfn call = call_of(row, draw);
    CountedDraw& out = counted.draws.emplace_back();
    out.tokens = call.tokens;
    out.experts = call.experts;
    out.top_k = call.top_k;
    out.local = static_cast<std::int64_t>(draw.size());
    out.most = *std::max_element(draw.begin(), draw.end());
    for (int tile = kLeastTile; tile <= kMostTile; ++tile) {
      const GroupedRows rows = count_rows(draw, tile);
      out.active = rows.active;
      out.rows = rows.rows;
      out.tiles[tile - kLeastTile] = rows.tiles;
    }
  }
  return counted;
}

double lot_of(std::string_view id, std::string_view purpose) {
  return RandomStream(7, std::string(purpose) + " " + std::string(id)).uniform();
}

Thinned thinned(const std::vector<const MeasuredKernel*>& rows, std::size_t most) {
  if (rows.size() <= most) return {rows, 1};
  // A prime step: tables go around in 27 token counts, 3 distributions and 9 widths.
  const auto least = static_cast<std::int64_t>((rows.size() + most - 1) / most);
  Thinned result;
  for (const std::int64_t prime : {5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61}) {
    result.step = prime;
    if (prime >= least) break;
  }
  for (const MeasuredKernel* row : rows) {
    if (row->number % result.step == 0) result.rows.push_back(row);
  }
  return result;
}

std::string model_shape(const MeasuredKernel& row) {
  return fmt::format("{} {} {}", row.experts.hidden, row.routing.top_k, row.routing.experts);
}

std::string launch_shape(const MeasuredKernel& row) {
  return fmt::format("{} {} {} {} {} {}", row.experts.hidden, row.experts.inter, row.routing.top_k,
                     row.routing.experts, row.routing.ranks, row.framework);
}

std::vector<TiledDraw> tiled(const CountedKernel& kernel, const TileRule& rule, bool together) {
  std::vector<TiledDraw> result;
  const double weight = 1.0 / static_cast<double>(kernel.draws.size());
  for (const CountedDraw& draw : kernel.draws) {
    ExpertFfn call;
    call.tokens = draw.tokens;
    call.top_k = draw.top_k;
    call.experts = draw.experts;
    const int tile = std::clamp(log2_tile(rule, call), kLeastTile, kMostTile);
    const double size = static_cast<double>(std::int64_t{1} << tile);
    const GroupedRows rows{draw.active, draw.tiles[tile - kLeastTile], draw.rows, size};
    TiledDraw* same = nullptr;
    for (TiledDraw& each : result) {
      if (together && each.rows.tile == size) same = &each;
    }
    if (same == nullptr) {
      result.push_back({weight, draw.tokens, draw.top_k, rows});
      continue;
    }
    const double share = weight / (same->weight + weight);
    same->rows.active += share * (rows.active - same->rows.active);
    same->rows.tiles += share * (rows.tiles - same->rows.tiles);
    same->rows.rows += share * (rows.rows - same->rows.rows);
    same->tokens +=
        static_cast<std::int64_t>(share * static_cast<double>(draw.tokens - same->tokens));
    same->weight += weight;
  }
  return result;
}

double seconds_of(const MeasuredKernel& row, std::span<const TiledDraw> draws,
                  const DeviceRates& rates, std::span<const double> values) {
  ExpertFfn call = row.experts;
  double seconds = 0;
  for (const TiledDraw& draw : draws) {
    call.tokens = draw.tokens;
    call.top_k = draw.top_k;
    seconds += draw.weight * grouped_gemm_time(call, draw.rows, rates, values).time;
  }
  return seconds;
}

}  // namespace sim
