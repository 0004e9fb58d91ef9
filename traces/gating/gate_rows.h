// What several routing functions share: best scores of a row, weights of the chosen, groups of
// tokens, reading the common keys.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string_view>
#include <vector>

#include "sim/core/random.h"
#include "traces/gating/gating.h"

namespace sim {

// Columns of one score matrix are counted in an int and held for every token.
inline constexpr int kMostColumns = 1 << 24;

// The `k` greatest of a row, greatest first; ties to the lower index. Reuses its memory.
class BestOf {
 public:
  std::span<const std::uint32_t> of(std::span<const double> row, int k);

 private:
  std::vector<std::uint32_t> order_;
};

double sigmoid(double x);
// Softmax over the given entries of a row, in their order.
void softmax_of(std::span<const double> row, std::span<const std::uint32_t> entries,
                std::vector<double>& out);
std::vector<double> softmax_of(std::span<const double> row);

std::span<const double> score_row(const GateInput& input, std::size_t matrix, std::int64_t token,
                                  int width);

// The stream of a gate's noise: depends on seed, step and layer.
RandomStream gate_stream(const GateInput& input, std::string_view gate);
double gumbel(RandomStream& random);  // standard: -ln(-ln(u))

// Key `k`, 1..experts, default shape.top_k lowered to the experts.
int read_k(YamlMap& keys, const GateShape& shape);
// A gate with `k` choices per row out of one matrix of scores.
Gate plain_gate(const GateShape& shape, int k);
// Key `per`: together (default) | source-rank. True: each source rank on its own.
bool read_per_source_rank(YamlMap& keys);

// Tokens [first, last) that are balanced together.
struct TokenRange {
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::int32_t rank = 0;  // 0 when all are together
  std::int64_t size() const { return last - first; }
};
std::vector<TokenRange> token_ranges(const GateInput& input, bool per_source_rank);

// n in `parts` parts that differ by at most one, the greater ones first.
std::vector<std::int64_t> equal_parts(std::int64_t n, int parts);

}  // namespace sim
