// The values of one record of a file of published figures (papers/ground_truth/*.yaml): a list of
// mappings, or a list of rows of numbers below `columns`. The record is the part of the table's
// name after its last '/'.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "sim/input/yaml_reader.h"
#include "topologies/calibration/measured_row.h"

namespace sim {

// Calls `take` with every value and its number from 1. Throws Error: no such record, or every
// mistake that `take` recorded.
void each_value(const MeasuredSource& source, const std::string& path,
                const std::function<void(YamlMap&, std::int64_t number)>& take);

// The same for rows of numbers: column name -> number. Throws Error with the place of a row whose
// length is not that of `columns` or that is not of numbers.
void each_numbered_row(
    const MeasuredSource& source, const std::string& path,
    const std::function<void(const std::map<std::string, double>&, std::int64_t number)>& take);

}  // namespace sim
