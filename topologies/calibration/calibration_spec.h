// What to fit to which rows: one file of specs/ per machine and library.
//
//   cluster: hgx-h100                     # line rates, and where the constants are kept
//   form: collective                      # topologies/calibration/fit_form.h
//   tables: [aic-nccl-h100-2.29.2]
//   source: "ai-dynamo/aiconfigurator, NCCL 2.29.2"
//   fitted: {ranks: [2, 8]}               # rows that the fit sees; it is tested on the others
//   splits: [{name: "2, 4 -> 8 GPUs", fitted: {ranks: [2, 4]}}]
//   fits:
//     - entry: {algorithm: nccl-ring, operation: all-gather, scope: one-node}
//       rows: {operation: all-gather}     # the rows that this entry is about
//       free: [base, per_step, nvlink_efficiency]
//       fixed: {nic_efficiency: 0.94}
//       protocol_switch: true             # two sets of constants and the size where they change
//
// `fitted`, `splits`, `free`, `fixed` and `protocol_switch` at the top are the defaults of every
// fit. A split fits anew with other rows and reports the errors; its constants are not kept.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "topologies/calibration/fit_form.h"
#include "topologies/calibration/row_filter.h"

namespace sim {

struct CalibrationSplit {
  std::string name;
  RowFilter fitted;
};

struct CalibrationFit {
  std::vector<std::pair<std::string, std::string>> entry;  // of the constants' YAML, in file order
  RowFilter rows;
  RowFilter fitted;
  std::vector<CalibrationSplit> splits;
  std::vector<std::string> free;
  std::map<std::string, double> fixed;  // SI units
  bool protocol_switch = false;

  std::string value_of(const std::string& key) const;  // of the entry; empty: no such key
};

struct CalibrationSpec {
  std::string name;     // of the file, without its ending
  std::string cluster;  // catalog name
  std::string source;
  const FitForm* form = nullptr;
  std::vector<std::string> tables;
  std::vector<CalibrationFit> fits;
};

// Throws Error with every mistake.
CalibrationSpec load_calibration_spec(const std::string& file);

}  // namespace sim
