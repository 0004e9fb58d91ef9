#include "sim/app/validation/validation_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "analysis/summary.h"

namespace sim {
namespace {

// Four digits that count, whole above: "0.01235", "1.067", "6304".
std::string number(double value) {
  return std::abs(value) >= 1e4 && std::abs(value) < 1e7 ? fmt::format("{:.0f}", value)
                                                         : fmt::format("{:.4g}", value);
}

std::string simulated(const ValidatedRow& row) {
  return row.simulated ? number(*row.simulated) : "-";
}

std::string error(const ValidatedRow& row) {
  return row.error ? fmt::format("{:+.1f} %", *row.error * 100) : "-";
}

std::string verdict(const ValidatedRow& row) {
  switch (row.state) {
    case RowState::kDone:
      return std::string(row.pass ? "pass" : "miss") + (row.fitted ? ", fitted" : "");
    case RowState::kRefused:
      return "refused";
    case RowState::kEarlier:
      return std::string(row.pass ? "pass" : "miss") + (row.fitted ? ", fitted" : "") + ", earlier";
    case RowState::kSlow:
      return "slow, not run";
    case RowState::kNotRun:
      return "not run";
  }
  SIM_CHECK(false, "every state has a word");
}

// Calls `visit(first, end)` for the rows of each file.
template <class Visit>
void by_file(const Validation& validation, Visit visit) {
  auto begin = validation.rows.begin();
  while (begin != validation.rows.end()) {
    const auto end = std::find_if(begin, validation.rows.end(), [&](const ValidatedRow& row) {
      return row.system != begin->system;
    });
    visit(begin, end);
    begin = end;
  }
}

std::string cell(std::string text) {
  for (std::size_t at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2))
    text.insert(at, "\\");
  return text;
}

}  // namespace

std::string validation_counts(const Validation& validation) {
  int pass = 0;
  int fitted = 0;
  int miss = 0;
  int unexplained = 0;
  int refused = 0;
  int slow = 0;
  int earlier = 0;
  int not_run = 0;
  for (const ValidatedRow& row : validation.rows) {
    if (row.state == RowState::kNotRun) ++not_run;
    if (row.state == RowState::kSlow) ++slow;
    if (row.state == RowState::kRefused) ++refused;
    if (row.state == RowState::kEarlier) ++earlier;
    if (row.state != RowState::kDone && row.state != RowState::kEarlier) continue;
    ++(row.pass ? pass : miss);
    if (row.pass && row.fitted) ++fitted;
    if (!row.pass && row.reason.empty()) ++unexplained;
  }
  std::string text = fmt::format("{} rows, {} scenarios run: {} pass", validation.rows.size(),
                                 validation.runs, pass);
  if (fitted > 0) text += fmt::format(" ({} of them fitted)", fitted);
  text += fmt::format(", {} miss", miss);
  if (unexplained > 0) text += fmt::format(" ({} without a reason)", unexplained);
  if (earlier > 0) text += fmt::format(", {} of both from earlier runs of slow rows", earlier);
  if (refused > 0) text += fmt::format(", {} are refused", refused);
  if (slow > 0) text += fmt::format(", {} are slow and wait for --all", slow);
  if (not_run > 0) text += fmt::format(", {} cannot be run", not_run);
  return text;
}

std::string validation_text(const Validation& validation) {
  std::string out;
  by_file(validation, [&](auto begin, auto end) {
    TextTable table;
    for (const char* name : {"row", "figure"}) table.add_column(name);
    for (const char* name : {"published", "simulated"}) table.add_column(name, Align::kRight);
    table.add_column("unit");
    table.add_column("error", Align::kRight);
    table.add_column("");
    std::string reasons;
    for (auto row = begin; row != end; ++row) {
      table.add_row({row->row->id, row->row->figure, number(row->row->published), simulated(*row),
                     row->row->unit, error(*row), verdict(*row)});
      if (!row->reason.empty()) reasons += "  " + row->row->id + ": " + row->reason + "\n";
    }
    out += heading(begin->system->system) + begin->system->source + "\n\n" + table.text(72);
    if (!reasons.empty()) out += "\nWhy\n" + reasons;
    out += "\n";
  });
  return out + validation_counts(validation) + "\n";
}

std::string validation_json(const Validation& validation) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const ValidatedRow& row : validation.rows) {
    nlohmann::ordered_json json = {{"id", row.row->id},         {"system", row.system->system},
                                   {"figure", row.row->figure}, {"published", row.row->published},
                                   {"simulated", nullptr},      {"unit", row.row->unit},
                                   {"error", nullptr},          {"fitted", nullptr},
                                   {"pass", nullptr},           {"source", row.system->source},
                                   {"reason", row.reason}};
    if (row.simulated) {
      json["simulated"] = *row.simulated;
      json["error"] = *row.error;
      json["fitted"] = row.fitted;
      json["pass"] = row.pass;
    } else if (row.state == RowState::kRefused) {
      json["pass"] = false;
    } else if (row.state == RowState::kSlow) {
      json["reason"] =
          "slow, not run: --all runs it" + (row.reason.empty() ? "" : "; known: " + row.reason);
    }
    all.push_back(std::move(json));
  }
  return all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string validation_markdown(const Validation& validation) {
  std::string out =
      "# Published figures, simulated\n\n"
      "Made by `simulate validate --markdown`; `--all` runs the slow rows too. A test recomputes "
      "the quick ones; *earlier* rows are slow, and stand as the files of slow/ left them. "
      "[README.md](README.md) says what stands behind a row.\n\n" +
      validation_counts(validation) +
      ".\n\nError is simulated over published, less one. It passes within the tolerance of its "
      "kind (tolerances.yaml). *fitted*: a constant that its runs read was fitted to the row or "
      "its table, so the row predicts nothing.\n";
  by_file(validation, [&](auto begin, auto end) {
    out += fmt::format("\n## {}\n\n{}\n\n", begin->system->system, begin->system->source);
    out += "| row | figure | published | simulated | unit | error | | why |\n";
    out += "|---|---|--:|--:|---|--:|---|---|\n";
    for (auto row = begin; row != end; ++row) {
      out += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} |\n", row->row->id,
                         cell(row->row->figure), number(row->row->published), simulated(*row),
                         cell(row->row->unit), error(*row), verdict(*row), cell(row->reason));
    }
  });
  return out;
}

}  // namespace sim
