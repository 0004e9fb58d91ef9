// JSON that recorders write, and values in it. The library that reads it stays in the .cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace sim {

// A value of a JsonDocument, valid as long as that lives; or none. Cheap to copy.
class JsonValue {
 public:
  class Iterator;

  JsonValue() = default;
  explicit operator bool() const { return value_ != nullptr; }

  bool is_null() const;
  bool is_object() const;
  bool is_list() const;

  // Of a list; else it has no items.
  std::size_t size() const;
  bool empty() const { return size() == 0; }
  JsonValue operator[](std::size_t index) const;  // REQUIRES: index < size()
  Iterator begin() const;
  Iterator end() const;

  JsonValue find(std::string_view key) const;  // none: no object, or it has no such key

  // Nothing when the value is something else. 3.0 is no whole number.
  std::optional<std::uint64_t> whole() const;   // a whole number from 0 to 2^64 - 1
  std::optional<std::int64_t> integer() const;  // a whole number that an int64 holds
  std::optional<double> number() const;         // any number
  std::optional<std::string_view> text() const;

  // For a message: short, and safe for one that is nested without end.
  std::string shown() const;

 private:
  friend class JsonDocument;
  explicit JsonValue(const void* value) : value_(value) {}
  const void* value_ = nullptr;  // the library's
};

class JsonValue::Iterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = JsonValue;
  using difference_type = std::ptrdiff_t;
  using pointer = void;
  using reference = JsonValue;

  Iterator(JsonValue list, std::size_t index) : list_(list), index_(index) {}
  JsonValue operator*() const { return list_[index_]; }
  Iterator& operator++() {
    ++index_;
    return *this;
  }
  void operator++(int) { ++index_; }
  bool operator==(const Iterator& other) const { return index_ == other.index_; }

 private:
  JsonValue list_;
  std::size_t index_;
};

inline JsonValue::Iterator JsonValue::begin() const { return {*this, 0}; }
inline JsonValue::Iterator JsonValue::end() const { return {*this, size()}; }

class JsonDocument {
 public:
  // The root is none when the text is not JSON.
  explicit JsonDocument(std::string_view text);
  // The whole file. Throws Error with line and column: no JSON, or above 64 MiB.
  static JsonDocument read_file(const std::string& path);
  ~JsonDocument();
  JsonDocument(JsonDocument&&) noexcept;
  JsonDocument& operator=(JsonDocument&&) noexcept;

  JsonValue root() const;

 private:
  struct Library;
  explicit JsonDocument(std::unique_ptr<Library> library);
  std::unique_ptr<Library> library_;
};

}  // namespace sim
