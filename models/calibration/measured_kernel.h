// One published measurement of one kernel, and the tables that hold them.
//
// A table is one file of the public reference data and the function that reads it: one small file
// each in sources/. Readers turn whatever a table counts into seconds of one call.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/calibration/synthetic_routing.h"
#include "models/kernel_format.h"
#include "models/operators.h"

namespace sim {

struct MeasuredKernel {
  std::string id;     // "aic-h100-vllm-moe#17": the table and the number of its data row, from 1
  std::string table;  // KernelTable::name
  std::int64_t number = 0;  // of the id
  std::string device;       // name in models/devices
  std::string source;       // of the kernel, our name: "vllm-triton", "deepgemm"
  std::string framework;    // "vllm 0.24.0"
  KernelFormat format;
  KernelFamily family = KernelFamily::kExpertFfn;
  Operator op;  // of every family but experts
  // Of experts: the call without its rows, and the rows per local expert; several where the table
  // averaged random draws, whose predictions are averaged too. Behind a dispatch (`experts.tokens`
  // is 0) the kernel is handed the rows alone. Empty until fill_draws() has run.
  ExpertFfn experts;
  SyntheticRouting routing;
  std::vector<std::vector<std::int64_t>> draws;
  std::string distribution;  // "balanced", "power_law_1.2", ...
  double time_s = 0;
  double p10_s = 0;  // 0: not given
  double p90_s = 0;
  bool implausible = false;  // kept and shown, never fitted
  std::string note;          // why it is not plausible; "host time included"
};

struct KernelTable {
  std::string_view name;    // stable, used in ids and in `fitted_to` of the constants
  std::string_view file;    // below the folder of the reference data
  std::string_view cite;    // who measured, and where it was published
  std::string_view device;  // name in models/devices
  // Appends the rows in the order of the file. Throws Error with the place of what it cannot read.
  void (*read)(const KernelTable& table, const std::string& path,
               std::vector<MeasuredKernel>& rows);
};

// Every table: those of experts, then the others. Names are unique.
std::vector<KernelTable> kernel_tables();
std::span<const KernelTable> expert_tables();  // sources/expert_tables.cpp
std::span<const KernelTable> dense_tables();   // sources/dense_tables.cpp

// The rows of one table; `data_folder` holds data/ and papers/. Throws Error: no such table (with a
// suggestion), no such file, or a row that cannot be read.
std::vector<MeasuredKernel> read_kernels(std::string_view table, const std::string& data_folder);

// A new row with what the table says of all its rows; `number` counts data rows from 1.
MeasuredKernel kernel_of(const KernelTable& table, std::int64_t number);

// The draws that `routing` stands for; nothing where the row has draws already, or none.
void fill_draws(MeasuredKernel& kernel);

// The call of one draw. REQUIRES: the row is of experts; `draw` outlives the result.
ExpertFfn call_of(const MeasuredKernel& kernel, std::span<const std::int64_t> draw);

}  // namespace sim
