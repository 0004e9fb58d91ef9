#include "models/config_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

namespace sim {

using Json = nlohmann::json;

struct ConfigFile::Impl {
  std::string name;
  std::string text;
  Json root;
  Mistakes mistakes;
  std::vector<std::string> notes;
};

namespace {

constexpr std::uintmax_t kLargestFile = 64ULL << 20;
constexpr std::int64_t kLargestCount = std::int64_t{1} << 40;
constexpr std::size_t kLongestList = 1 << 16;

Place place_at(const std::string& name, std::string_view text, std::size_t offset) {
  Place place{name, 1, 1};
  for (const char c : text.substr(0, std::min(offset, text.size()))) {
    if (c == '\n') {
      ++place.line;
      place.column = 1;
    } else {
      ++place.column;
    }
  }
  return place;
}

// Offset of the key that `path` leads to in valid JSON; 0 when there is none.
std::size_t offset_of(std::string_view text, const std::vector<std::string>& path) {
  std::size_t matched = 0;  // parts of the path that enclose the cursor
  std::size_t depth = 0;
  bool expects_key = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '{' || c == '[') {
      ++depth;
      expects_key = c == '{';
    } else if (c == '}' || c == ']') {
      if (--depth < matched + 1 && matched > 0) return 0;  // left the object without finding it
      expects_key = false;
    } else if (c == ',') {
      expects_key = true;  // harmless inside lists: their strings are not followed by a colon
    } else if (c == '"') {
      const std::size_t begin = i;
      for (++i; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\') ++i;
      }
      const std::string_view word = text.substr(begin + 1, i - begin - 1);
      std::size_t after = i + 1;
      while (after < text.size() &&
             std::string_view(" \t\r\n").find(text[after]) != std::string::npos)
        ++after;
      const bool is_key = expects_key && after < text.size() && text[after] == ':';
      if (is_key && depth == matched + 1 && word == path[matched]) {
        if (++matched == path.size()) return begin;
      }
      expects_key = false;
    }
  }
  return 0;
}

// What nlohmann says, without its own prefix, position and copy of the text.
std::string reason_of(const std::string& what) {
  const std::size_t column = what.find("column ");
  const std::size_t colon = what.find(": ", column == std::string::npos ? 0 : column);
  const std::string reason = colon == std::string::npos ? what : what.substr(colon + 2);
  return reason.substr(0, reason.find("; last read"));
}

}  // namespace

// ---- ConfigFile

ConfigFile::ConfigFile() : impl_(std::make_unique<Impl>()) {}
ConfigFile::~ConfigFile() = default;
const std::string& ConfigFile::name() const { return impl_->name; }
const Mistakes& ConfigFile::mistakes() const { return impl_->mistakes; }
const std::vector<std::string>& ConfigFile::notes() const { return impl_->notes; }

std::unique_ptr<ConfigFile> ConfigFile::load(const std::string& file) {
  std::error_code code;
  if (!std::filesystem::exists(file, code)) throw Error(Place{file}, "this file does not exist");
  if (!std::filesystem::is_regular_file(file, code)) throw Error(Place{file}, "this is not a file");
  if (std::filesystem::file_size(file, code) > kLargestFile) {
    throw Error(Place{file}, "this file is larger than 64 MiB",
                "a config.json is small; is it a file of weights?");
  }
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) throw Error(Place{file}, "this file cannot be read");
  return parse(text.str(), file);
}

std::unique_ptr<ConfigFile> ConfigFile::parse(const std::string& text, const std::string& name) {
  std::unique_ptr<ConfigFile> file(new ConfigFile());
  file->impl_->name = name;
  file->impl_->text = text;
  try {
    file->impl_->root = Json::parse(text);
  } catch (const Json::parse_error& e) {
    throw Error(place_at(name, text, e.byte > 0 ? e.byte - 1 : 0),
                "this is not JSON: " + reason_of(e.what()),
                "check quotes, commas and brackets here");
  } catch (const Json::exception& e) {
    throw Error(Place{name}, "this cannot be read as JSON: " + reason_of(e.what()));
  }
  if (!file->impl_->root.is_object()) {
    throw Error(Place{name, 1, 1}, "this is not a JSON object",
                "a model's config.json starts with {");
  }
  return file;
}

ConfigFields ConfigFile::root() {
  ConfigFields fields;
  fields.file_ = impl_.get();
  fields.object_ = &impl_->root;
  return fields;
}

// ---- ConfigFields

const void* ConfigFields::find(std::string_view key) const {
  const Json& object = *static_cast<const Json*>(object_);
  if (!object.is_object()) return nullptr;
  const auto found = object.find(std::string(key));
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool ConfigFields::has(std::string_view key) const { return find(key) != nullptr; }

void ConfigFields::mistake(std::string_view key, std::string message, std::string hint) const {
  std::vector<std::string> path = path_;
  if (find(key) != nullptr) path.emplace_back(key);
  const std::size_t offset = path.empty() ? 0 : offset_of(file_->text, path);
  const Place place = place_at(file_->name, file_->text, offset);
  for (const Mistake& known : file_->mistakes.list()) {  // several readers ask for one field
    if (known.place.line == place.line && known.place.column == place.column &&
        known.message == message) {
      return;
    }
  }
  file_->mistakes.add(place, std::move(message), std::move(hint));
}

void ConfigFields::note(std::string text) const {
  if (std::find(file_->notes.begin(), file_->notes.end(), text) == file_->notes.end()) {
    file_->notes.push_back(std::move(text));
  }
}

ConfigFields ConfigFields::child(std::string_view key) const {
  ConfigFields result = *this;
  const Json* value = static_cast<const Json*>(find(key));
  if (value == nullptr || !value->is_object())
    mistake(key, fmt::format("'{}' is not an object", key));
  result.path_.emplace_back(key);
  static const Json empty = Json::object();
  result.object_ = value == nullptr ? &empty : value;
  return result;
}

std::int64_t ConfigFields::count(std::initializer_list<std::string_view> keys) const {
  for (const std::string_view key : keys) {
    if (has(key)) return count_or(key, 0);
  }
  std::string wanted(*keys.begin());
  for (auto key = keys.begin() + 1; key != keys.end(); ++key)
    wanted += fmt::format("' or '{}", *key);
  mistake("", fmt::format("this model's config needs '{}'", wanted));
  return 0;
}

std::int64_t ConfigFields::count_or(std::string_view key, std::int64_t fallback) const {
  const Json* value = static_cast<const Json*>(find(key));
  if (value == nullptr) return fallback;
  const bool whole = value->is_number_integer() &&
                     (!value->is_number_unsigned() ||
                      value->get<std::uint64_t>() <= static_cast<std::uint64_t>(kLargestCount));
  const std::int64_t count = whole ? value->get<std::int64_t>() : -1;
  if (count < 0 || count > kLargestCount) {
    mistake(key, fmt::format("'{}' must be a whole number between 0 and {}", key, kLargestCount));
    return fallback;
  }
  return count;
}

std::int64_t ConfigFields::count_assumed(std::string_view key, std::int64_t fallback) const {
  if (!has(key))
    note(fmt::format("{} is not given: {}, the default of this model type", key, fallback));
  return count_or(key, fallback);
}

bool ConfigFields::flag_or(std::string_view key, bool fallback) const {
  const Json* value = static_cast<const Json*>(find(key));
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  mistake(key, fmt::format("'{}' must be true or false", key));
  return fallback;
}

bool ConfigFields::flag_assumed(std::string_view key, bool fallback) const {
  if (!has(key)) {
    note(fmt::format("{} is not given: {}, the default of this model type", key, fallback));
  }
  return flag_or(key, fallback);
}

std::string ConfigFields::text_or(std::string_view key, std::string fallback) const {
  const Json* value = static_cast<const Json*>(find(key));
  if (value == nullptr) return fallback;
  if (value->is_string()) return value->get<std::string>();
  mistake(key, fmt::format("'{}' must be a text", key));
  return fallback;
}

std::vector<std::int64_t> ConfigFields::counts(std::string_view key) const {
  std::vector<std::int64_t> result;
  const Json* value = static_cast<const Json*>(find(key));
  if (value == nullptr) return result;
  bool sound = value->is_array() && value->size() <= kLongestList;
  if (sound) {
    for (const Json& item : *value) {
      if (!item.is_number_unsigned() ||
          item.get<std::uint64_t>() > static_cast<std::uint64_t>(kLargestCount)) {
        sound = false;
        break;
      }
      result.push_back(item.get<std::int64_t>());
    }
  }
  if (!sound) mistake(key, fmt::format("'{}' must be a list of whole numbers", key));
  return result;
}

std::vector<std::string> ConfigFields::texts(std::string_view key) const {
  std::vector<std::string> result;
  const Json* value = static_cast<const Json*>(find(key));
  if (value == nullptr) return result;
  bool sound = value->is_array() && value->size() <= kLongestList;
  if (sound) {
    for (const Json& item : *value) {
      sound = sound && item.is_string();
      if (item.is_string()) result.push_back(item.get<std::string>());
    }
  }
  if (!sound) mistake(key, fmt::format("'{}' must be a list of texts", key));
  return result;
}

}  // namespace sim
