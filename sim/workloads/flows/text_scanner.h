// Words and fields of a long text file, read in blocks: a file of any size takes one block of
// memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sim/core/error.h"

namespace sim {

class TextScanner {
 public:
  explicit TextScanner(const std::string& file);  // throws Error when it cannot be read

  // The next word between white space; empty at the end of the file. Valid until the next call.
  std::string_view word();
  // The next word, with lines skipped from a word that begins with '#'.
  std::string_view keyword();
  // The next line without its end; false at the end of the file. Valid until the next call.
  bool line(std::string_view& text);

  // Where the last word or line stands.
  Place place() const { return {file_, line_, 0}; }
  // Bytes of the file; none when it is a pipe, whose length nobody knows.
  std::optional<std::uint64_t> size() const { return size_; }
  // Throws Error when `count` things of at least `least_bytes` each cannot stand in this file, and
  // returns for how many of them space may be reserved.
  std::size_t reservation(std::uint64_t count, std::uint64_t least_bytes, const char* what) const;

  // Numbers out of one word or field: throw Error with this place when it is not one.
  std::uint64_t integer(std::string_view text, std::uint64_t largest, const char* what) const;
  double number(std::string_view text, const char* what) const;  // finite and not negative
  double whole(std::string_view text, const char* what) const;   // integral too, up to 2^53
  [[noreturn]] void fail(std::string message, std::string hint = {}) const;

 private:
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  bool refill();  // keeps what is unread; false when nothing came

  std::string file_;
  std::unique_ptr<std::FILE, Close> handle_;
  std::optional<std::uint64_t> size_;
  std::string buffer_;
  std::size_t at_ = 0;
  std::size_t end_ = 0;
  std::size_t kept_ = 0;  // refill() keeps everything from here on
  int line_ = 1;
  int next_line_ = 1;
};

}  // namespace sim
