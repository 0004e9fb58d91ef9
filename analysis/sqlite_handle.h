// One open SQLite file and its statements, with failures as Errors that name the file. Only for
// result_store.cpp and query.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sim/core/id.h"
#include "sim/core/units.h"

struct sqlite3;
struct sqlite3_stmt;

namespace sim {

class SqliteFile {
 public:
  enum class Mode { kRead, kWrite };  // kWrite makes the file when it is missing

  // Throws Error when it cannot be opened in this mode: missing, a folder, read-only, ...
  SqliteFile(const std::string& path, Mode mode);

  void execute(const std::string& sql);         // any number of statements, results unread
  std::int64_t number(const std::string& sql);  // first cell of the first row, 0 without one
  // Throws Error unless this is a results database of kSchemaVersion.
  void check_is_results();

  sqlite3* raw() const { return file_.get(); }
  const std::string& path() const { return path_; }
  // What the last call on this file complained about, for people.
  [[noreturn]] void fail() const;

 private:
  struct Close {
    void operator()(sqlite3* file) const;
  };
  std::string path_;
  std::unique_ptr<sqlite3, Close> file_;
};

// A prepared statement. Parameters count from 1, columns from 0. A text that is bound must live
// until the next reset.
class SqliteStatement {
 public:
  SqliteStatement(SqliteFile& file, std::string_view sql);

  bool step();  // true: a row is there
  void reset();
  int parameters() const;
  std::int64_t integer(int column) const;

  void bind(int index, std::int64_t value);
  void bind(int index, int value) { bind(index, std::int64_t{value}); }
  void bind(int index, double value);
  void bind(int index, std::string_view value);
  void bind(int index, const std::string& value) { bind(index, std::string_view(value)); }
  void bind(int index, Duration value) { bind(index, std::int64_t{value.count()}); }
  void bind(int index, Time value) { bind(index, to_ps(value)); }
  void bind(int index, Bytes value) { bind(index, value.count()); }
  void bind(int index, Bandwidth value) { bind(index, value.count()); }
  template <class Tag>
  void bind(int index, Id<Tag> value) {
    bind(index, std::int64_t{value.value()});
  }
  template <class T>
  void bind(int index, const std::optional<T>& value) {
    value ? bind(index, *value) : bind_null(index);
  }
  void bind_null(int index);

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  SqliteFile& file_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

}  // namespace sim
