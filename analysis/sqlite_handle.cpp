#include "analysis/sqlite_handle.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <filesystem>

#include "analysis/result_store.h"
#include "sim/core/error.h"

namespace sim {
namespace {

constexpr int kBusyTimeoutMs = 10000;  // another run that appends to the file holds it for one step

Error database_error(const std::string& path, int code, const std::string& reason) {
  const Place place{path, 0, 0};
  switch (code & 0xFF) {
    case SQLITE_NOTADB:
      return Error(place, "not a results database", "name another file");
    case SQLITE_CORRUPT:
      return Error(place, "the results database is damaged: " + reason,
                   "`sqlite3 FILE .recover` may save its rows");
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return Error(place, "the results database is read-only",
                   "name another file, or allow writing to this one and its folder");
    case SQLITE_FULL:
    case SQLITE_IOERR:
      return Error(place, "cannot read or write the results database: " + reason,
                   "is the disk full? the steps written before are kept");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Error(place, "the results database is in use by another program",
                   "wait for it, or name another file");
    case SQLITE_CANTOPEN:
      return Error(place, "cannot open the results database",
                   "is it a file, and may you write to it and to its folder?");
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
      return Error(place, "a value is too large for the results database: " + reason);
    default:
      throw InternalError(fmt::format("{}: SQLite error {}: {}", path, code, reason));
  }
}

void check_path(const std::string& path, SqliteFile::Mode mode) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const Place place{path, 0, 0};
  if (path.empty()) throw Error("the results database has no file name", "give one: results.db");
  if (fs::is_directory(path, ignored)) {
    throw Error(place, "is a folder, not a results database", "name a file in it");
  }
  if (mode == SqliteFile::Mode::kRead && !fs::exists(path, ignored)) {
    throw Error(place, "no such results database", "`simulate run --results FILE.db` makes one");
  }
  const fs::path folder = fs::path(path).parent_path();
  if (!folder.empty() && !fs::is_directory(folder, ignored)) {
    throw Error(place, fmt::format("there is no folder '{}'", folder.string()),
                "make the folder first, or name another file");
  }
}

// A run that was killed in the middle of a write leaves a journal that only a writer may roll back.
bool needs_recovery(sqlite3* file) {
  sqlite3_exec(file, "SELECT count(*) FROM sqlite_schema", nullptr, nullptr, nullptr);
  const int code = sqlite3_extended_errcode(file);
  return code == SQLITE_READONLY_ROLLBACK || code == SQLITE_READONLY_RECOVERY;
}

}  // namespace

void SqliteFile::Close::operator()(sqlite3* file) const { sqlite3_close(file); }

SqliteFile::SqliteFile(const std::string& path, Mode mode) : path_(path) {
  check_path(path, mode);
  // "./" keeps names such as ":memory:" and "file:..." from meaning more than a file.
  const std::string name = std::filesystem::path(path).is_absolute() ? path : "./" + path;
  sqlite3* opened = nullptr;
  const int flags =
      mode == Mode::kRead ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  const int code = sqlite3_open_v2(name.c_str(), &opened, flags, nullptr);
  file_.reset(opened);
  if (code != SQLITE_OK) throw database_error(path, code, sqlite3_errstr(code));
  sqlite3_extended_result_codes(raw(), 1);
  sqlite3_busy_timeout(raw(), kBusyTimeoutMs);
  if (mode == Mode::kWrite && sqlite3_db_readonly(raw(), "main") == 1) {
    throw database_error(path, SQLITE_READONLY, "");
  }
  if (mode == Mode::kRead && needs_recovery(raw()))
    SqliteFile(path, Mode::kWrite).number("SELECT count(*) FROM sqlite_schema");
}

void SqliteFile::fail() const {
  throw database_error(path_, sqlite3_extended_errcode(raw()), sqlite3_errmsg(raw()));
}

void SqliteFile::execute(const std::string& sql) {
  if (sqlite3_exec(raw(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail();
}

std::int64_t SqliteFile::number(const std::string& sql) {
  SqliteStatement statement(*this, sql);
  return statement.step() ? statement.integer(0) : 0;
}

void SqliteFile::check_is_results() {
  const Place place{path_, 0, 0};
  if (number("PRAGMA application_id") != kResultApplicationId) {
    throw Error(place, "a database, but not one of simulation results", "name another file");
  }
  const std::int64_t version = number("PRAGMA user_version");
  if (version == kSchemaVersion) return;
  throw Error(
      place,
      fmt::format("results of schema {}, this program knows schema {}", version, kSchemaVersion),
      version > kSchemaVersion ? "use the newer simulate that wrote it, or another file"
                               : "use the older simulate that wrote it, or another file");
}

void SqliteStatement::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

SqliteStatement::SqliteStatement(SqliteFile& file, std::string_view sql) : file_(file) {
  sqlite3_stmt* prepared = nullptr;
  const int code = sqlite3_prepare_v3(file.raw(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &prepared, nullptr);
  statement_.reset(prepared);
  if (code != SQLITE_OK) file_.fail();
}

bool SqliteStatement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  file_.fail();
}

void SqliteStatement::reset() { sqlite3_reset(statement_.get()); }
int SqliteStatement::parameters() const { return sqlite3_bind_parameter_count(statement_.get()); }
std::int64_t SqliteStatement::integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

void SqliteStatement::bind(int index, std::int64_t value) {
  if (sqlite3_bind_int64(statement_.get(), index, value) != SQLITE_OK) file_.fail();
}
void SqliteStatement::bind(int index, double value) {
  if (sqlite3_bind_double(statement_.get(), index, value) != SQLITE_OK) file_.fail();
}
void SqliteStatement::bind(int index, std::string_view value) {
  const char* text = value.data() == nullptr ? "" : value.data();  // a null pointer would be NULL
  if (sqlite3_bind_text64(statement_.get(), index, text, value.size(), SQLITE_STATIC,
                          SQLITE_UTF8) != SQLITE_OK) {
    file_.fail();
  }
}
void SqliteStatement::bind_null(int index) {
  if (sqlite3_bind_null(statement_.get(), index) != SQLITE_OK) file_.fail();
}

}  // namespace sim
