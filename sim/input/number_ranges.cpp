#include "sim/input/number_ranges.h"

#include <charconv>
#include <optional>
#include <string_view>

#include "sim/core/error.h"

namespace sim {
namespace {

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

}  // namespace

NumberRanges::NumberRanges(const std::string& text, const std::string& what, std::int64_t most) {
  std::string_view left = text;
  while (true) {
    const std::size_t comma = left.find(',');
    const std::string_view part = left.substr(0, comma);
    const std::size_t dash = part.find('-');
    const std::optional<std::int64_t> first = whole_number(part.substr(0, dash));
    const std::optional<std::int64_t> last =
        dash == std::string_view::npos ? first : whole_number(part.substr(dash + 1));
    if (!first || !last) {
      throw Error(what + ": '" + std::string(part) + "' is no number and no range",
                  "write numbers and ranges between commas: 0-7,64");
    }
    if (*last < *first) {
      throw Error(what + ": the range '" + std::string(part) + "' ends before it begins",
                  "write " + std::to_string(*last) + "-" + std::to_string(*first));
    }
    if (*last > most) {
      throw Error(what + ": there is no number " + std::to_string(*last) + " in this run",
                  "the last one is " + std::to_string(most));
    }
    ranges_.emplace_back(*first, *last);
    if (comma == std::string_view::npos) return;
    left.remove_prefix(comma + 1);
  }
}

bool NumberRanges::contains(std::int64_t number) const {
  if (every()) return true;
  for (const auto& [first, last] : ranges_) {
    if (number >= first && number <= last) return true;
  }
  return false;
}

}  // namespace sim
