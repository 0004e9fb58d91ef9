// Long text files of numbers, written in blocks.
#pragma once

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "sim/core/error.h"

namespace sim {

class TextWriter {
 public:
  // Throws Error when the file cannot be made.
  explicit TextWriter(const std::string& file)
      : file_(file), handle_(std::fopen(file.c_str(), "wb")) {
    if (!handle_) fail();
    buffer_.reserve(kBlock + kLongestNumber);
  }

  TextWriter& add(char c) {
    buffer_ += c;
    return *this;
  }
  TextWriter& add(std::string_view text) {
    buffer_ += text;
    return flush_if_long();
  }
  TextWriter& add(std::uint64_t value) { return add_number(value); }
  // The fewest digits that read back as the same number.
  TextWriter& add(double value) { return add_number(value); }
  // Throws Error when not everything could be written.
  void close() {
    flush();
    if (std::fclose(handle_.release()) != 0) fail();
  }

 private:
  static constexpr std::size_t kBlock = std::size_t{1} << 16;
  static constexpr std::size_t kLongestNumber = 32;
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };

  template <class T>
  TextWriter& add_number(T value) {
    char text[kLongestNumber];
    buffer_.append(text, std::to_chars(text, text + kLongestNumber, value).ptr);
    return flush_if_long();
  }
  TextWriter& flush_if_long() {
    if (buffer_.size() >= kBlock) flush();
    return *this;
  }
  void flush() {
    if (std::fwrite(buffer_.data(), 1, buffer_.size(), handle_.get()) != buffer_.size()) fail();
    buffer_.clear();
  }
  [[noreturn]] void fail() const {
    throw Error(Place{file_}, std::string("cannot be written: ") + std::strerror(errno));
  }

  std::string file_;
  std::unique_ptr<std::FILE, Close> handle_;
  std::string buffer_;
};

}  // namespace sim
