// Constants of one device or framework against the rows of another: what borrowing is worth.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/calibration/measured_kernel.h"
#include "models/costs/kernel_constants.h"

namespace sim {

// Tables read once each.
class MeasuredTables {
 public:
  explicit MeasuredTables(std::string data_folder) : data_folder_(std::move(data_folder)) {}
  // All rows of these tables, in order. The reference holds as long as this object.
  const std::vector<MeasuredKernel>& rows(const std::vector<std::string>& tables);

 private:
  std::string data_folder_;
  std::map<std::vector<std::string>, std::vector<MeasuredKernel>> read_;
};

struct TransferSource {
  std::string device;
  KernelConstants constants;
};

// The transfers that are looked at, as a section of the page. Throws Error: a table is missing.
std::string transfers_markdown(const std::string& root, const std::vector<TransferSource>& sources,
                               MeasuredTables& tables);

}  // namespace sim
