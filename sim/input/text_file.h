// Lines and comma-separated fields of a text file, gzipped or not, read as a stream. zlib stays in
// the .cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/error.h"

namespace sim {

// The first bytes of a file, unzipped; shorter when the file is. Throws Error when it is missing.
std::string read_head(const std::string& path, std::size_t bytes);

class TextFile {
 public:
  static constexpr std::size_t kMostLineBytes = 4 << 20;
  // Throws Error when it cannot be read.
  explicit TextFile(std::string path, std::size_t most_line_bytes = kMostLineBytes);
  ~TextFile();
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;

  // The next line without its end; false at the end of the file. The view holds until the next
  // call. Throws Error: a damaged or cut gzip stream, or a line above most_line_bytes.
  bool next(std::string_view& line);
  int line() const { return line_; }  // of the line last read, from 1
  const std::string& path() const { return path_; }
  Place place(std::string_view at) const;  // of a part of the line last read
  [[noreturn]] void fail(std::string_view at, std::string message, std::string hint = {}) const;

 private:
  struct Zipped;
  bool refill();

  std::string path_;
  std::size_t most_line_bytes_;
  std::unique_ptr<Zipped> file_;
  std::string buffer_;
  std::size_t begin_ = 0;
  std::size_t searched_ = 0;
  bool ended_ = false;
  int line_ = 0;
  std::string_view current_;
};

// Comma-separated rows below a line of column names. Fields are plain: no quotes.
class CsvFile {
 public:
  explicit CsvFile(std::string path);  // reads the column names; throws Error when there are none

  const std::vector<std::string>& columns() const { return columns_; }
  bool has(std::string_view column) const;
  // Throws Error naming the columns that there are.
  std::size_t column(std::string_view name) const;

  bool next();  // the next row that is not empty; throws Error when its fields are not the columns'
  std::string_view text(std::size_t column) const { return fields_[column]; }
  std::int64_t count(std::size_t column, std::int64_t most) const;  // a whole number 0..most
  double number(std::size_t column, double least, double most) const;
  // Space-separated numbers; ids are below `experts` and distinct. Appends to `out`; returns how
  // many.
  int experts(std::size_t column, int experts, int most, std::vector<std::uint16_t>& out) const;
  int numbers(std::size_t column, std::vector<float>& out) const;
  [[noreturn]] void fail(std::size_t column, std::string message, std::string hint = {}) const;
  Place place(std::size_t column) const;  // of the current row's field

 private:
  TextFile file_;
  std::vector<std::string> columns_;
  std::vector<std::string_view> fields_;
};

}  // namespace sim
