// Typed fields out of a config.json, each with its place in the file; mistakes are collected.
//
// Unlike our YAML, a Hugging Face config holds many keys that do not matter here, so keys that
// nobody asks for are no mistake. A field that is null counts as absent. nlohmann stays in the
// .cpp.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/error.h"
#include "sim/input/yaml_reader.h"

namespace sim {

class ConfigFields;

class ConfigFile {
 public:
  // Throws Error: missing, larger than 64 MiB, not JSON (line and column), or not an object.
  static std::unique_ptr<ConfigFile> load(const std::string& file);
  static std::unique_ptr<ConfigFile> parse(const std::string& text, const std::string& name);
  ~ConfigFile();
  ConfigFile(const ConfigFile&) = delete;
  ConfigFile& operator=(const ConfigFile&) = delete;

  ConfigFields root();
  const std::string& name() const;
  const Mistakes& mistakes() const;
  const std::vector<std::string>& notes() const;  // each once, in order

 private:
  friend class ConfigFields;
  struct Impl;
  ConfigFile();
  std::unique_ptr<Impl> impl_;
};

// One object of the file. Cheap to copy; valid as long as its file lives. Getters record a mistake
// and return a harmless value when a field is absent (without `_or`) or of the wrong type.
class ConfigFields {
 public:
  bool has(std::string_view key) const;
  ConfigFields child(std::string_view key) const;  // REQUIRES: has(key); a mistake if no object

  // The first of `keys` that the file has; several, because exporters rename fields.
  std::int64_t count(std::initializer_list<std::string_view> keys) const;
  std::int64_t count(std::string_view key) const { return count({key}); }
  std::int64_t count_or(std::string_view key, std::int64_t fallback) const;
  // As count_or, and says in a note that the default was taken.
  std::int64_t count_assumed(std::string_view key, std::int64_t fallback) const;
  bool flag_or(std::string_view key, bool fallback) const;
  bool flag_assumed(std::string_view key, bool fallback) const;
  std::string text_or(std::string_view key, std::string fallback) const;
  std::vector<std::int64_t> counts(std::string_view key) const;  // [] when absent
  std::vector<std::string> texts(std::string_view key) const;    // [] when absent

  void mistake(std::string_view key, std::string message, std::string hint = {}) const;
  void note(std::string text) const;

 private:
  friend class ConfigFile;
  const void* find(std::string_view key) const;  // the JSON value, or null
  ConfigFile::Impl* file_ = nullptr;
  std::vector<std::string> path_;
  const void* object_ = nullptr;
};

}  // namespace sim
