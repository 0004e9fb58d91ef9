#include "topologies/calibration/measured_row.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "sim/core/error.h"
#include "sim/input/suggestion.h"

namespace sim {

std::vector<MeasuredSource> measured_sources() {
  std::vector<MeasuredSource> all(collective_sources().begin(), collective_sources().end());
  all.insert(all.end(), exchange_sources().begin(), exchange_sources().end());
  return all;
}

std::vector<MeasuredRow> read_measured(std::string_view table, const std::string& data_folder) {
  const std::vector<MeasuredSource> sources = measured_sources();
  const auto found = std::find_if(sources.begin(), sources.end(),
                                  [&](const MeasuredSource& s) { return s.table == table; });
  if (found == sources.end()) {
    std::vector<std::string> names;
    for (const MeasuredSource& source : sources) names.emplace_back(source.table);
    throw Error(fmt::format("there is no table of measurements '{}'", table),
                suggest(table, names));
  }
  const std::string path = (std::filesystem::path(data_folder) / std::string(found->file)).string();
  std::vector<MeasuredRow> rows;
  found->read(*found, path, rows);
  if (rows.empty()) throw Error(Place{path}, "no row could be read from this file");
  return rows;
}

MeasuredRow row_of(const MeasuredSource& source, std::int64_t number) {
  MeasuredRow row;
  row.id = fmt::format("{}#{}", source.table, number);
  row.table = source.table;
  row.cluster = source.cluster;
  row.library = source.library;
  return row;
}

bool decode_like(const MeasuredRow& row) {
  return row.bytes.count() > 0 ? row.bytes.count() < (8 << 20) : row.tokens <= 256;
}

ErrorSummary summarise_errors(std::span<const MeasuredRow> rows, std::span<const double> predicted,
                              const std::vector<bool>& use) {
  std::vector<PredictionError> errors;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (use[i]) errors.push_back({rows[i].id, predicted[i] / rows[i].time_s - 1});
  }
  return summarise_errors(errors);
}

}  // namespace sim
