// Objects of JSON that recorders write: the names that a field may have, and a record that
// complains with its place.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "sim/core/error.h"
#include "sim/input/text_file.h"
#include "traces/import/json_value.h"

namespace sim {

enum class JsonField {
  kRequest,
  kPosition,
  kFirstPosition,
  kStep,
  kSourceRank,
  kLayer,
  kExperts,
  kWeights,
  kRoutedExperts,
  kPromptRoutedExperts,
  kCounts,
  kPhysicalCounts,
  kLoadHistory,
  kTokenId,
  kTag,
  kPhase,
  kRound,
  kModel,
};

// The names under which recorders write a field; the first is ours. One table in the .cpp.
std::span<const std::string_view> names_of(JsonField field);
// Whether text has any of the names as a key, in quotes: for recognising a format.
bool mentions(std::string_view text, JsonField field);

class JsonRecord {
 public:
  // A line of a file. Throws Error when it is not one JSON object.
  JsonRecord(const TextFile& file, std::string_view line);
  // A part of a document, which outlives the record; `where` stands before each complaint.
  JsonRecord(Place place, std::string where, JsonValue value);

  // None when the record does not have the field, or has null there. Throws Error when it has it
  // under two names.
  JsonValue find(JsonField field) const;
  bool has(JsonField field) const { return static_cast<bool>(find(field)); }
  JsonValue at(JsonField field) const;                           // throws Error when it is absent
  std::int64_t count(JsonField field, std::int64_t most) const;  // a whole number 0..most
  std::string text(JsonField field) const;                       // text, or a whole number as text
  // {"type": "meta"}: a line about the whole file.
  bool is_meta() const;
  // The name under which this record has the field, else our own.
  std::string_view name(JsonField field) const;
  [[noreturn]] void fail(const std::string& message, const std::string& hint = {}) const;

 private:
  Place place_;
  std::string where_;
  std::optional<JsonDocument> line_;  // what value_ is of, unless it is of a document elsewhere
  JsonValue value_;
};

}  // namespace sim
