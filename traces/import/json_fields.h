// Objects of JSON that recorders write: the names that a field may have, and a record that
// complains with its place.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "sim/core/error.h"
#include "sim/input/text_file.h"

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
// A value for a message: short, and safe for one that is nested without end.
std::string shown(const nlohmann::json& value);

// The whole file as JSON. Throws Error with line and column: no JSON, or above 64 MiB.
nlohmann::json read_json_file(const std::string& path);

class JsonRecord {
 public:
  // A line of a file. Throws Error when it is not one JSON object.
  JsonRecord(const TextFile& file, std::string_view line);
  // A part of a file that was read whole; `where` stands before each complaint.
  JsonRecord(Place place, std::string where, nlohmann::json value);

  // Null when the record does not have the field, or has null there. Throws Error when it has it
  // under two names.
  const nlohmann::json* find(JsonField field) const;
  bool has(JsonField field) const { return find(field) != nullptr; }
  const nlohmann::json& at(JsonField field) const;               // throws Error when it is absent
  std::int64_t count(JsonField field, std::int64_t most) const;  // a whole number 0..most
  std::string text(JsonField field) const;                       // text, or a whole number as text
  // The value itself, which the record loses. (A copy of a value nested a million deep would need
  // as deep a stack.)
  nlohmann::json take(JsonField field);
  // {"type": "meta"}: a line about the whole file.
  bool is_meta() const;
  // The name under which this record has the field, else our own.
  std::string_view name(JsonField field) const;
  [[noreturn]] void fail(const std::string& message, const std::string& hint = {}) const;

 private:
  Place place_;
  std::string where_;
  nlohmann::json value_;
};

}  // namespace sim
