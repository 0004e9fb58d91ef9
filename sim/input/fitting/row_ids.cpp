#include "sim/input/fitting/row_ids.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>

namespace sim {
namespace {

struct NumberedId {
  std::string table;
  std::int64_t number = 0;
};

std::optional<NumberedId> numbered(std::string_view id) {
  const std::size_t mark = id.rfind('#');
  if (mark == std::string_view::npos) return std::nullopt;
  NumberedId result{std::string(id.substr(0, mark)), 0};
  const char* end = id.data() + id.size();
  const auto [stop, failed] = std::from_chars(id.data() + mark + 1, end, result.number);
  if (failed != std::errc{} || stop != end) return std::nullopt;
  return result;
}

}  // namespace

std::vector<std::string> compact_ids(std::span<const std::string> ids) {
  std::vector<std::string> result;
  std::vector<std::string> tables;
  std::map<std::string, std::vector<std::int64_t>> numbers;
  std::vector<std::string> others;
  for (const std::string& id : ids) {
    const std::optional<NumberedId> parts = numbered(id);
    if (!parts) {
      others.push_back(id);
      continue;
    }
    if (numbers.find(parts->table) == numbers.end()) tables.push_back(parts->table);
    numbers[parts->table].push_back(parts->number);
  }
  for (const std::string& table : tables) {
    std::vector<std::int64_t>& list = numbers[table];
    std::sort(list.begin(), list.end());
    std::string text = table + "#";
    for (std::size_t i = 0; i < list.size();) {
      const std::int64_t step = i + 1 < list.size() ? list[i + 1] - list[i] : 1;
      std::size_t last = i;
      while (last + 1 < list.size() && list[last + 1] - list[last] == step) ++last;
      if (step != 1 && last - i < 2) last = i;  // two numbers are shorter written out
      if (i > 0) text += ",";
      text += fmt::format("{}", list[i]);
      if (last > i) text += fmt::format("-{}", list[last]);
      if (last > i && step != 1) text += fmt::format("/{}", step);
      i = last + 1;
    }
    result.push_back(std::move(text));
  }
  result.insert(result.end(), others.begin(), others.end());
  return result;
}

bool holds_id(std::span<const std::string> compact, std::string_view id) {
  const std::optional<NumberedId> parts = numbered(id);
  const std::string_view table = id.substr(0, id.rfind('#'));
  for (const std::string& entry : compact) {
    if (entry == id || entry == table) return true;
    const std::size_t mark = entry.rfind('#');
    if (!parts || mark == std::string::npos || entry.compare(0, mark, parts->table) != 0) continue;
    const char* at = entry.data() + mark + 1;
    const char* const end = entry.data() + entry.size();
    while (at < end) {
      std::int64_t first = 0;
      const auto begin = std::from_chars(at, end, first);
      if (begin.ec != std::errc{}) break;
      std::int64_t last = first;
      at = begin.ptr;
      if (at < end && *at == '-') {
        const auto to = std::from_chars(at + 1, end, last);
        if (to.ec != std::errc{}) break;
        at = to.ptr;
      }
      std::int64_t step = 1;
      if (at < end && *at == '/') {
        const auto by = std::from_chars(at + 1, end, step);
        if (by.ec != std::errc{} || step < 1) break;
        at = by.ptr;
      }
      if (at < end && *at != ',') break;  // an id that is written out
      const bool inside = parts->number >= first && parts->number <= last;
      if (inside && (parts->number - first) % step == 0) return true;
      if (at < end) ++at;
    }
  }
  return false;
}

}  // namespace sim
