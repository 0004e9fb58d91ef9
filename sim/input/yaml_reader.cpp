#include "sim/input/yaml_reader.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <tuple>
#include <unordered_map>

#include "sim/input/quantity.h"
#include "sim/input/suggestion.h"

namespace sim {

void Mistakes::add(Place place, std::string message, std::string hint) {
  list_.push_back({std::move(place), std::move(message), std::move(hint)});
}

void Mistakes::add(const Error& error) {
  list_.insert(list_.end(), error.mistakes().begin(), error.mistakes().end());
}

void Mistakes::throw_if_any() const {
  if (list_.empty()) return;
  std::vector<Mistake> sorted = list_;
  std::map<std::string, std::size_t> found;  // files stay in the order of discovery
  for (const Mistake& mistake : list_) found.try_emplace(mistake.place.file, found.size());
  std::stable_sort(sorted.begin(), sorted.end(), [&](const Mistake& a, const Mistake& b) {
    return std::tuple(found.at(a.place.file), a.place.line, a.place.column) <
           std::tuple(found.at(b.place.file), b.place.line, b.place.column);
  });
  throw Error(std::move(sorted));
}

struct YamlNode::Impl {
  YAML::Node node;
};

struct YamlDocument::Impl {
  std::string name;
  YAML::Node root;
  std::set<std::string> overridden;                     // dotted paths given by set()
  std::unordered_map<std::string, std::size_t> logged;  // path -> place in read_keys_
};

namespace {

constexpr std::uintmax_t kLargestFile = 64ULL << 20;

YAML::Node parse_yaml(const std::string& text, const std::string& name) {
  try {
    return YAML::Load(text);
  } catch (const YAML::ParserException& e) {
    throw Error(Place{name, e.mark.line + 1, e.mark.column + 1}, "this is not YAML: " + e.msg,
                "check quotes, colons and indentation here");
  } catch (const YAML::Exception& e) {
    throw Error(Place{name, std::max(0, e.mark.line + 1), std::max(0, e.mark.column + 1)},
                "this cannot be read as YAML: " + e.msg);
  }
}

std::string default_text(double value) {
  std::ostringstream out;
  out.precision(12);
  out << value;
  return out.str();
}

}  // namespace

// ---- YamlNode

bool YamlNode::is_map() const { return impl_ && impl_->node.IsMap(); }
bool YamlNode::is_list() const { return impl_ && impl_->node.IsSequence(); }
bool YamlNode::is_scalar() const { return impl_ && impl_->node.IsScalar(); }
bool YamlNode::is_null() const { return impl_ && impl_->node.IsNull(); }
std::string YamlNode::text() const { return impl_->node.Scalar(); }

std::vector<YamlNode> YamlNode::items() const {
  std::vector<YamlNode> result;
  for (std::size_t i = 0; i < impl_->node.size(); ++i) {
    YamlNode item;
    item.document_ = document_;
    item.impl_ = std::make_shared<const Impl>(Impl{impl_->node[i]});
    item.path_ = path_ + "[" + std::to_string(i) + "]";
    result.push_back(std::move(item));
  }
  return result;
}

std::vector<std::pair<std::string, YamlNode>> YamlNode::entries() const {
  std::vector<std::pair<std::string, YamlNode>> result;
  for (const auto& entry : impl_->node) {
    YamlNode value;
    value.document_ = document_;
    value.impl_ = std::make_shared<const Impl>(Impl{entry.second});
    const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "?";
    value.path_ = path_.empty() ? key : path_ + "." + key;
    result.emplace_back(key, std::move(value));
  }
  return result;
}

Place YamlNode::place() const {
  if (document_ == nullptr) return {};
  for (const std::string& path : document_->impl_->overridden) {
    if (path_ == path || path_.rfind(path + ".", 0) == 0 || path_.rfind(path + "[", 0) == 0) {
      return {"--set " + path, 0, 0};
    }
  }
  const YAML::Mark mark = impl_ ? impl_->node.Mark() : YAML::Mark::null_mark();
  if (mark.is_null()) {  // a mapping that only an override made
    for (const std::string& path : document_->impl_->overridden) {
      if (!path_.empty() && path.rfind(path_ + ".", 0) == 0) return {"--set " + path, 0, 0};
    }
  }
  return {document_->impl_->name, std::max(0, mark.line + 1), std::max(0, mark.column + 1)};
}

// ---- YamlDocument

YamlDocument::YamlDocument() : impl_(std::make_unique<Impl>()) {}
YamlDocument::~YamlDocument() = default;

std::unique_ptr<YamlDocument> YamlDocument::load(const std::string& file) {
  std::error_code code;
  if (!std::filesystem::exists(file, code)) throw Error(Place{file}, "this file does not exist");
  if (!std::filesystem::is_regular_file(file, code)) throw Error(Place{file}, "this is not a file");
  if (std::filesystem::file_size(file, code) > kLargestFile) {
    throw Error(Place{file}, "this file is larger than 64 MiB",
                "YAML files here are small; is it a trace?");
  }
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) throw Error(Place{file}, "this file cannot be read");
  return parse(text.str(), file);
}

std::unique_ptr<YamlDocument> YamlDocument::parse(const std::string& text,
                                                  const std::string& name) {
  std::unique_ptr<YamlDocument> document(new YamlDocument());
  document->impl_->name = name;
  document->impl_->root = parse_yaml(text, name);
  return document;
}

void YamlDocument::set(const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw Error(Place{"--set " + assignment}, "this is not key=value",
                "write it like workload.steps=5");
  }
  const std::string path = assignment.substr(0, equals);
  const Place place{"--set " + path};
  YAML::Node value = parse_yaml(assignment.substr(equals + 1), "--set " + path);
  YAML::Node node = impl_->root;
  std::size_t begin = 0;
  while (true) {
    const std::size_t dot = path.find('.', begin);
    const std::string key = path.substr(begin, dot == std::string::npos ? dot : dot - begin);
    if (key.empty())
      throw Error(place, "a part of this path is empty", "write it like workload.steps=5");
    if (node.IsDefined() && !node.IsNull() && !node.IsMap()) {
      throw Error(place, "'" + path.substr(0, begin == 0 ? 0 : begin - 1) + "' is not a mapping");
    }
    if (dot == std::string::npos) {
      node[key] = value;
      break;
    }
    if (!node[key].IsDefined()) node[key] = YAML::Node(YAML::NodeType::Map);
    node.reset(node[key]);
    begin = dot + 1;
  }
  impl_->overridden.insert(path);
}

YamlNode YamlDocument::root() {
  YamlNode node;
  node.document_ = this;
  node.impl_ = std::make_shared<const YamlNode::Impl>(YamlNode::Impl{impl_->root});
  return node;
}

const std::string& YamlDocument::name() const { return impl_->name; }

std::string YamlDocument::to_text() const {
  YAML::Emitter out;
  out << impl_->root;
  return out.c_str();
}

void YamlDocument::log(const std::string& path, std::string value, bool given) {
  const auto [found, added] = impl_->logged.try_emplace(path, read_keys_.size());
  if (added) {
    read_keys_.push_back({path, std::move(value), given});
  } else {
    read_keys_[found->second].given = read_keys_[found->second].given || given;
  }
}

// ---- YamlMap

YamlMap::YamlMap(YamlNode node, std::string what, Mistakes& mistakes)
    : node_(std::move(node)), what_(std::move(what)), mistakes_(&mistakes) {
  if (node_.is_map()) {
    usable_ = true;
    std::set<std::string> seen;
    for (const auto& entry : node_.impl_->node) {
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "?";
      if (!seen.insert(key).second) {
        mistakes_->add(
            {node_.place().file, entry.first.Mark().line + 1, entry.first.Mark().column + 1},
            "key '" + key + "' in " + what_ + " stands here twice", "keep one of them");
      }
    }
  } else if (node_.defined() && !node_.is_null()) {
    mistakes_->add(node_.place(), what_ + " must be a mapping of keys to values");
  } else if (node_.is_null() && node_.path().empty()) {
    mistakes_->add(node_.place(), what_ + " is empty");
  }
}

Place YamlMap::place() const { return node_.place(); }

Place YamlMap::place_of(std::string_view key) {
  const YamlNode value = find(key);
  return value.defined() ? value.place() : place();
}

YamlNode YamlMap::find(std::string_view key) {
  asked_.emplace_back(key);
  // An absent value still knows its path, so that the defaults of what is below it can be shown.
  YamlNode value;
  value.document_ = node_.document_;
  value.path_ = node_.path_.empty() ? std::string(key) : node_.path_ + "." + std::string(key);
  if (value.document_ != nullptr) value.document_->asked_paths_.insert(value.path_);
  if (!usable_) return value;
  for (const auto& entry : node_.impl_->node) {
    if (!entry.first.IsScalar() || entry.first.Scalar() != key) continue;
    value.impl_ = std::make_shared<const YamlNode::Impl>(YamlNode::Impl{entry.second});
    node_.document_->log(value.path_, entry.second.IsScalar() ? entry.second.Scalar() : "", true);
    break;
  }
  return value;
}

YamlNode YamlMap::require(std::string_view key) {
  YamlNode value = find(key);
  if (!value.defined() && (usable_ || !node_.defined() || node_.is_null())) {
    mistakes_->add(place(), what_ + " needs the key '" + std::string(key) + "'");
  }
  return value;
}

void YamlMap::log_default(std::string_view key, std::string value) {
  if (node_.document_ == nullptr) return;
  const std::string path =
      node_.path_.empty() ? std::string(key) : node_.path_ + "." + std::string(key);
  node_.document_->log(path, std::move(value), false);
}

bool YamlMap::has(std::string_view key) { return find(key).defined(); }

std::optional<std::string> YamlMap::scalar(std::string_view key, const YamlNode& value) {
  if (!value.defined()) return std::nullopt;
  if (!value.is_scalar() || value.text().empty()) {
    mistakes_->add(value.place(),
                   "'" + std::string(key) + "' in " + what_ + " must be a single value");
    return std::nullopt;
  }
  return value.text();
}

std::string YamlMap::text(std::string_view key) { return scalar(key, require(key)).value_or(""); }

std::string YamlMap::text_or(std::string_view key, std::string fallback) {
  const YamlNode value = find(key);
  if (!value.defined()) log_default(key, fallback);
  return scalar(key, value).value_or(std::move(fallback));
}

std::optional<std::int64_t> YamlMap::count_of(std::string_view key, const YamlNode& value,
                                              CountRange range) {
  const std::optional<std::string> text = scalar(key, value);
  if (!text) return std::nullopt;
  const std::optional<std::int64_t> count = parse_count(*text);
  if (!count) {
    mistakes_->add(value.place(), "'" + std::string(key) + "' in " + what_ +
                                      " must be a whole number, not '" + *text + "'");
    return std::nullopt;
  }
  if (*count < range.least || *count > range.most) {
    mistakes_->add(value.place(), "'" + std::string(key) + "' in " + what_ + " is " +
                                      std::to_string(*count) + ", but must lie between " +
                                      std::to_string(range.least) + " and " +
                                      std::to_string(range.most));
    return std::nullopt;
  }
  return count;
}

std::int64_t YamlMap::count(std::string_view key, CountRange range) {
  return count_of(key, require(key), range).value_or(range.least);
}

std::int64_t YamlMap::count_or(std::string_view key, std::int64_t fallback, CountRange range) {
  const YamlNode value = find(key);
  if (!value.defined()) log_default(key, std::to_string(fallback));
  return count_of(key, value, range).value_or(fallback);
}

std::optional<double> YamlMap::number_of(std::string_view key, const YamlNode& value,
                                         NumberRange range) {
  const std::optional<std::string> text = scalar(key, value);
  if (!text) return std::nullopt;
  const std::optional<double> number = parse_number(*text);
  if (!number) {
    mistakes_->add(value.place(), "'" + std::string(key) + "' in " + what_ +
                                      " must be a number without a unit, not '" + *text + "'");
    return std::nullopt;
  }
  if (*number < range.least || *number > range.most) {
    std::string message =
        "'" + std::string(key) + "' in " + what_ + " is " + *text + ", but must be ";
    message += range.most == std::numeric_limits<double>::max()
                   ? "at least " + default_text(range.least)
                   : "between " + default_text(range.least) + " and " + default_text(range.most);
    mistakes_->add(value.place(), std::move(message));
    return std::nullopt;
  }
  return number;
}

double YamlMap::number(std::string_view key, NumberRange range) {
  return number_of(key, require(key), range).value_or(range.least);
}

double YamlMap::number_or(std::string_view key, double fallback, NumberRange range) {
  const YamlNode value = find(key);
  if (!value.defined()) log_default(key, default_text(fallback));
  return number_of(key, value, range).value_or(fallback);
}

bool YamlMap::flag_or(std::string_view key, bool fallback) {
  const YamlNode value = find(key);
  if (!value.defined()) log_default(key, fallback ? "true" : "false");
  const std::optional<std::string> text = scalar(key, value);
  if (!text) return fallback;
  if (*text == "true" || *text == "yes" || *text == "on") return true;
  if (*text == "false" || *text == "no" || *text == "off") return false;
  mistakes_->add(value.place(), "'" + std::string(key) + "' in " + what_ +
                                    " must be true or false, not '" + *text + "'");
  return fallback;
}

template <class T, class Parse>
std::optional<T> YamlMap::quantity_of(std::string_view key, const YamlNode& value, Parse parse) {
  const std::optional<std::string> text = scalar(key, value);
  if (!text) return std::nullopt;
  std::string message;
  const std::optional<T> result = parse(*text, message);
  if (!result) {
    const std::size_t split = message.find("; ");
    mistakes_->add(value.place(),
                   "'" + std::string(key) + "' in " + what_ + ": " + message.substr(0, split),
                   split == std::string::npos ? "" : message.substr(split + 2));
  }
  return result;
}

Duration YamlMap::duration(std::string_view key) {
  return quantity_of<Duration>(key, require(key), parse_duration).value_or(Duration(0));
}
Duration YamlMap::duration_or(std::string_view key, Duration fallback) {
  const YamlNode value = find(key);
  if (!value.defined()) log_default(key, format_duration(fallback));
  return quantity_of<Duration>(key, value, parse_duration).value_or(fallback);
}
Bytes YamlMap::bytes(std::string_view key) {
  return quantity_of<Bytes>(key, require(key), parse_bytes).value_or(Bytes(0));
}
Bytes YamlMap::bytes_or(std::string_view key, Bytes fallback) {
  const YamlNode value = find(key);
  if (!value.defined()) log_default(key, format_bytes(fallback));
  return quantity_of<Bytes>(key, value, parse_bytes).value_or(fallback);
}
Bandwidth YamlMap::bandwidth(std::string_view key) {
  return quantity_of<Bandwidth>(key, require(key), parse_bandwidth).value_or(Bandwidth(0));
}
Bandwidth YamlMap::bandwidth_or(std::string_view key, Bandwidth fallback) {
  const YamlNode value = find(key);
  if (!value.defined()) log_default(key, format_bandwidth(fallback));
  return quantity_of<Bandwidth>(key, value, parse_bandwidth).value_or(fallback);
}
FlopRate YamlMap::flop_rate(std::string_view key) {
  return quantity_of<FlopRate>(key, require(key), parse_flop_rate).value_or(FlopRate(0));
}
FlopRate YamlMap::flop_rate_or(std::string_view key, FlopRate fallback) {
  const YamlNode value = find(key);
  if (!value.defined()) log_default(key, default_text(fallback.count() / 1e12) + " TFLOP/s");
  return quantity_of<FlopRate>(key, value, parse_flop_rate).value_or(fallback);
}

double YamlMap::frequency(std::string_view key) {
  return quantity_of<double>(key, require(key), parse_frequency).value_or(0);
}

std::string YamlMap::choice(std::string_view key, std::span<const std::string> choices) {
  std::string fallback = choices.empty() ? "" : choices.front();
  const YamlNode value = require(key);
  const std::optional<std::string> text = scalar(key, value);
  if (!text) return fallback;
  if (std::find(choices.begin(), choices.end(), *text) != choices.end()) return *text;
  mistakes_->add(value.place(),
                 "'" + *text + "' is not a possible '" + std::string(key) + "' of " + what_,
                 suggest(*text, choices));
  return fallback;
}

std::string YamlMap::choice_or(std::string_view key, std::string fallback,
                               std::span<const std::string> choices) {
  if (has(key)) return choice(key, choices);
  log_default(key, fallback);
  return fallback;
}

YamlNode YamlMap::child(std::string_view key) { return find(key); }

std::vector<YamlNode> YamlMap::list_or_empty(std::string_view key) {
  const YamlNode value = find(key);
  if (!value.defined()) return {};
  if (!value.is_list()) {
    mistakes_->add(value.place(), "'" + std::string(key) + "' in " + what_ + " must be a list");
    return {};
  }
  return value.items();
}

std::vector<std::int64_t> YamlMap::counts_or_empty(std::string_view key, CountRange range) {
  std::vector<std::int64_t> result;
  for (const YamlNode& item : list_or_empty(key)) {
    if (const auto count = count_of(key, item, range)) result.push_back(*count);
  }
  return result;
}

std::vector<std::string> YamlMap::texts_or_empty(std::string_view key) {
  std::vector<std::string> result;
  for (const YamlNode& item : list_or_empty(key)) {
    if (auto text = scalar(key, item)) result.push_back(std::move(*text));
  }
  return result;
}

YamlMap YamlMap::map(std::string_view key) { return {require(key), std::string(key), *mistakes_}; }

std::optional<YamlMap> YamlMap::map_if(std::string_view key) {
  YamlNode value = find(key);
  if (!value.defined()) return std::nullopt;
  return YamlMap(std::move(value), std::string(key), *mistakes_);
}

void YamlMap::mistake(std::string_view key, std::string message, std::string hint) {
  mistakes_->add(place_of(key), std::move(message), std::move(hint));
}

void YamlMap::finish() {
  if (!usable_) return;
  std::sort(asked_.begin(), asked_.end());
  asked_.erase(std::unique(asked_.begin(), asked_.end()), asked_.end());
  for (const auto& entry : node_.impl_->node) {
    const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "?";
    if (std::binary_search(asked_.begin(), asked_.end(), key)) continue;
    YamlNode value;
    value.document_ = node_.document_;
    value.impl_ = std::make_shared<const YamlNode::Impl>(YamlNode::Impl{entry.first});
    value.path_ = node_.path_.empty() ? key : node_.path_ + "." + key;
    mistakes_->add(value.place(), "unknown key '" + key + "' in " + what_, suggest(key, asked_));
  }
}

}  // namespace sim
