#include "models/calibration/dense_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "sim/core/error.h"
#include "sim/input/quantity.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace {

struct Column {
  std::string_view name;
  double (*of)(const MeasuredKernel& row);
};

double bytes_of(const MeasuredKernel& row) {
  return static_cast<double>((row.op.weight_bytes + row.op.activation_bytes).count());
}

constexpr std::array kColumns = {
    Column{"m", [](const MeasuredKernel& row) { return static_cast<double>(row.op.m); }},
    Column{"n", [](const MeasuredKernel& row) { return static_cast<double>(row.op.n); }},
    Column{"k", [](const MeasuredKernel& row) { return static_cast<double>(row.op.k); }},
    Column{"sequences", [](const MeasuredKernel& row) { return row.op.attention.sequences; }},
    Column{"queries",
           [](const MeasuredKernel& row) {
             return row.op.attention.queries / std::max(1.0, row.op.attention.sequences);
           }},
    Column{"context", [](const MeasuredKernel& row) { return row.op.attention.longest; }},
    Column{"heads",
           [](const MeasuredKernel& row) { return static_cast<double>(row.op.attention.heads); }},
    Column{
        "kv_heads",
        [](const MeasuredKernel& row) { return static_cast<double>(row.op.attention.kv_heads); }},
    Column{
        "head_dim",
        [](const MeasuredKernel& row) { return static_cast<double>(row.op.attention.head_dim); }},
    Column{"windowed",
           [](const MeasuredKernel& row) { return row.op.attention.windowed ? 1.0 : 0.0; }},
    Column{"megabytes", [](const MeasuredKernel& row) { return bytes_of(row) * 1e-6; }},
    Column{"gigaflops", [](const MeasuredKernel& row) { return row.op.flops.count() * 1e-9; }},
    Column{"us", [](const MeasuredKernel& row) { return row.time_s * 1e6; }},
};

}  // namespace

std::vector<std::string> dense_columns() {
  std::vector<std::string> names;
  for (const Column& column : kColumns) names.emplace_back(column.name);
  return names;
}

double column_of(const MeasuredKernel& row, std::string_view column) {
  for (const Column& each : kColumns) {
    if (each.name == column) return each.of(row);
  }
  SIM_CHECK(false, "a filter names columns that there are");
}

DenseFilter::DenseFilter(YamlNode node, Mistakes& mistakes) {
  YamlMap map(node, "a choice of rows", mistakes);
  for (const std::string& column : dense_columns()) {
    const YamlNode child = map.child(column);
    if (!child.defined()) continue;
    Condition condition;
    condition.column = column;
    if (child.is_map()) {
      YamlMap range(child, "a range", mistakes);
      condition.least = range.number_or("least", -1e300, {-1e300, 1e300});
      condition.most = range.number_or("most", 1e300, {-1e300, 1e300});
      range.finish();
    } else {
      for (const YamlNode& item : child.is_list() ? child.items() : std::vector<YamlNode>{child}) {
        const std::optional<double> number =
            item.is_scalar() ? parse_number(item.text()) : std::nullopt;
        if (number) {
          condition.numbers.push_back(*number);
        } else {
          map.mistake(column,
                      fmt::format("'{}' is a number, a list of numbers or a range", column));
        }
      }
    }
    conditions_.push_back(std::move(condition));
  }
  map.finish();
}

bool DenseFilter::passes(const MeasuredKernel& row) const {
  return std::all_of(conditions_.begin(), conditions_.end(), [&](const Condition& condition) {
    const double value = column_of(row, condition.column);
    if (condition.numbers.empty()) return value >= condition.least && value <= condition.most;
    return std::find(condition.numbers.begin(), condition.numbers.end(), value) !=
           condition.numbers.end();
  });
}

double lot(std::string_view id) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, then mixed
  for (const char letter : id) {
    hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3;
  }
  hash ^= hash >> 32;
  hash *= 0xd6e8feb86659fd93;
  hash ^= hash >> 32;
  return static_cast<double>(hash >> 11) * 0x1p-53;
}

}  // namespace sim
