// One expert kernel on one device as its errors are measured: rows, constants, rates.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "models/calibration/expert_calibration.h"
#include "sim/app/accuracy_experts.h"

namespace sim {

// Rows of one kernel that errors are taken over: fitted and others each.
constexpr std::size_t kMostErrorRows = 400;

using KernelRows = std::vector<const MeasuredKernel*>;

// Errors of several kernels together.
struct ErrorPool {
  std::vector<std::string> ids;
  std::vector<double> errors;
  void add(std::span<const CountedKernel> rows, std::span<const double> predicted) {
    for (std::size_t i = 0; i < rows.size(); ++i) add(*rows[i].row, predicted[i]);
  }
  void add(const MeasuredKernel& row, double predicted) {
    ids.push_back(row.id);
    errors.push_back(predicted / row.time_s - 1);
  }
  void add(const ErrorPool& other) {
    ids.insert(ids.end(), other.ids.begin(), other.ids.end());
    errors.insert(errors.end(), other.errors.begin(), other.errors.end());
  }
  ErrorSummary summary() const {
    std::vector<PredictionError> list;
    for (std::size_t i = 0; i < ids.size(); ++i) list.push_back({ids[i], errors[i]});
    return summarise_errors(list);
  }
};

// One kernel with its rows, constants and rates.
struct ExpertSubject {
  const ExpertKernelSpec* spec = nullptr;
  std::string device;
  KernelRows rows;
  std::int64_t implausible = 0;
  KernelConstants constants;
  std::vector<double> values;  // with the start as measured
  DeviceRates rates;
};

ErrorPool pool_of(std::span<const CountedKernel> rows, const DeviceRates& rates,
                  std::span<const double> values);
// At most `most` of the rows, evenly.
std::vector<CountedKernel> counted(const KernelRows& rows, std::size_t most);

// Constants taken to another framework, device or table, and what frameworks differ by themselves.
// `subjects` by "device kernel format".
void add_transfers(const std::map<std::string, ExpertSubject>& subjects,
                   const std::map<std::string, Device>& devices, const std::string& data_folder,
                   ExpertAccuracy& result);
void add_frameworks(const std::map<std::string, ExpertSubject>& subjects, ExpertAccuracy& result);

}  // namespace sim
