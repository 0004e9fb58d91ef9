#include "traces/import/json_value.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "sim/core/error.h"
#include "sim/input/text_file.h"

namespace sim {
namespace {

using nlohmann::json;

constexpr std::size_t kMostFileBytes = std::size_t{64} << 20;

const json& of(const void* value) { return *static_cast<const json*>(value); }

}  // namespace

bool JsonValue::is_null() const { return value_ != nullptr && of(value_).is_null(); }
bool JsonValue::is_object() const { return value_ != nullptr && of(value_).is_object(); }
bool JsonValue::is_list() const { return value_ != nullptr && of(value_).is_array(); }

std::size_t JsonValue::size() const { return is_list() ? of(value_).size() : 0; }

JsonValue JsonValue::operator[](std::size_t index) const {
  SIM_CHECK(index < size(), "an item that the list has");
  return JsonValue(&of(value_)[index]);
}

JsonValue JsonValue::find(std::string_view key) const {
  if (!is_object()) return {};
  const auto found = of(value_).find(key);
  return found == of(value_).end() ? JsonValue() : JsonValue(&*found);
}

std::optional<std::uint64_t> JsonValue::whole() const {
  if (value_ == nullptr || !of(value_).is_number_unsigned()) return std::nullopt;
  return of(value_).get<std::uint64_t>();
}

std::optional<std::int64_t> JsonValue::integer() const {
  if (const auto value = whole()) {
    if (*value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return {};
    return static_cast<std::int64_t>(*value);
  }
  if (value_ == nullptr || !of(value_).is_number_integer()) return std::nullopt;
  return of(value_).get<std::int64_t>();
}

std::optional<double> JsonValue::number() const {
  if (value_ == nullptr || !of(value_).is_number()) return std::nullopt;
  return of(value_).get<double>();
}

std::optional<std::string_view> JsonValue::text() const {
  if (value_ == nullptr || !of(value_).is_string()) return std::nullopt;
  return of(value_).get_ref<const std::string&>();
}

std::string JsonValue::shown() const {
  if (value_ == nullptr) return "nothing";
  if (is_list()) return "a list";
  if (is_object()) return "an object";
  const std::string all = of(value_).dump(-1, ' ', false, json::error_handler_t::replace);
  return all.size() <= 60 ? all : all.substr(0, 57) + "...";
}

struct JsonDocument::Library {
  json root;
};

JsonDocument::JsonDocument(std::string_view text)
    : library_(new Library{json::parse(text, nullptr, false)}) {}
JsonDocument::JsonDocument(std::unique_ptr<Library> library) : library_(std::move(library)) {}
JsonDocument::~JsonDocument() = default;
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;

JsonValue JsonDocument::root() const {
  return library_->root.is_discarded() ? JsonValue() : JsonValue(&library_->root);
}

JsonDocument JsonDocument::read_file(const std::string& path) {
  TextFile file(path);
  std::string text;
  std::string_view line;
  while (file.next(line)) {
    text.append(line).push_back('\n');
    if (text.size() > kMostFileBytes) throw Error(Place{path}, "this JSON file is above 64 MiB");
  }
  try {
    return JsonDocument(std::unique_ptr<Library>(new Library{json::parse(text)}));
  } catch (const json::parse_error& error) {
    const std::size_t byte = std::min<std::size_t>(error.byte, text.size());
    int row = 1;
    int column = 1;
    for (std::size_t i = 0; i + 1 < byte; ++i) {
      column = text[i] == '\n' ? 1 : column + 1;
      row += text[i] == '\n' ? 1 : 0;
    }
    throw Error(Place{path, row, column}, "this is not JSON", "is the file cut short?");
  } catch (const json::out_of_range& error) {
    throw Error(Place{path}, "this JSON has a number that no double holds");
  }
}

}  // namespace sim
