#include "analysis/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "analysis/query.h"
#include "sim/core/error.h"

namespace sim {
namespace {

std::vector<std::vector<Cell>> rows(const std::string& path, const std::string& sql,
                                    std::int64_t run) {
  return run_query(path, sql, {.run = run, .interrupted = {}}).front().rows;
}

std::int64_t integer(const Cell& cell) { return std::get<std::int64_t>(cell); }

double number(const Cell& cell) {
  if (const auto* whole = std::get_if<std::int64_t>(&cell)) return static_cast<double>(*whole);
  return std::get<double>(cell);
}

ComparedRun read_run(const std::string& path, std::int64_t id) {
  const std::vector<Cell> row =
      rows(path,
           "SELECT run_id, name, kind, model, cluster, scenario, version, fingerprint, (SELECT "
           "count(*) FROM steps WHERE steps.run_id = this_run.run_id) FROM this_run",
           id)
          .front();
  ComparedRun run;
  run.run_id = integer(row[0]);
  run.name = to_text(row[1]);
  run.kind = to_text(row[2]);
  run.model = to_text(row[3]);
  run.cluster = to_text(row[4]);
  run.scenario = to_text(row[5]);
  run.version = to_text(row[6]);
  if (std::holds_alternative<std::string>(row[7])) run.fingerprint = to_text(row[7]);
  run.steps = integer(row[8]);
  if (run.steps == 0) {
    throw Error(fmt::format("run {} of {} has no finished step to compare", id, path),
                "`simulate query " + path + " runs` shows how far each run came");
  }
  return run;
}

using Values = std::map<std::pair<std::string, std::string>, ComparedValue>;

void add_values(Values& values, const std::vector<std::vector<Cell>>& found, bool is_a) {
  for (const std::vector<Cell>& row : found) {
    ComparedValue& value = values[{to_text(row[0]), to_text(row[2])}];
    value.name = to_text(row[0]);
    value.unit = to_text(row[2]);
    (is_a ? value.a : value.b) = number(row[1]);
  }
}

std::vector<ComparedValue> both(const std::string& path, const std::string& sql, std::int64_t a,
                                std::int64_t b) {
  Values values;
  add_values(values, rows(path, sql, a), true);
  add_values(values, rows(path, sql, b), false);
  std::vector<ComparedValue> list;
  for (auto& [key, value] : values) list.push_back(std::move(value));
  return list;
}

}  // namespace

RunComparison compare_runs(const std::string& path, std::int64_t a, std::int64_t b) {
  RunComparison result;
  result.a = read_run(path, a);
  result.b = read_run(path, b);
  result.metrics = both(path,
                        "SELECT name, value, unit FROM metrics WHERE run_id = "
                        "(SELECT run_id FROM this_run)",
                        a, b);
  result.causes = both(path,
                       "SELECT cause, sum(duration_ps) * 1e-12 / (SELECT count(*) FROM steps WHERE "
                       "run_id = (SELECT run_id FROM this_run)), 's' FROM causes WHERE run_id = "
                       "(SELECT run_id FROM this_run) GROUP BY cause",
                       a, b);
  const auto change = [](const ComparedValue& value) {
    return std::abs(value.b.value_or(0) - value.a.value_or(0));
  };
  std::stable_sort(result.causes.begin(), result.causes.end(),
                   [&](const ComparedValue& left, const ComparedValue& right) {
                     return change(left) > change(right);
                   });
  return result;
}

}  // namespace sim
