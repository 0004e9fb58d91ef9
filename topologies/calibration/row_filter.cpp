#include "topologies/calibration/row_filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "sim/input/quantity.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace {

struct WordColumn {
  std::string_view name;
  std::string MeasuredRow::*field;
};
constexpr WordColumn kWords[] = {
    {"table", &MeasuredRow::table},         {"cluster", &MeasuredRow::cluster},
    {"operation", &MeasuredRow::operation}, {"algorithm", &MeasuredRow::algorithm},
    {"library", &MeasuredRow::library},     {"dtype", &MeasuredRow::dtype}};

struct NumberColumn {
  std::string_view name;
  double (*value)(const MeasuredRow&);
};
constexpr NumberColumn kNumbers[] = {
    {"nodes", [](const MeasuredRow& r) { return double(r.nodes); }},
    {"ranks", [](const MeasuredRow& r) { return double(r.ranks); }},
    {"bytes", [](const MeasuredRow& r) { return double(r.bytes.count()); }},
    {"tokens", [](const MeasuredRow& r) { return double(r.tokens); }},
    {"hidden", [](const MeasuredRow& r) { return double(r.hidden); }},
    {"top_k", [](const MeasuredRow& r) { return double(r.top_k); }},
    {"experts", [](const MeasuredRow& r) { return double(r.experts); }},
    {"top_groups", [](const MeasuredRow& r) { return double(r.top_groups); }},
    {"sms", [](const MeasuredRow& r) { return double(r.sms); }}};

const WordColumn* word_column(std::string_view name) {
  for (const WordColumn& column : kWords) {
    if (column.name == name) return &column;
  }
  return nullptr;
}

const NumberColumn* number_column(std::string_view name) {
  for (const NumberColumn& column : kNumbers) {
    if (column.name == name) return &column;
  }
  return nullptr;
}

std::string unknown_column(std::string_view name) {
  std::vector<std::string> names = {"size_order"};
  for (const WordColumn& column : kWords) names.emplace_back(column.name);
  for (const NumberColumn& column : kNumbers) names.emplace_back(column.name);
  return suggest(name, names);
}

// A plain number, or bytes with a unit.
std::optional<double> number_in(const YamlNode& node) {
  if (!node.is_scalar()) return std::nullopt;
  if (const std::optional<double> plain = parse_number(node.text())) return plain;
  std::string mistake;
  const std::optional<Bytes> bytes = parse_bytes(node.text(), mistake);
  return bytes ? std::optional<double>(static_cast<double>(bytes->count())) : std::nullopt;
}

std::int64_t size_of(const MeasuredRow& row) {
  return row.bytes.count() > 0 ? row.bytes.count() : row.tokens;
}

}  // namespace

RowFilter::RowFilter(YamlNode node, Mistakes& mistakes) {
  if (!node.is_map()) {
    mistakes.add(node.place(), "conditions on rows are a mapping",
                 "{operation: all-gather, ranks: [2, 8]}");
    return;
  }
  for (const auto& [name, value] : node.entries()) {
    if (name == "size_order") {
      const std::string word = value.is_scalar() ? value.text() : "";
      if (word != "even" && word != "odd") {
        mistakes.add(value.place(), "'size_order' is even or odd");
      }
      size_order_ = word == "even" ? SizeOrder::kEven : SizeOrder::kOdd;
      continue;
    }
    Condition condition;
    condition.column = name;
    const bool words = word_column(name) != nullptr;
    if (!words && number_column(name) == nullptr) {
      mistakes.add(value.place(), fmt::format("rows have no column '{}'", name),
                   unknown_column(name));
      continue;
    }
    const auto wrong = [&](const YamlNode& at) {
      mistakes.add(at.place(), fmt::format("not a {} for '{}'", words ? "word" : "number", name),
                   words ? "a word or a list of words"
                         : "a number, a list of numbers or {least: A, most: B}");
    };
    if (!words && value.is_map()) {
      YamlMap range(value, "a range of " + name, mistakes);
      condition.range = true;
      condition.least = range.has("least") ? number_in(range.child("least")).value_or(-1) : 0;
      condition.most = range.has("most") ? number_in(range.child("most")).value_or(-1) : 1e300;
      if (condition.least < 0 || condition.most < condition.least) wrong(value);
      range.finish();
      conditions_.push_back(std::move(condition));
      continue;
    }
    for (const YamlNode& item : value.is_list() ? value.items() : std::vector<YamlNode>{value}) {
      if (words && item.is_scalar()) {
        condition.words.push_back(item.text());
      } else if (const std::optional<double> number = number_in(item); !words && number) {
        condition.numbers.push_back(*number);
      } else {
        wrong(item);
      }
    }
    conditions_.push_back(std::move(condition));
  }
}

bool RowFilter::meets(const MeasuredRow& row, const Condition& condition) const {
  if (const WordColumn* words = word_column(condition.column)) {
    return std::find(condition.words.begin(), condition.words.end(), row.*(words->field)) !=
           condition.words.end();
  }
  const double value = number_column(condition.column)->value(row);
  if (condition.range) return value >= condition.least && value <= condition.most;
  return std::find(condition.numbers.begin(), condition.numbers.end(), value) !=
         condition.numbers.end();
}

std::vector<bool> RowFilter::select(std::span<const MeasuredRow> rows) const {
  std::map<std::int64_t, std::size_t> order;
  if (size_order_ != SizeOrder::kAll) {
    for (const MeasuredRow& row : rows) order[size_of(row)] = 0;
    std::size_t next = 0;
    for (auto& [size, number] : order) number = next++;
  }
  std::vector<bool> selected;
  for (const MeasuredRow& row : rows) {
    bool good = std::all_of(conditions_.begin(), conditions_.end(),
                            [&](const Condition& condition) { return meets(row, condition); });
    if (good && size_order_ != SizeOrder::kAll) {
      good = (order.at(size_of(row)) % 2 == 0) == (size_order_ == SizeOrder::kEven);
    }
    selected.push_back(good);
  }
  return selected;
}

}  // namespace sim
