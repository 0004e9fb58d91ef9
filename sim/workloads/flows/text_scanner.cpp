#include "sim/workloads/flows/text_scanner.h"

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

namespace sim {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 18;
constexpr std::size_t kLongestLine = std::size_t{1} << 20;
constexpr double kLargestWhole = 9007199254740992.0;  // 2^53: doubles hold every integer up to it

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

std::string quoted(std::string_view text) {
  constexpr std::size_t kShown = 40;
  std::string result = "'";
  for (const char c : text.substr(0, kShown)) result += c >= ' ' && c < 127 ? c : '?';
  return result + (text.size() > kShown ? "...'" : "'");
}

}  // namespace

TextScanner::TextScanner(const std::string& file) : file_(file) {
  handle_.reset(std::fopen(file.c_str(), "rb"));
  if (!handle_) {
    throw Error(Place{file}, std::string("cannot be read: ") + std::strerror(errno));
  }
  std::error_code ignored;  // pipes and the like have no size
  if (std::filesystem::is_directory(file, ignored)) {
    throw Error(Place{file}, "cannot be read: it is a folder");
  }
  if (std::filesystem::is_regular_file(file, ignored)) {
    size_ = std::filesystem::file_size(file, ignored);
  }
  buffer_.resize(kBlock);
}

void TextScanner::fail(std::string message, std::string hint) const {
  throw Error(place(), std::move(message), std::move(hint));
}

bool TextScanner::refill() {
  const std::size_t unread = end_ - kept_;
  if (unread > kLongestLine) fail("a word or line of more than a million characters");
  std::memmove(buffer_.data(), buffer_.data() + kept_, unread);
  at_ -= kept_;
  kept_ = 0;
  end_ = unread;
  if (buffer_.size() - end_ < kBlock / 2) buffer_.resize(buffer_.size() + kBlock);
  const std::size_t got =
      std::fread(buffer_.data() + end_, 1, buffer_.size() - end_, handle_.get());
  if (got == 0 && std::ferror(handle_.get()) != 0) {
    throw Error(Place{file_}, std::string("cannot be read: ") + std::strerror(errno));
  }
  end_ += got;
  return got > 0;
}

std::string_view TextScanner::word() {
  for (;; ++at_) {
    if (at_ == end_) {
      kept_ = at_;
      if (!refill()) {
        line_ = next_line_;
        return {};
      }
    }
    if (!is_space(buffer_[at_])) break;
    if (buffer_[at_] == '\n') ++next_line_;
  }
  line_ = next_line_;
  kept_ = at_;
  for (;; ++at_) {
    if (at_ == end_ && !refill()) break;
    if (is_space(buffer_[at_])) break;
  }
  return {buffer_.data() + kept_, at_ - kept_};
}

std::string_view TextScanner::keyword() {
  std::string_view next = word();
  while (!next.empty() && next.front() == '#') {
    for (;; ++at_) {
      kept_ = at_;
      if (at_ == end_ && !refill()) break;
      if (buffer_[at_] == '\n') break;
    }
    next = word();
  }
  return next;
}

bool TextScanner::line(std::string_view& text) {
  kept_ = at_;
  line_ = next_line_;
  if (at_ == end_ && !refill()) return false;
  for (;; ++at_) {
    if (at_ == end_ && !refill()) break;
    if (buffer_[at_] == '\n') break;
  }
  text = {buffer_.data() + kept_, at_ - kept_};
  if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
  if (at_ < end_) ++at_;
  ++next_line_;
  return true;
}

std::size_t TextScanner::reservation(std::uint64_t count, std::uint64_t least_bytes,
                                     const char* what) const {
  if (!size_) return 0;
  if (count > *size_ / least_bytes) {
    fail(std::to_string(count) + " " + what + " are announced, but the file has only " +
             std::to_string(*size_) + " bytes",
         "is it truncated?");
  }
  return static_cast<std::size_t>(count);
}

std::uint64_t TextScanner::integer(std::string_view text, std::uint64_t largest,
                                   const char* what) const {
  if (text.empty())
    fail(std::string("the file ends where ") + what + " is due", "is it truncated?");
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) {
    fail(std::string(what) + " is " + quoted(text) + ", not a whole number");
  }
  if (error != std::errc() || value > largest) {
    fail(std::string(what) + " is " + quoted(text) + ", more than " + std::to_string(largest));
  }
  return value;
}

double TextScanner::number(std::string_view text, const char* what) const {
  if (text.empty())
    fail(std::string("the file ends where ") + what + " is due", "is it truncated?");
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) {
    fail(std::string(what) + " is " + quoted(text) + ", not a number");
  }
  if (error != std::errc() || !std::isfinite(value)) {
    fail(std::string(what) + " is " + quoted(text) + ", which is not a finite number");
  }
  if (value < 0) fail(std::string(what) + " is " + quoted(text) + ", but cannot be negative");
  return value;
}

double TextScanner::whole(std::string_view text, const char* what) const {
  const double value = number(text, what);
  if (value != std::floor(value)) {
    fail(std::string(what) + " is " + quoted(text) + ", but must be a whole number");
  }
  if (value > kLargestWhole) fail(std::string(what) + " is " + quoted(text) + ", more than 2^53");
  return value;
}

}  // namespace sim
