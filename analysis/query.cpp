#include "analysis/query.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <ostream>

#include "analysis/embedded_sql.h"
#include "analysis/sqlite_handle.h"
#include "analysis/summary.h"
#include "sim/core/error.h"

namespace sim {
namespace {

constexpr int kOperationsBetweenInterrupts = 100000;  // of SQLite's machine: some milliseconds

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

struct QueryText {
  std::string title;  // what an error names as its file
  std::string sql;
};

std::vector<NamedQuery> read_named_queries() {
  std::vector<NamedQuery> queries;
  for (const EmbeddedSql& file : embedded_queries()) {
    SIM_CHECK(file.text.starts_with("-- "), fmt::format("{}.sql begins with its help", file.name));
    queries.push_back({file.name, file.text.substr(3, file.text.find('\n') - 3), file.text});
  }
  std::sort(queries.begin(), queries.end(),
            [](const NamedQuery& a, const NamedQuery& b) { return a.name < b.name; });
  return queries;
}

QueryText find_query(const std::string& name_or_sql) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t first = name_or_sql.find_first_not_of(kSpace);
  if (first == std::string::npos) throw Error("the query is empty", "name one, or write a SELECT");
  const std::string text =
      name_or_sql.substr(first, name_or_sql.find_last_not_of(kSpace) - first + 1);
  std::string names;
  for (const NamedQuery& query : named_queries()) {
    if (query.name == text) return {std::string(query.name) + ".sql", std::string(query.sql)};
    names += (names.empty() ? "" : ", ") + std::string(query.name);
  }
  if (text.find_first_of(" \t\r\n;(") == std::string::npos) {
    throw Error(fmt::format("there is no query named '{}'", text), "possible: " + names);
  }
  return {"query", name_or_sql};
}

struct ActionName {
  int action;
  std::string_view verb;
};
constexpr std::array kWritingActions{ActionName{SQLITE_INSERT, "INSERT INTO"},
                                     ActionName{SQLITE_UPDATE, "UPDATE"},
                                     ActionName{SQLITE_DELETE, "DELETE FROM"},
                                     ActionName{SQLITE_ATTACH, "ATTACH"},
                                     ActionName{SQLITE_DETACH, "DETACH"},
                                     ActionName{SQLITE_ALTER_TABLE, "ALTER TABLE in"},
                                     ActionName{SQLITE_PRAGMA, "PRAGMA"},
                                     ActionName{SQLITE_TRANSACTION, "change transaction:"},
                                     ActionName{SQLITE_SAVEPOINT, "SAVEPOINT"},
                                     ActionName{SQLITE_REINDEX, "REINDEX"},
                                     ActionName{SQLITE_ANALYZE, "ANALYZE"},
                                     ActionName{SQLITE_DROP_TABLE, "DROP TABLE"},
                                     ActionName{SQLITE_DROP_VIEW, "DROP VIEW"},
                                     ActionName{SQLITE_CREATE_TABLE, "CREATE TABLE"},
                                     ActionName{SQLITE_CREATE_VIEW, "CREATE VIEW"},
                                     ActionName{SQLITE_CREATE_INDEX, "CREATE INDEX"}};

// Questions about the file that change nothing. With an argument only the second kind is asked.
constexpr std::array<std::string_view, 6> kPlainPragmas{
    "user_version", "application_id", "journal_mode", "database_list", "page_count", "table_list"};
constexpr std::array<std::string_view, 6> kNamingPragmas{
    "table_info", "table_xinfo", "index_list", "index_info", "integrity_check", "quick_check"};

bool is_asking_pragma(std::string_view name, const char* argument) {
  const auto among = [&](const auto& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  return among(kNamingPragmas) || (argument == nullptr && among(kPlainPragmas));
}

// SQLite asks before each part of a statement; what writes is refused and remembered for the error.
int authorize(void* refused, int action, const char* first, const char* second, const char*,
              const char*) {
  if (action == SQLITE_SELECT || action == SQLITE_READ || action == SQLITE_FUNCTION ||
      action == SQLITE_RECURSIVE) {
    return SQLITE_OK;
  }
  if (action == SQLITE_PRAGMA && is_asking_pragma(first, second)) return SQLITE_OK;
  std::string& what = *static_cast<std::string*>(refused);
  if (!what.empty()) return SQLITE_DENY;
  what = "change the file";
  if (first != nullptr && std::string_view(first).starts_with("sqlite_")) {
    what = "change the schema";  // CREATE and DROP first ask for rows of sqlite_master
    return SQLITE_DENY;
  }
  for (const ActionName& name : kWritingActions) {
    if (name.action != action) continue;
    what = std::string(name.verb) + (first == nullptr ? "" : " " + std::string(first));
  }
  return SQLITE_DENY;
}

Place place_in(const QueryText& query, std::size_t offset) {
  Place place{query.title, 1, 1};
  for (std::size_t i = 0; i < offset && i < query.sql.size(); ++i) {
    ++place.column;
    if (query.sql[i] == '\n') {
      ++place.line;
      place.column = 1;
    }
  }
  return place;
}

Error writing_error(const QueryText& query, std::size_t offset, const std::string& what) {
  return Error(place_in(query, offset), fmt::format("a query only reads; this one would {}", what),
               "use SELECT, or change a copy of the file with sqlite3");
}

// All statements of the text, before any of them runs.
std::vector<Statement> prepare(SqliteFile& file, const QueryText& query) {
  std::string refused;
  sqlite3_set_authorizer(file.raw(), authorize, &refused);
  std::vector<Statement> statements;
  const char* const begin = query.sql.c_str();
  const char* const end = begin + query.sql.size();
  for (const char* next = begin; next < end;) {
    sqlite3_stmt* prepared = nullptr;
    const auto offset = static_cast<std::size_t>(next - begin);
    const int code =
        sqlite3_prepare_v2(file.raw(), next, static_cast<int>(end - next), &prepared, &next);
    Statement statement(prepared);
    if (!refused.empty()) throw writing_error(query, offset, refused);
    if (code != SQLITE_OK) {
      if (code != SQLITE_ERROR) file.fail();
      const int within = sqlite3_error_offset(file.raw());
      throw Error(place_in(query, offset + static_cast<std::size_t>(std::max(within, 0))),
                  sqlite3_errmsg(file.raw()),
                  "tables and columns: SELECT name, sql FROM sqlite_schema");
    }
    if (statement == nullptr) continue;  // a comment or white space
    if (sqlite3_stmt_readonly(prepared) == 0) throw writing_error(query, offset, "change a file");
    statements.push_back(std::move(statement));
  }
  sqlite3_set_authorizer(file.raw(), nullptr, nullptr);
  return statements;
}

// Lets the view this_run show `run`: a temporary view hides the one in the file.
void choose_run(SqliteFile& file, std::int64_t run) {
  if (file.number(fmt::format("SELECT count(*) FROM runs WHERE run_id = {}", run)) == 0) {
    const std::int64_t runs = file.number("SELECT count(*) FROM runs");
    throw Error(Place{file.path(), 0, 0}, fmt::format("there is no run {}", run),
                fmt::format("the file has {} runs; `simulate query FILE runs` lists them", runs));
  }
  file.execute(
      fmt::format("PRAGMA temp_store = MEMORY; CREATE TEMP VIEW this_run AS "
                  "SELECT * FROM main.runs WHERE run_id = {}",
                  run));
}

Cell cell_of(sqlite3_stmt* statement, int column) {
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_NULL:
      return std::monostate{};
    case SQLITE_INTEGER:
      return std::int64_t{sqlite3_column_int64(statement, column)};
    case SQLITE_FLOAT:
      return sqlite3_column_double(statement, column);
    default: {  // text, or bytes as they are
      const auto* text = static_cast<const char*>(sqlite3_column_blob(statement, column));
      const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, column));
      return text == nullptr ? std::string() : std::string(text, size);
    }
  }
}

void run_statement(SqliteFile& file, const QueryText& query, sqlite3_stmt* statement,
                   const QuerySink& sink) {
  const int columns = sqlite3_column_count(statement);
  std::vector<std::string> names;
  names.reserve(static_cast<std::size_t>(columns));
  for (int c = 0; c < columns; ++c) names.emplace_back(sqlite3_column_name(statement, c));
  sink.on_columns(names);
  std::vector<Cell> row(names.size());
  int code = SQLITE_ROW;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    for (int c = 0; c < columns; ++c) row[static_cast<std::size_t>(c)] = cell_of(statement, c);
    sink.on_row(row);
  }
  if (code == SQLITE_DONE) return;
  if (code == SQLITE_INTERRUPT) throw Error(Place{query.title, 0, 0}, "the query was interrupted");
  if (code == SQLITE_ERROR) throw Error(Place{query.title, 0, 0}, sqlite3_errmsg(file.raw()));
  file.fail();
}

int ask_interrupted(void* asked) {
  return (*static_cast<const std::function<bool()>*>(asked))() ? 1 : 0;
}

bool is_number(const Cell& cell) {
  return std::holds_alternative<std::int64_t>(cell) || std::holds_alternative<double>(cell);
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

std::span<const NamedQuery> named_queries() {
  static const std::vector<NamedQuery> queries = read_named_queries();
  return queries;
}

void stream_query(const std::string& path, const std::string& name_or_sql,
                  const QueryOptions& options, const QuerySink& sink) {
  const QueryText query = find_query(name_or_sql);
  SqliteFile file(path, SqliteFile::Mode::kRead);
  file.check_is_results();
  if (options.run) choose_run(file, *options.run);
  if (options.interrupted) {
    auto* asked = const_cast<std::function<bool()>*>(&options.interrupted);
    sqlite3_progress_handler(file.raw(), kOperationsBetweenInterrupts, ask_interrupted, asked);
  }
  for (const Statement& statement : prepare(file, query)) {
    if (sqlite3_column_count(statement.get()) == 0) continue;  // a PRAGMA without an answer
    run_statement(file, query, statement.get(), sink);
  }
}

std::vector<QueryResult> run_query(const std::string& path, const std::string& name_or_sql,
                                   const QueryOptions& options) {
  std::vector<QueryResult> results;
  QuerySink sink;
  sink.on_columns = [&](const auto& columns) { results.push_back({columns, {}}); };
  sink.on_row = [&](const auto& row) { results.back().rows.push_back(row); };
  stream_query(path, name_or_sql, options, sink);
  return results;
}

std::string to_text(const Cell& cell) {
  if (const auto* integer = std::get_if<std::int64_t>(&cell)) return fmt::to_string(*integer);
  if (const auto* real = std::get_if<double>(&cell)) return fmt::format("{}", *real);
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  return "";
}

std::string to_table(const QueryResult& result, std::size_t widest) {
  TextTable table;
  for (std::size_t c = 0; c < result.columns.size(); ++c) {
    bool numbers = !result.rows.empty();
    for (const auto& row : result.rows) {
      numbers = numbers && (is_number(row[c]) || std::holds_alternative<std::monostate>(row[c]));
    }
    table.add_column(result.columns[c], numbers ? Align::kRight : Align::kLeft);
  }
  for (const auto& row : result.rows) {
    std::vector<std::string> cells;
    for (const Cell& cell : row) {
      const auto* real = std::get_if<double>(&cell);
      cells.push_back(real != nullptr ? fmt::format("{:.6g}", *real) : to_text(cell));
    }
    table.add_row(std::move(cells));
  }
  return table.text(widest);
}

void write_csv(std::ostream& out, const std::vector<QueryResult>& results) {
  for (std::size_t r = 0; r < results.size(); ++r) {
    if (r > 0) out << "\n";
    for (std::size_t c = 0; c < results[r].columns.size(); ++c) {
      out << (c > 0 ? "," : "") << csv_field(results[r].columns[c]);
    }
    out << "\n";
    for (const auto& row : results[r].rows) {
      for (std::size_t c = 0; c < row.size(); ++c) {
        out << (c > 0 ? "," : "") << csv_field(to_text(row[c]));
      }
      out << "\n";
    }
  }
}

}  // namespace sim
