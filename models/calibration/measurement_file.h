// The file that `microbench` writes and `simulate calibrate` reads: which device, how it was
// measured, and a time per kernel case. YAML; form and example in models/microbench/README.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/microbench/kernel_case.h"

namespace sim {

struct MeasuredDevice {
  std::string name;
  int sms = 1;             // of a CPU: threads of its BLAS
  double clock_mhz = 0;    // 0: not known
  std::string clock_note;  // which clock that is; may be empty
  std::int64_t memory_bytes = 0;
  std::string driver;  // may be empty
  std::string runtime;
  bool operator==(const MeasuredDevice&) const = default;
};

struct MeasurementMethod {
  int warm_up = 3;
  int least_repeats = 10;
  double least_time_s = 0.05;
  std::int64_t rotating_bytes = 0;  // buffers of a case are rotated over at least so many
  std::string rotated;              // what lies in them and which cache they leave
  std::string clock;                // what measured the time; may be empty
  std::string statistic = "median";
  bool operator==(const MeasurementMethod&) const = default;
};

struct MeasuredCase {
  KernelCase what;
  double median_us = 0;
  double p10_us = 0;
  double p90_us = 0;
  std::int64_t repeats = 0;
  int line = 0;  // in the file; 0 when it was not read from one
};

struct LeftOut {
  std::string kernel;
  std::string reason;
  bool operator==(const LeftOut&) const = default;
};

struct MeasurementFile {
  std::string written_by;
  std::string date;  // 2026-11-22
  std::string backend;
  MeasuredDevice device;
  MeasurementMethod method;
  std::vector<LeftOut> left_out;
  std::int64_t failed_checks = 0;  // cases left out because their result was wrong
  std::vector<MeasuredCase> rows;
};

inline constexpr int kMeasurementVersion = 1;

// Throw Error with every mistake of the file: another format, a version from the future, units
// other than us and B, times that are not positive or not in order, cases that are not whole
// (case_mistakes), no rows at all or fewer than it states (row_count), more than 16 MiB.
MeasurementFile read_measurement_file(const std::string& path);
MeasurementFile parse_measurement_file(const std::string& text, const std::string& name);

// What parse_measurement_file reads back; times keep 7 digits.
std::string to_yaml(const MeasurementFile& file);

}  // namespace sim
