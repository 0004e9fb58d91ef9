#include "topologies/calibration/sources/record_values.h"

#include "sim/input/record_file.h"

namespace sim {
namespace {

std::string record_of(const MeasuredSource& source) {
  return std::string(source.table.substr(source.table.rfind('/') + 1));
}

}  // namespace

void each_value(const MeasuredSource& source, const std::string& path,
                const std::function<void(YamlMap&, std::int64_t)>& take) {
  each_record_value(path, record_of(source), take);
}

void each_numbered_row(
    const MeasuredSource& source, const std::string& path,
    const std::function<void(const std::map<std::string, double>&, std::int64_t)>& take) {
  each_record_row(path, record_of(source), false, take);
}

}  // namespace sim
