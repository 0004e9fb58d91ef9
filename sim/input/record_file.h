// A file of published figures (papers/ground_truth/*.yaml of the reference data): records by id,
// each a list of mappings, or a list of rows of numbers below `columns`.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "sim/input/yaml_reader.h"

namespace sim {

// Calls `take` with every value of a record and its number from 1. Throws Error: no such record, or
// every mistake that `take` recorded.
void each_record_value(const std::string& path, const std::string& record,
                       const std::function<void(YamlMap&, std::int64_t number)>& take);

// The same for rows of numbers: column name -> number. Throws Error with the place of a row whose
// length is not that of `columns` or that is not of numbers; where `may_lack`, a null is no number
// and leaves its column out.
void each_record_row(
    const std::string& path, const std::string& record, bool may_lack,
    const std::function<void(const std::map<std::string, double>&, std::int64_t number)>& take);

}  // namespace sim
