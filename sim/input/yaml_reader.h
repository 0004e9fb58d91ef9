// Typed fields out of YAML, each with its place in the file.
//
// A reader collects every mistake of a file and throws once (Mistakes::throw_if_any), so that a
// user sees them all in one run. A typed getter that finds a mistake records it and returns its
// default or a harmless value, so reading goes on. Every key that a reader asked for is known;
// finish() reports the others with a suggestion. yaml-cpp stays in the .cpp.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/core/error.h"
#include "sim/core/units.h"

namespace sim {

// Collects mistakes while a file is read.
class Mistakes {
 public:
  void add(Place place, std::string message, std::string hint = {});
  void add(const Error& error);  // all mistakes of an error caught on the way
  bool empty() const { return list_.empty(); }
  const std::vector<Mistake>& list() const { return list_; }
  void throw_if_any()
      const;  // throws Error with every mistake, in the order of line and column per file

 private:
  std::vector<Mistake> list_;
};

// A key that was read: "workload.context", its value as text, and whether the user wrote it or it
// is a default.
struct ReadKey {
  std::string path;
  std::string value;
  bool given = false;
};

class YamlDocument;

// One node of the document with its dotted path. Cheap to copy; valid as long as its document
// lives.
class YamlNode {
 public:
  YamlNode() = default;
  bool defined() const { return impl_ != nullptr; }
  bool is_map() const;
  bool is_list() const;
  bool is_scalar() const;
  bool is_null() const;
  std::string text() const;             // REQUIRES: is_scalar()
  std::vector<YamlNode> items() const;  // REQUIRES: is_list()
  std::vector<std::pair<std::string, YamlNode>> entries()
      const;  // REQUIRES: is_map(); in file order
  Place place() const;
  const std::string& path() const { return path_; }

 private:
  friend class YamlDocument;
  friend class YamlMap;
  struct Impl;
  YamlDocument* document_ = nullptr;
  std::shared_ptr<const Impl> impl_;
  std::string path_;
};

// A parsed file (or text). Not copyable: nodes point to it.
class YamlDocument {
 public:
  // Throws Error: the file is missing, larger than 64 MiB, or not YAML.
  static std::unique_ptr<YamlDocument> load(const std::string& file);
  static std::unique_ptr<YamlDocument> parse(const std::string& text, const std::string& name);
  ~YamlDocument();
  YamlDocument(const YamlDocument&) = delete;
  YamlDocument& operator=(const YamlDocument&) = delete;

  // "workload.steps=5": replaces or adds one value before reading. Throws Error when the path goes
  // through a scalar.
  void set(const std::string& assignment);
  YamlNode root();
  const std::string& name() const;
  const std::vector<ReadKey>& read_keys() const { return read_keys_; }
  // Every key that was asked for, given or not: what the documentation of the keys must name.
  const std::set<std::string>& asked_paths() const { return asked_paths_; }
  std::string to_text() const;  // the document with its overrides, as YAML

 private:
  friend class YamlNode;
  friend class YamlMap;
  struct Impl;
  YamlDocument();
  void log(const std::string& path, std::string value, bool given);
  std::unique_ptr<Impl> impl_;
  std::vector<ReadKey> read_keys_;
  std::set<std::string> asked_paths_;
};

struct CountRange {
  std::int64_t least = 0;
  std::int64_t most = std::numeric_limits<std::int32_t>::max();
};

struct NumberRange {
  double least = 0;
  double most = std::numeric_limits<double>::max();
};

// Reads the keys of one mapping. `what` names it in messages: "link 'nvlink'", "workload".
class YamlMap {
 public:
  YamlMap(YamlNode node, std::string what, Mistakes& mistakes);

  bool has(std::string_view key);
  Place place() const;                   // of the mapping
  Place place_of(std::string_view key);  // of a key's value; of the mapping when absent
  const std::string& what() const { return what_; }
  Mistakes& mistakes() { return *mistakes_; }
  YamlNode node() const { return node_; }

  // Required values: absent is a mistake. The `_or` form has a default, shown by `simulate check`.
  std::string text(std::string_view key);
  std::string text_or(std::string_view key, std::string fallback);
  std::int64_t count(std::string_view key, CountRange range = {});
  std::int64_t count_or(std::string_view key, std::int64_t fallback, CountRange range = {});
  double number(std::string_view key, NumberRange range = {});
  double number_or(std::string_view key, double fallback, NumberRange range = {});
  bool flag_or(std::string_view key, bool fallback);
  Duration duration(std::string_view key);
  Duration duration_or(std::string_view key, Duration fallback);
  Bytes bytes(std::string_view key);
  Bytes bytes_or(std::string_view key, Bytes fallback);
  Bandwidth bandwidth(std::string_view key);
  Bandwidth bandwidth_or(std::string_view key, Bandwidth fallback);
  FlopRate flop_rate(std::string_view key);
  FlopRate flop_rate_or(std::string_view key, FlopRate fallback);
  double frequency(std::string_view key);  // Hz

  // One of `choices`; a wrong word is a mistake with a suggestion.
  std::string choice(std::string_view key, std::span<const std::string> choices);
  std::string choice_or(std::string_view key, std::string fallback,
                        std::span<const std::string> choices);

  YamlNode child(std::string_view key);                       // undefined when absent
  std::vector<YamlNode> list_or_empty(std::string_view key);  // a mistake when it is not a list
  std::vector<std::int64_t> counts_or_empty(std::string_view key, CountRange range = {});
  std::vector<std::string> texts_or_empty(std::string_view key);
  YamlMap map(std::string_view key);  // required mapping
  std::optional<YamlMap> map_if(std::string_view key);

  // Records a mistake at a key (or at the mapping when the key is absent).
  void mistake(std::string_view key, std::string message, std::string hint = {});
  // Reports every key that nobody asked for. Call once, when all keys have been asked for.
  void finish();

 private:
  YamlNode find(std::string_view key);
  YamlNode require(std::string_view key);
  std::optional<std::string> scalar(std::string_view key, const YamlNode& value);
  std::optional<std::int64_t> count_of(std::string_view key, const YamlNode& value,
                                       CountRange range);
  std::optional<double> number_of(std::string_view key, const YamlNode& value, NumberRange range);
  template <class T, class Parse>
  std::optional<T> quantity_of(std::string_view key, const YamlNode& value, Parse parse);
  void log_default(std::string_view key, std::string value);

  YamlNode node_;
  std::string what_;
  Mistakes* mistakes_;
  std::vector<std::string> asked_;
  bool usable_ = false;
};

}  // namespace sim
