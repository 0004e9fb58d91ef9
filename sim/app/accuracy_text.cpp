#include "sim/app/accuracy_text.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

namespace sim {
namespace {

constexpr double kMeanTarget = 0.10;
constexpr double kTailTarget = 0.25;

std::string percent(double share) { return fmt::format("{:.1f}", 100 * share); }

std::string mean_and_tail(const ErrorSummary& errors) {
  if (errors.rows == 0) return "-";
  return fmt::format("{} / {} ({})", percent(errors.mean), percent(errors.p95), errors.rows);
}

double error_of(const PredictedRow& each) { return each.predicted_s / each.row.time_s - 1; }

bool not_fitted(const PredictedRow& each) { return !each.fitted; }

std::string verdict(const ErrorSummary& tested) {
  if (tested.rows == 0) return "-";
  return tested.mean <= kMeanTarget && tested.p95 <= kTailTarget ? "yes" : "**no**";
}

void add_overview(const std::vector<TableAccuracy>& tables, std::string& text) {
  text +=
      "| table | fitted rows | rows not fitted | without disputed | median | p90 | worst | bias | "
      "below 8 MiB | from 8 MiB | on target |\n|--|--|--|--|--|--|--|--|--|--|--|\n";
  for (const TableAccuracy& table : tables) {
    const ErrorSummary tested = errors_of(table, not_fitted);
    const auto only = [&](bool (*use)(const PredictedRow&)) {
      return mean_and_tail(errors_of(table, use));
    };
    text += fmt::format(
        "| {} | {} | {} | {} | {} | {} | {} | {:+.1f} | {} | {} | {} |\n", table.source.table,
        only([](const PredictedRow& r) { return r.fitted; }), mean_and_tail(tested),
        only([](const PredictedRow& r) { return !r.fitted && !r.disputed; }),
        tested.rows > 0 ? percent(tested.median) : "-", tested.rows > 0 ? percent(tested.p90) : "-",
        tested.rows > 0 ? percent(tested.worst) : "-", 100 * tested.bias,
        only([](const PredictedRow& r) { return !r.fitted && decode_like(r.row); }),
        only([](const PredictedRow& r) { return !r.fitted && !decode_like(r.row); }),
        verdict(tested));
  }
}

void add_trends(const std::vector<TableAccuracy>& tables, std::string& text) {
  std::map<std::string, TrendCount> all;
  std::string wrong;
  for (const TableAccuracy& table : tables) {
    for (const TrendCount& trend : table.trends) {
      TrendCount& sum = all[trend.what];
      sum.pairs += trend.pairs;
      sum.right += trend.right;
      if (trend.right < trend.pairs) {
        wrong += fmt::format("{}{}: {} {} of {}", wrong.empty() ? "" : "; ", table.source.table,
                             trend.what, trend.pairs - trend.right, trend.pairs);
      }
    }
  }
  for (const auto& [what, trend] : all) {
    text += fmt::format("- {}: {} of {} pairs have the measured sign\n", what, trend.right,
                        trend.pairs);
  }
  if (!wrong.empty()) text += fmt::format("- wrong in {}\n", wrong);
}

// "#17 +31 %": by operation and shape, so that a page holds them.
void add_misses(const TableAccuracy& table, std::string& text) {
  std::vector<std::pair<std::string, std::string>> lines;
  for (const PredictedRow& each : table.predicted) {
    if (each.row.implausible || !each.unanswered.empty()) continue;
    if (each.fitted || std::abs(error_of(each)) <= kTailTarget) continue;
    const std::string shape = fmt::format("{}, {} x {}", each.row.operation, each.row.nodes,
                                          each.row.ranks / each.row.nodes);
    if (lines.empty() || lines.back().first != shape) lines.push_back({shape, ""});
    lines.back().second +=
        fmt::format(" #{} {:+.0f} %{}", each.row.id.substr(each.row.id.rfind('#') + 1),
                    100 * error_of(each), each.disputed ? "*" : "");
  }
  if (lines.empty()) return;
  text += fmt::format("\n{}:\n", table.source.table);
  for (const auto& [shape, rows] : lines) text += fmt::format("- {}:{}\n", shape, rows);
}

void add_left_out(const std::vector<TableAccuracy>& tables, std::string& text) {
  std::map<std::string, int> reasons;
  for (const TableAccuracy& table : tables) {
    for (const PredictedRow& each : table.predicted) {
      const std::string why = !each.unanswered.empty() ? each.unanswered
                              : each.row.implausible   ? each.row.note
                                                       : "";
      if (!why.empty()) {
        ++reasons[fmt::format("{}, {}: {}", table.source.table, each.row.operation, why)];
      }
    }
  }
  for (const auto& [why, count] : reasons) text += fmt::format("- {} rows of {}\n", count, why);
}

}  // namespace

std::string accuracy_markdown(const std::vector<TableAccuracy>& tables) {
  std::string text;
  add_overview(tables, text);
  text += "\n## Tables\n\n";
  for (const TableAccuracy& table : tables) {
    text += fmt::format(
        "- {}: {}{}, on `{}`", table.source.table, table.source.cite,
        table.source.library.empty() ? std::string() : fmt::format(", {}", table.source.library),
        table.source.cluster);
    if (table.every > 1) {
      text += fmt::format("; one in {} of its {} rows", table.every, table.rows);
    }
    text += "\n";
  }
  text += "\n## Signs of trends\n\n";
  add_trends(tables, text);
  text += "\n## Rows not fitted that are off by more than 25 %\n\n";
  text +=
      "Positive is too slow; `*` marks rows on which two published tables differ by more than "
      "25 %.\n";
  for (const TableAccuracy& table : tables) add_misses(table, text);
  text += "\n## Rows left out\n\n";
  add_left_out(tables, text);
  return text;
}

std::string accuracy_json(const std::vector<TableAccuracy>& tables) {
  nlohmann::ordered_json json;
  json["tables"] = nlohmann::ordered_json::array();
  json["rows"] = nlohmann::ordered_json::array();
  for (const TableAccuracy& table : tables) {
    const ErrorSummary tested = errors_of(table, not_fitted);
    json["tables"].push_back({{"table", table.source.table},
                              {"source", table.source.cite},
                              {"cluster", table.source.cluster},
                              {"rows", table.rows},
                              {"every", table.every},
                              {"not_fitted_rows", tested.rows},
                              {"not_fitted_mean_error", tested.mean},
                              {"not_fitted_p95_error", tested.p95},
                              {"not_fitted_worst_row", tested.worst_row}});
    for (const PredictedRow& each : table.predicted) {
      nlohmann::ordered_json row = {
          {"id", each.row.id},           {"table", each.row.table},
          {"cluster", each.row.cluster}, {"operation", each.row.operation},
          {"algorithm", each.algorithm}, {"nodes", each.row.nodes},
          {"ranks", each.row.ranks},     {"bytes", each.row.bytes.count()},
          {"tokens", each.row.tokens},   {"time_s", each.row.time_s}};
      if (each.unanswered.empty()) {
        row["simulated_s"] = each.predicted_s;
        row["error"] = error_of(each);
      } else {
        row["unanswered"] = each.unanswered;
      }
      row["fitted"] = each.fitted;
      row["disputed"] = each.disputed;
      row["label"] = each.label;
      row["implausible"] = each.row.implausible;
      row["note"] = each.row.note;
      json["rows"].push_back(std::move(row));
    }
  }
  return json.dump(1) + "\n";
}

}  // namespace sim
