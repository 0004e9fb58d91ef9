// Questions about a results database: the named ones of analysis/queries, or the user's own SQL.
//
// Queries only read: the file is opened read-only and everything but SELECT (and asking PRAGMAs) is
// refused before any statement runs. The view `this_run` is the run asked about.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace sim {

struct NamedQuery {
  std::string_view name;  // the file's name in analysis/queries without .sql
  std::string_view help;  // its first line
  std::string_view sql;
};

// In the order of their names.
std::span<const NamedQuery> named_queries();

using Cell = std::variant<std::monostate, std::int64_t, double, std::string>;  // monostate: NULL

struct QueryResult {
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;
};

struct QueryOptions {
  std::optional<std::int64_t> run;    // instead of the latest
  std::function<bool()> interrupted;  // asked now and then; true ends the query with an Error
};

// One result per statement (`dump` has several). A text of one word is a name, any other is SQL.
// Throws Error: no such file, no results database, no such run, unknown name, faulty SQL (with line
// and column), a query that writes, interrupted.
std::vector<QueryResult> run_query(const std::string& path, const std::string& name_or_sql,
                                   const QueryOptions& options = {});

// The same row by row, for results that do not fit in memory. on_columns comes once per statement.
struct QuerySink {
  std::function<void(const std::vector<std::string>&)> on_columns;
  std::function<void(const std::vector<Cell>&)> on_row;
};
void stream_query(const std::string& path, const std::string& name_or_sql,
                  const QueryOptions& options, const QuerySink& sink);

// An aligned table: numbers to the right with 6 digits, cells cut at `widest` with an ellipsis.
std::string to_table(const QueryResult& result, std::size_t widest = 48);
// RFC 4180; numbers with all digits, NULL is empty. A blank line between results.
void write_csv(std::ostream& out, const std::vector<QueryResult>& results);
// Exact text of a cell: all digits of a number, "" for NULL.
std::string to_text(const Cell& cell);

}  // namespace sim
