#include "traces/import/step_range.h"

#include <fmt/format.h>

#include <charconv>

#include "sim/core/error.h"

namespace sim {
namespace {

[[noreturn]] void refuse(std::string_view text) {
  throw Error(fmt::format("'{}' is no range of steps", text),
              "FROM:TO or FROM:TO:EVERY, whole numbers from 0, TO above FROM and not in it: "
              "100:200, 0::50, :1000:10");
}

std::int64_t number(std::string_view part, std::int64_t empty, std::string_view text) {
  if (part.empty()) return empty;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
  if (error != std::errc() || end != part.data() + part.size() || value < 0) refuse(text);
  return value;
}

}  // namespace

StepRange parse_step_range(std::string_view text) {
  const StepRange all;
  const std::size_t first = text.find(':');
  if (first == text.npos) refuse(text);
  const std::size_t second = text.find(':', first + 1);
  StepRange range;
  range.from = number(text.substr(0, first), all.from, text);
  range.to = number(text.substr(first + 1, second == text.npos ? second : second - first - 1),
                    all.to, text);
  if (second != text.npos) range.every = number(text.substr(second + 1), all.every, text);
  if (range.every < 1 || range.to <= range.from) refuse(text);
  return range;
}

std::string to_text(const StepRange& range) {
  std::string text = fmt::format("{}:", range.from);
  if (range.to != StepRange{}.to) text += std::to_string(range.to);
  if (range.every != 1) text += fmt::format(":{}", range.every);
  return text;
}

}  // namespace sim
