// simulate query: named questions about a results database, or the user's own SQL; read-only.
#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/query.h"
#include "analysis/summary.h"
#include "sim/app/commands/commands.h"
#include "sim/core/error.h"

namespace sim {
namespace {

volatile std::sig_atomic_t interrupted = 0;

struct QueryArguments {
  std::string database;
  std::string question;
  std::optional<std::int64_t> run;
  bool csv = false;
  bool json = false;
};

nlohmann::ordered_json to_json(const Cell& cell) {
  if (std::holds_alternative<std::int64_t>(cell)) return std::get<std::int64_t>(cell);
  if (std::holds_alternative<double>(cell)) return std::get<double>(cell);
  if (std::holds_alternative<std::string>(cell)) return std::get<std::string>(cell);
  return nullptr;
}

void list_questions() {
  TextTable table;
  table.add_column("question");
  table.add_column("");
  for (const NamedQuery& query : named_queries())
    table.add_row({std::string(query.name), std::string(query.help)});
  std::cout << table.text(90);
}

void query(const QueryArguments& arguments) {
  if (arguments.question.empty()) {
    run_query(arguments.database, "SELECT 1");  // it must be one, all the same
    list_questions();
    return;
  }
  std::signal(SIGINT, [](int) { interrupted = 1; });
  QueryOptions options;
  options.run = arguments.run;
  options.interrupted = [] { return interrupted != 0; };
  const std::vector<QueryResult> results =
      run_query(arguments.database, arguments.question, options);
  if (arguments.csv) {
    write_csv(std::cout, results);
    return;
  }
  if (arguments.json) {
    nlohmann::ordered_json all = nlohmann::ordered_json::array();
    for (const QueryResult& result : results) {
      nlohmann::ordered_json rows = nlohmann::ordered_json::array();
      for (const auto& row : result.rows) {
        nlohmann::ordered_json object;
        for (std::size_t c = 0; c < row.size(); ++c) object[result.columns[c]] = to_json(row[c]);
        rows.push_back(std::move(object));
      }
      all.push_back(std::move(rows));
    }
    std::cout << (all.size() == 1 ? all.front() : all)
                     .dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
              << "\n";
    return;
  }
  for (std::size_t i = 0; i < results.size(); ++i)
    std::cout << (i == 0 ? "" : "\n") << to_table(results[i]);
}

}  // namespace

void attach_query(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "query", "ask a results database: a named question, or your own SQL (read-only)");
  auto arguments = std::make_shared<QueryArguments>();
  command->add_option("database", arguments->database, "what `simulate run --results` wrote")
      ->required();
  command->add_option("question", arguments->question,
                      "a name (none: list them) or SQL; the view this_run is the run asked about");
  command->add_option("--run", arguments->run, "the run_id asked about, instead of the latest");
  auto* csv = command->add_flag("--csv", arguments->csv, "as CSV with all digits");
  command->add_flag("--json", arguments->json, "as JSON")->excludes(csv);
  command->callback([arguments] { query(*arguments); });
}

}  // namespace sim
