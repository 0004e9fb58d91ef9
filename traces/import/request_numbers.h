// Numbers for the requests of a file whose recorder names them by text.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "traces/import/json_fields.h"

namespace sim {

// Whole numbers stay what they are, unless the file has a request of another name: then every
// request gets the number of its first appearance, from 0. Hence two passes: note() every record,
// then number() every record.
class RequestNumbers {
 public:
  void note(const JsonRecord& line);
  // Throws Error when the names need more than 1 GiB.
  std::int64_t number(const JsonRecord& line);
  bool mapped() const { return mapped_; }

 private:
  bool mapped_ = false;
  std::size_t bytes_ = 0;
  std::unordered_map<std::string, std::int64_t> numbers_;  // looked up only, never iterated
};

}  // namespace sim
