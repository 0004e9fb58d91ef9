#include "sim/input/record_file.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <memory>
#include <vector>

namespace sim {
namespace {

void with_record(const std::string& path, const std::string& record,
                 const std::function<void(YamlMap&)>& use) {
  const std::unique_ptr<YamlDocument> document = YamlDocument::load(path);
  Mistakes mistakes;
  YamlMap root(document->root(), "this file of records", mistakes);
  for (const YamlNode& item : root.list_or_empty("records")) {
    YamlMap entry(item, "a record", mistakes);
    if (entry.text("id") != record) continue;
    use(entry);
    mistakes.throw_if_any();
    return;
  }
  mistakes.throw_if_any();
  throw Error(Place{path}, fmt::format("there is no record '{}'", record));
}

double number_in(const YamlNode& node) {
  double value = 0;
  const std::string text = node.is_scalar() ? node.text() : std::string();
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    throw Error(node.place(), "this is not a number");
  }
  return value;
}

}  // namespace

void each_record_value(const std::string& path, const std::string& record,
                       const std::function<void(YamlMap&, std::int64_t)>& take) {
  with_record(path, record, [&](YamlMap& entry) {
    std::int64_t number = 0;
    for (const YamlNode& value : entry.list_or_empty("values")) {
      YamlMap map(value, "a value of " + record, entry.mistakes());
      take(map, ++number);
    }
  });
}

void each_record_row(
    const std::string& path, const std::string& record, bool may_lack,
    const std::function<void(const std::map<std::string, double>&, std::int64_t)>& take) {
  with_record(path, record, [&](YamlMap& entry) {
    std::vector<std::string> columns;
    for (const YamlNode& column : entry.list_or_empty("columns")) {
      if (!column.is_scalar()) throw Error(column.place(), "a column's name is a word");
      columns.push_back(column.text());
    }
    std::int64_t number = 0;
    for (const YamlNode& value : entry.list_or_empty("values")) {
      const std::vector<YamlNode> fields =
          value.is_list() ? value.items() : std::vector<YamlNode>{};
      if (fields.size() != columns.size()) {
        throw Error(value.place(), fmt::format("a row of {} has {} numbers, not {}", record,
                                               columns.size(), fields.size()));
      }
      std::map<std::string, double> row;
      for (std::size_t i = 0; i < fields.size(); ++i) {
        if (may_lack && fields[i].is_null()) continue;
        row[columns[i]] = number_in(fields[i]);
      }
      take(row, ++number);
    }
  });
}

}  // namespace sim
