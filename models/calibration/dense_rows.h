// Which rows of measured GEMM, attention and streaming kernels a fit sees: conditions on columns.
//
//   {head_dim: [128], sequences: {least: 1, most: 256}, us: {least: 300}}
//
// Columns: m, n, k; sequences, queries (of a sequence), context (keys of the longest sequence that
// one query sees), heads, kv_heads, head_dim, windowed (0 or 1); megabytes and gigaflops of the
// call; us (the measured time). A condition is a number, a list of numbers or {least, most}.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "models/calibration/measured_kernel.h"
#include "sim/input/yaml_reader.h"

namespace sim {

std::vector<std::string> dense_columns();
double column_of(const MeasuredKernel& row, std::string_view column);  // REQUIRES: a column's name

class DenseFilter {
 public:
  DenseFilter() = default;  // every row
  DenseFilter(YamlNode node, Mistakes& mistakes);
  bool passes(const MeasuredKernel& row) const;

 private:
  struct Condition {
    std::string column;
    std::vector<double> numbers;  // any of them; empty: the range
    double least = 0;
    double most = 0;
  };
  std::vector<Condition> conditions_;
};

// A share in [0, 1) that belongs to the id: who is fitted and who is tested, alike on every
// machine.
double lot(std::string_view id);

}  // namespace sim
