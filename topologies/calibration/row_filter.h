// Which rows of a table a fit sees: conditions on columns, as a specification writes them.
//
//   {operation: all-gather, ranks: [2, 8], bytes: {least: 1 MiB, most: 1 GiB}, size_order: even}
//
// A column is a word or a list of words (operation, algorithm, library, dtype, table, cluster), a
// number or a list of numbers or {least, most} (nodes, ranks, bytes, tokens, hidden, top_k,
// experts, top_groups, sms). `size_order: even | odd` takes every other size: the distinct sizes
// (bytes, or tokens) of the rows at hand in rising order, counted from 0. A row meets all
// conditions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/input/fitting/row_ids.h"
#include "sim/input/yaml_reader.h"
#include "topologies/calibration/measured_row.h"

namespace sim {

class RowFilter {
 public:
  RowFilter() = default;  // every row
  // Records what is wrong: a column that does not exist, a value of the wrong kind.
  RowFilter(YamlNode node, Mistakes& mistakes);

  // One flag per row. Implausible rows are judged like others.
  std::vector<bool> select(std::span<const MeasuredRow> rows) const;

 private:
  struct Condition {
    std::string column;
    std::vector<std::string> words;
    std::vector<double> numbers;
    double least = 0;
    double most = 0;
    bool range = false;
  };
  enum class SizeOrder { kAll, kEven, kOdd };

  bool meets(const MeasuredRow& row, const Condition& condition) const;

  std::vector<Condition> conditions_;
  SizeOrder size_order_ = SizeOrder::kAll;
};

}  // namespace sim
