#include "sim/app/accuracy.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>
#include <utility>

#include "sim/app/accuracy_exchange.h"
#include "sim/app/cluster_choice.h"
#include "sim/workloads/lone_question.h"
#include "topologies/calibration/row_filter.h"

namespace sim {
namespace {

constexpr std::size_t kMostRows = 2000;  // of one table
constexpr double kDisputed = 1.25;       // two published times of one question
constexpr double kTrend = 1.10;          // smaller differences are noise

// A cluster with enough nodes for a table's rows, and what answers questions on it.
struct Machine {
  Machine(const Catalog& catalog, const std::string& name, int nodes)
      : cluster(choose_cluster(catalog, name, {}, nodes)),
        types(cluster, catalog),
        predictor(cluster, types.of_devices()) {}
  Cluster cluster;
  DeviceTypes types;
  LonePredictor predictor;
};

// NVLS adds floating point numbers and wider integers only.
bool may_run(const std::string& algorithm, const MeasuredRow& row) {
  return algorithm != "nccl-nvls" || row.dtype != "int8";
}

void predict_collective(Machine& machine, PredictedRow& out) {
  const MeasuredRow& row = out.row;
  out.unanswered = "no constants for this operation on this cluster";
  for (const std::string& algorithm : collective_algorithms(row.operation)) {
    const bool asked = row.algorithm == algorithm;
    if (!asked && !(row.algorithm == "nccl" && algorithm.starts_with("nccl-"))) continue;
    const CollectiveConstants* constants =
        find_collective(machine.cluster, algorithm, row.operation, row.nodes, row.ranks, row.bytes);
    if (constants == nullptr || !may_run(algorithm, row)) continue;
    CollectiveQuestion question;
    question.operation = row.operation;
    question.algorithm = algorithm;
    question.devices = spread_ranks(machine.cluster, row.nodes, row.ranks);
    question.bytes = row.bytes;
    const double time_s = to_seconds(machine.predictor.predict(question).run.time);
    if (!out.unanswered.empty() || time_s < out.predicted_s) {
      out.predicted_s = time_s;
      out.label = constants->label;
      out.algorithm = algorithm;
      out.fitted = holds_id(constants->fitted_to, row.id);
    }
    out.unanswered.clear();
  }
}

using Question = std::tuple<std::string, std::string, std::string, int, int, std::int64_t>;

// One question in several tables: by machine, operation, algorithm, ranks and size.
void mark_disputed(std::vector<TableAccuracy>& tables) {
  std::map<Question, std::map<std::string, std::pair<double, int>>> times;
  const auto question = [](const MeasuredRow& row) {
    if (row.tokens > 0) {
      return Question(row.cluster, row.operation,
                      fmt::format("{} {} {} {} {} {} {}", row.algorithm, row.library, row.dtype,
                                  row.hidden, row.top_k, row.experts, row.sms),
                      row.nodes, row.ranks, row.tokens);
    }
    // One algorithm in all tables; 8-bit integers cannot use NVLS.
    return Question(row.cluster, row.operation, row.dtype == "int8" ? "int8" : "", row.nodes,
                    row.ranks, row.bytes.count());
  };
  for (const TableAccuracy& table : tables) {
    for (const PredictedRow& each : table.predicted) {
      if (each.row.implausible) continue;
      auto& [sum, count] = times[question(each.row)][std::string(table.source.table)];
      sum += each.row.time_s;
      ++count;
    }
  }
  for (TableAccuracy& table : tables) {
    for (PredictedRow& each : table.predicted) {
      double least = each.row.time_s;
      double most = each.row.time_s;
      for (const auto& [name, entry] : times[question(each.row)]) {
        least = std::min(least, entry.first / entry.second);
        most = std::max(most, entry.first / entry.second);
      }
      each.disputed = most > kDisputed * least;
    }
  }
}

bool counts(const PredictedRow& each) { return each.unanswered.empty() && !each.row.implausible; }

// Pairs that differ in `value` only, neighbours in its order.
template <class Key, class Value>
TrendCount count_trend(const TableAccuracy& table, std::string what, Key key, Value value) {
  TrendCount trend{std::move(what)};
  using KeyOf = decltype(key(std::declval<const MeasuredRow&>()));
  std::map<KeyOf, std::vector<const PredictedRow*>> groups;
  for (const PredictedRow& each : table.predicted) {
    if (counts(each)) groups[key(each.row)].push_back(&each);
  }
  for (auto& [group, rows] : groups) {
    std::stable_sort(rows.begin(), rows.end(), [&](const PredictedRow* a, const PredictedRow* b) {
      return value(a->row) < value(b->row);
    });
    for (std::size_t i = 0; i + 1 < rows.size(); ++i) {
      const PredictedRow& a = *rows[i];
      const PredictedRow& b = *rows[i + 1];
      const double measured = b.row.time_s / a.row.time_s;
      if (value(a.row) == value(b.row) || (measured < kTrend && measured > 1 / kTrend)) continue;
      ++trend.pairs;
      if ((b.predicted_s > a.predicted_s) == (measured > 1)) ++trend.right;
    }
  }
  return trend;
}

auto shape(const MeasuredRow& row) {
  return std::tuple(row.operation, row.algorithm, row.library, row.dtype, row.hidden, row.top_k,
                    row.experts, row.sms, row.top_groups);
}

std::vector<TrendCount> count_trends(const TableAccuracy& table) {
  const auto size = [](const MeasuredRow& row) {
    return row.bytes.count() > 0 ? row.bytes.count() : row.tokens;
  };
  const auto per_node = [](const MeasuredRow& row) { return row.ranks / row.nodes; };
  std::vector<TrendCount> trends = {
      count_trend(
          table, "size",
          [](const MeasuredRow& row) {
            return std::pair(shape(row), std::pair(row.nodes, row.ranks));
          },
          size),
      count_trend(
          table, "GPUs of a node",
          [&](const MeasuredRow& row) {
            return std::pair(shape(row), std::pair(row.nodes, size(row)));
          },
          per_node),
      count_trend(
          table, "nodes",
          [&](const MeasuredRow& row) {
            return std::pair(shape(row), std::pair(per_node(row), size(row)));
          },
          [](const MeasuredRow& row) { return row.nodes; })};
  std::erase_if(trends, [](const TrendCount& trend) { return trend.pairs == 0; });
  return trends;
}

bool is_exchange(std::string_view table) {
  const std::span<const MeasuredSource> sources = exchange_sources();
  return std::any_of(sources.begin(), sources.end(),
                     [&](const MeasuredSource& source) { return source.table == table; });
}

bool named(const MeasuredSource& source, const std::vector<std::string>& names) {
  const std::string_view kind = is_exchange(source.table) ? "exchanges" : "collectives";
  return names.empty() || std::any_of(names.begin(), names.end(), [&](const std::string& name) {
           return name == source.table || name == kind;
         });
}

}  // namespace

ErrorSummary errors_of(const TableAccuracy& table, bool (*use)(const PredictedRow&)) {
  std::vector<MeasuredRow> rows;
  std::vector<double> predicted;
  for (const PredictedRow& each : table.predicted) {
    if (!counts(each) || !use(each)) continue;
    rows.push_back(each.row);
    predicted.push_back(each.predicted_s);
  }
  return summarise_errors(rows, predicted, std::vector<bool>(rows.size(), true));
}

std::vector<TableAccuracy> measure_accuracy(const Catalog& catalog, const std::string& data_folder,
                                            const std::vector<std::string>& names) {
  std::vector<TableAccuracy> tables;
  for (const MeasuredSource& source : measured_sources()) {
    if (!named(source, names)) continue;
    TableAccuracy table{source, 1, 0, {}, {}};
    const std::vector<MeasuredRow> rows = read_measured(source.table, data_folder);
    table.rows = static_cast<std::int64_t>(rows.size());
    table.every = static_cast<int>((rows.size() + kMostRows - 1) / kMostRows);
    // Dispatch and combine take turns in a table: an odd step keeps both.
    if (table.every > 1 && rows.front().tokens > 0) table.every |= 1;
    for (std::size_t i = 0; i < rows.size(); i += static_cast<std::size_t>(table.every)) {
      table.predicted.emplace_back().row = rows[i];
    }
    tables.push_back(std::move(table));
  }
  for (const std::string& name : names) {
    if (name == "collectives" || name == "exchanges") continue;
    const bool found = std::any_of(tables.begin(), tables.end(), [&](const TableAccuracy& table) {
      return table.source.table == name;
    });
    if (!found) read_measured(name, data_folder);  // throws: no such table
  }
  // As large as what was measured: idle nodes would move the leaves that its transfers cross.
  std::map<std::pair<std::string, int>, std::unique_ptr<Machine>> machines;
  for (TableAccuracy& table : tables) {
    for (PredictedRow& each : table.predicted) {
      const std::string& name = each.row.cluster;
      std::unique_ptr<Machine>& machine = machines[{name, each.row.nodes}];
      if (machine == nullptr) machine = std::make_unique<Machine>(catalog, name, each.row.nodes);
      if (each.row.tokens > 0) {
        predict_exchange(machine->predictor, each);
      } else {
        predict_collective(*machine, each);
      }
    }
    table.trends = count_trends(table);
  }
  mark_disputed(tables);
  return tables;
}

}  // namespace sim
