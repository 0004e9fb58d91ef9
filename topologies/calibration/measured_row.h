// One published measurement of one communication operation, and the tables that hold them.
//
// A source is one file of the public reference data and the function that reads it: one small file
// each in sources/. Readers turn whatever a table counts into seconds of one whole operation.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/units.h"
#include "sim/input/fitting/error_summary.h"

namespace sim {

struct MeasuredRow {
  std::string id;     // "aic-nccl-h100-2.29.2#17": the table and the number of its data row, from 1
  std::string table;  // MeasuredSource::table
  std::string cluster;  // name in topologies/catalog
  int nodes = 1;        // compute nodes that take part
  int ranks = 0;
  std::string library;    // "nccl 2.29.2", "deepep 1.1"; empty: the table does not say
  std::string operation;  // "all-reduce", "send-receive", "dispatch", "combine", ...
  std::string algorithm;  // name in our tables: "deepep-normal"; "nccl": what NCCL itself picks
  // Of a collective: S of its form (topologies/cluster.h), the whole buffer; zero for exchanges.
  Bytes bytes;
  // Of a dispatch or combine; zero for collectives.
  std::int64_t tokens = 0;  // per rank
  std::int64_t hidden = 0;
  int top_k = 0;
  int experts = 0;
  int groups = 0;            // group-limited routing: expert groups, and how many a token may use
  int top_groups = 0;        // zero: no limit
  bool balanced = false;     // a perfect router: min(ranks, top_k) ranks per token, all alike
  int sms = 0;               // held by the kernel; zero: the algorithm's own number
  std::string dtype;         // of what travels: "fp8", "bf16", "nvfp4", "half", "int8"
  double time_s = 0;         // of the whole operation
  std::string note;          // "median of 5"; why a row is not plausible
  bool implausible = false;  // kept and shown, never fitted
};

struct MeasuredSource {
  std::string_view table;    // stable, used in ids and in `fitted_to` of the constants
  std::string_view file;     // below the folder of the reference data
  std::string_view cite;     // who measured, and where it was published
  std::string_view cluster;  // catalog name of the machine
  std::string_view library;
  // Appends the rows in the order of the file. Throws Error with the place of what it cannot read.
  void (*read)(const MeasuredSource& source, const std::string& path,
               std::vector<MeasuredRow>& rows);
};

// Every source: the collectives', then the exchanges'. Names are unique.
std::vector<MeasuredSource> measured_sources();
std::span<const MeasuredSource> collective_sources();  // sources/collective_sources.cpp
std::span<const MeasuredSource> exchange_sources();    // sources/exchange_sources.cpp

// The rows of one table. `data_folder` holds data/ and papers/. Throws Error: no such table (with a
// suggestion), no such file, or a row that cannot be read.
std::vector<MeasuredRow> read_measured(std::string_view table, const std::string& data_folder);

// A new row with what the source says of all its rows; `number` counts data rows from 1.
MeasuredRow row_of(const MeasuredSource& source, std::int64_t number);

// Whether a row is of a decode step's size (below 8 MiB, or at most 256 tokens a rank): start-up
// decides. The others are of a prefill's or a training step's size: the wire decides.
bool decode_like(const MeasuredRow& row);

// Of the rows that `use` says; REQUIRES: as many predictions as rows.
ErrorSummary summarise_errors(std::span<const MeasuredRow> rows, std::span<const double> predicted,
                              const std::vector<bool>& use);

}  // namespace sim
