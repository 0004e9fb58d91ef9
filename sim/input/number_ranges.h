// A choice of whole numbers as a user writes it: "0-7,64".
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sim {

class NumberRanges {
 public:
  NumberRanges() = default;  // every number
  // Numbers and ranges, both ends included, between commas. Throws Error naming `what` (an option)
  // when the text is something else, a range ends before it begins, or a number is above `most`.
  NumberRanges(const std::string& text, const std::string& what, std::int64_t most);

  bool every() const { return ranges_.empty(); }
  bool contains(std::int64_t number) const;

 private:
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges_;
};

}  // namespace sim
