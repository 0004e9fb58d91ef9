// A results database read with SQLite itself, so that the tests do not lean on what they test.
#pragma once

#include <sqlite3.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace sim::testing {

class Database {
 public:
  explicit Database(const std::string& path) {
    if (sqlite3_open_v2(path.c_str(), &handle_, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK) {
      const std::string why = sqlite3_errmsg(handle_);
      sqlite3_close(handle_);
      throw std::runtime_error(path + ": " + why);
    }
  }
  ~Database() { sqlite3_close(handle_); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  std::vector<std::vector<std::string>> rows(const std::string& sql) const {
    std::vector<std::vector<std::string>> result;
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(handle_, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK)
      throw std::runtime_error(sql + ": " + sqlite3_errmsg(handle_));
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
      std::vector<std::string> row;
      for (int c = 0; c < sqlite3_column_count(statement); ++c) {
        const unsigned char* text = sqlite3_column_text(statement, c);
        row.push_back(text == nullptr ? "NULL" : reinterpret_cast<const char*>(text));
      }
      result.push_back(std::move(row));
    }
    const std::string why = sqlite3_errmsg(handle_);
    sqlite3_finalize(statement);
    if (code != SQLITE_DONE) throw std::runtime_error(sql + ": " + why);
    return result;
  }
  // The only cell of the only row.
  std::string one(const std::string& sql) const {
    const auto all = rows(sql);
    if (all.size() != 1 || all[0].size() != 1) throw std::runtime_error(sql + ": not one cell");
    return all[0][0];
  }
  double number(const std::string& sql) const { return std::stod(one(sql)); }

 private:
  sqlite3* handle_ = nullptr;
};

}  // namespace sim::testing
