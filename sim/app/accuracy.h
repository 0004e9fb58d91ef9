// How far the simulator is from published measurements: the engine's prediction for every measured
// row, beside what was measured. Nothing is fitted here.
#pragma once

#include <string>
#include <vector>

#include "sim/app/catalog.h"
#include "sim/input/fitting/error_summary.h"
#include "topologies/calibration/measured_row.h"

namespace sim {

struct PredictedRow {
  MeasuredRow row;
  double predicted_s = 0;
  bool fitted = false;     // a constant that its run read was fitted to this row
  bool disputed = false;   // another table has the same question and differs by more than 25 %
  std::string label;       // of the constants
  std::string algorithm;   // that was run: of NCCL's, the fastest
  std::string unanswered;  // why there is no prediction; empty: there is one
};

// Signs of measured trends and whether the prediction has them: pairs of rows that differ in one
// thing only, and whose times differ by more than 10 %.
struct TrendCount {
  std::string what;  // "size", "GPUs", "nodes"
  int pairs = 0;
  int right = 0;
};

struct TableAccuracy {
  MeasuredSource source;
  int every = 1;          // a table of thousands is thinned: every n-th row, from the first
  std::int64_t rows = 0;  // of the whole table
  std::vector<PredictedRow> predicted;
  std::vector<TrendCount> trends;
};

// Every table, or those named; "collectives" and "exchanges" name all tables of a kind.
// `data_folder`: see read_measured(). Throws Error.
std::vector<TableAccuracy> measure_accuracy(const Catalog& catalog, const std::string& data_folder,
                                            const std::vector<std::string>& tables);

// The rows of a table that are neither implausible nor unanswered, and pass `use`.
ErrorSummary errors_of(const TableAccuracy& table, bool (*use)(const PredictedRow&));

}  // namespace sim
