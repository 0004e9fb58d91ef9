#include "sim/app/kernel_batch.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>

#include "models/device_reader.h"
#include "sim/app/device_choice.h"
#include "sim/app/kernel_request.h"
#include "sim/core/error.h"
#include "sim/input/quantity.h"
#include "sim/input/suggestion.h"
#include "sim/input/text_file.h"
#include "sim/input/whole_file.h"
#include "sim/workloads/flows/text_writer.h"

namespace sim {
namespace {

constexpr std::size_t kMostShown = 50;

// Mistakes of a long file: the first ones, and how many there are.
class RowMistakes {
 public:
  void add(Place place, std::string message, std::string hint = {}) {
    if (shown_.size() < kMostShown) {
      shown_.push_back({std::move(place), std::move(message), std::move(hint)});
    }
    ++count_;
  }
  std::size_t count() const { return count_; }
  void throw_if_any(const std::string& file) {
    if (count_ == 0) return;
    if (count_ > shown_.size()) {
      shown_.push_back({{file}, fmt::format("and {} more mistakes", count_ - shown_.size()), ""});
    }
    throw Error(std::move(shown_));
  }

 private:
  std::vector<Mistake> shown_;
  std::size_t count_ = 0;
};

// Comma-separated; a field in double quotes may hold commas. The quotes are taken off.
void split(std::string_view line, std::vector<std::string_view>& fields) {
  fields.clear();
  for (std::size_t begin = 0;;) {
    std::size_t end = line.find(',', begin);
    std::string_view field = line.substr(begin, end - begin);
    if (!field.empty() && field.front() == '"') {
      const std::size_t close = line.find('"', begin + 1);
      if (close != std::string_view::npos) {
        end = line.find(',', close);
        const std::string_view behind = line.substr(close + 1, end - close - 1);
        // Text behind a closing quote stays in the field, quotes and all: its reader refuses it.
        if (behind.find_first_not_of(" \r") == std::string_view::npos) {
          field = line.substr(begin + 1, close - begin - 1);
        } else {
          field = line.substr(begin, end - begin);
        }
      }
    }
    while (!field.empty() && field.front() == ' ') field.remove_prefix(1);
    while (!field.empty() && field.back() == ' ') field.remove_suffix(1);
    fields.push_back(field);
    if (end == std::string_view::npos) return;
    begin = end + 1;
  }
}

// Where each thing stands; -1: there is no such column.
struct Columns {
  int device = -1, source = -1, dtype = -1, sms = -1, clock = -1, rows = -1;
  std::vector<int> sizes;
  std::size_t count = 0;
};

class Batch {
 public:
  Batch(const KernelKind& kind, std::string device, const std::string& file, const Catalog& catalog)
      : kind_(kind), device_(std::move(device)), catalog_(catalog), in_(file) {}

  void read_header(TextWriter& out);
  bool next_row(TextWriter& out);
  RowMistakes& mistakes() { return mistakes_; }
  BatchResult& result() { return result_; }

 private:
  struct Asked {
    const Device* device = nullptr;
    std::optional<std::string> source;
  };
  std::string_view field(int column) const {
    return column < 0 ? std::string_view() : fields_[static_cast<std::size_t>(column)];
  }
  Place place(int column) const { return in_.place(field(column).data() ? field(column) : line_); }
  void mistake(int column, const Error& error) {
    mistakes_.add(place(column), error.mistakes().front().message, error.mistakes().front().hint);
  }
  bool read_sizes();
  const KernelFormat* format_of(std::string_view typed);
  const Device* device_of(std::string_view typed, std::string_view clock);
  int sms_of(const Device& device);
  const std::optional<std::string>* source_of(const Device& device, const KernelFormat& format,
                                              std::string_view typed);

  const KernelKind& kind_;
  std::string device_;
  const Catalog& catalog_;
  TextFile in_;
  Columns columns_;
  std::string_view line_;
  std::vector<std::string_view> fields_;
  KernelSubject subject_;
  RowMistakes mistakes_;
  BatchResult result_;
  std::unordered_map<std::string, std::unique_ptr<Device>> devices_;
  std::unordered_map<std::string, KernelFormat> formats_;
  std::unordered_map<std::string, std::optional<std::string>> sources_;
};

void Batch::read_header(TextWriter& out) {
  if (!in_.next(line_) || line_.empty()) {
    throw Error(Place{in_.path(), 1, 1}, "there is no line of column names");
  }
  if (line_.substr(0, 3) == "\xEF\xBB\xBF") line_.remove_prefix(3);
  split(line_, fields_);
  columns_.sizes.assign(kind_.sizes.size(), -1);
  columns_.count = fields_.size();
  const std::pair<const char*, int*> others[] = {
      {"device", &columns_.device}, {"source", &columns_.source}, {"dtype", &columns_.dtype},
      {"sms", &columns_.sms},       {"clock", &columns_.clock},   {"rows", &columns_.rows}};
  for (std::size_t c = 0; c < fields_.size(); ++c) {
    std::string name(fields_[c]);
    for (char& each : name) each = static_cast<char>(std::tolower(each));
    int* at = nullptr;
    const int size = size_index(kind_, name);
    if (size >= 0) at = &columns_.sizes[static_cast<std::size_t>(size)];
    for (const auto& [other, column] : others) {
      if (size < 0 && name == other) at = column;
    }
    for (const char* answer : {"time_s", "label", "in_range"}) {
      if (name != answer) continue;
      mistakes_.add(in_.place(fields_[c]),
                    fmt::format("the column '{}' is one that the result adds", answer),
                    "give it another name");
    }
    if (at == nullptr) {
      result_.copied.push_back(name);
      continue;
    }
    if (*at >= 0) {
      mistakes_.add(in_.place(fields_[c]), fmt::format("the column '{}' is there twice", name));
    }
    *at = static_cast<int>(c);
  }
  for (std::size_t i = 0; i < kind_.sizes.size(); ++i) {
    if (columns_.sizes[i] >= 0 || kind_.sizes[i].fallback != kNeeded) continue;
    mistakes_.add(
        {in_.path(), 1, 1}, fmt::format("there is no column '{}'", kind_.sizes[i].key),
        fmt::format("{} needs {}", kind_.name,
                    kind_.sizes[i].help.empty() ? kind_.sizes[i].key : kind_.sizes[i].help));
  }
  if (columns_.device < 0 && device_.empty()) {
    mistakes_.add({in_.path(), 1, 1}, "there is no column 'device'", "or name one with --device");
  }
  mistakes_.throw_if_any(in_.path());
  out.add(line_).add(std::string_view(",time_s,label,in_range\n"));
}

bool Batch::read_sizes() {
  const std::size_t before = mistakes_.count();
  subject_.sizes.clear();
  for (std::size_t i = 0; i < kind_.sizes.size(); ++i) {
    const KernelSize& size = kind_.sizes[i];
    const std::string_view text = field(columns_.sizes[i]);
    std::int64_t value = size.fallback;
    const std::int64_t least = size.fallback == 0 || size.key == "gated" ? 0 : 1;
    if (!text.empty()) {
      std::optional<std::int64_t> count = parse_count(text);
      if (!count || *count < least || *count > largest_size(size.key)) {
        mistakes_.add(place(columns_.sizes[i]),
                      fmt::format("{}: '{}' is not a whole number from {} to {}", size.key, text,
                                  least, largest_size(size.key)));
        count = 1;
      }
      value = *count;
    } else if (value == kNeeded) {
      mistakes_.add(place(columns_.sizes[i]), fmt::format("{} is missing in this row", size.key));
      value = 1;
    }
    subject_.sizes.push_back(value);
  }
  subject_.rows.clear();
  if (kind_.is_experts() && !field(columns_.rows).empty()) {
    try {
      parse_rows(field(columns_.rows), subject_.rows);
    } catch (const Error& error) {
      mistake(columns_.rows, error);
    }
  }
  return mistakes_.count() == before;
}

const KernelFormat* Batch::format_of(std::string_view typed) {
  const std::string key(typed.empty() ? "bf16" : typed);
  auto at = formats_.find(key);
  if (at == formats_.end()) {
    try {
      at = formats_.emplace(key, find_format(key)).first;
    } catch (const Error& error) {
      mistake(columns_.dtype, error);
      return nullptr;
    }
  }
  return &at->second;
}

const Device* Batch::device_of(std::string_view typed, std::string_view clock) {
  const std::string name(typed.empty() ? device_ : typed);
  if (name.empty()) {
    mistakes_.add(place(columns_.device), "device is missing in this row");
    return nullptr;
  }
  const std::string key = name + "\n" + std::string(clock);
  auto at = devices_.find(key);
  if (at != devices_.end()) return at->second.get();
  int column = columns_.device;
  try {
    auto device = std::make_unique<Device>(find_device(catalog_, name));
    lend_from_nearest(catalog_, *device);
    column = columns_.clock;
    if (!clock.empty()) {
      std::string message;
      const std::optional<double> hz = parse_frequency(clock, message);
      if (!hz) throw Error(message);
      if (*hz < 1e6 || *hz > 1e11) throw Error("a clock lies between 1 MHz and 100 GHz");
      if (device->clock_hz <= 0) throw Error(device->name + " has no clock in its device file");
      *device = at_clock(*device, *hz);
    }
    return devices_.emplace(key, std::move(device)).first->second.get();
  } catch (const Error& error) {
    mistake(column, error);
    return nullptr;
  }
}

int Batch::sms_of(const Device& device) {
  const std::string_view text = field(columns_.sms);
  if (text.empty()) return device.sms;
  const std::optional<std::int64_t> sms = parse_count(text);
  if (sms && *sms >= 1 && *sms <= device.sms) return static_cast<int>(*sms);
  mistakes_.add(place(columns_.sms),
                fmt::format("sms: '{}' is not a number from 1 to {}, which {} has", text,
                            device.sms, device.name));
  return device.sms;
}

const std::optional<std::string>* Batch::source_of(const Device& device, const KernelFormat& format,
                                                   std::string_view typed) {
  const std::string key =
      fmt::format("{}\n{}\n{}", static_cast<const void*>(&device), to_text(format), typed);
  auto at = sources_.find(key);
  if (at == sources_.end()) {
    try {
      at = sources_.emplace(key, find_source(device, kind_, format, std::string(typed))).first;
    } catch (const Error& error) {
      mistake(columns_.source, error);
      return nullptr;
    }
  }
  return &at->second;
}

// False at the end of the file.
bool Batch::next_row(TextWriter& out) {
  do {
    if (!in_.next(line_)) return false;
  } while (line_.empty());
  split(line_, fields_);
  if (fields_.size() != columns_.count) {
    mistakes_.add(in_.place(line_), fmt::format("{} fields in this row, there are {} columns",
                                                fields_.size(), columns_.count));
    return true;
  }
  const bool sizes = read_sizes();
  const KernelFormat* format = format_of(field(columns_.dtype));
  const Device* device = device_of(field(columns_.device), field(columns_.clock));
  if (!sizes || format == nullptr || device == nullptr) return true;
  subject_.format = *format;
  const std::optional<std::string>* source = source_of(*device, *format, field(columns_.source));
  const int sms = sms_of(*device);
  if (source == nullptr) return true;
  try {
    kind_.fill(kind_, subject_);
  } catch (const Error& error) {
    mistakes_.add(in_.place(line_), error.mistakes().front().message);
    return true;
  }
  if (mistakes_.count() > 0) return true;  // nothing will be written
  const KernelAnswerer by = choose_answerer(*device, kind_, subject_, *source);
  KernelCost cost;
  try {
    cost = price(*device, kind_, subject_, by, sms);
  } catch (const Error& error) {  // no answer, or one that no clock holds
    mistakes_.add(in_.place(line_), error.mistakes().front().message,
                  error.mistakes().front().hint);
    return true;
  }
  ++result_.rows;
  ++result_.labels[std::string(to_text(cost.label))];
  if (!cost.in_range) ++result_.outside;
  if (!by.substitute.empty()) ++result_.substituted;
  out.add(line_).add(fmt::format(",{:.9g},", to_seconds(cost.time))).add(to_text(cost.label));
  out.add(std::string_view(cost.in_range ? ",true\n" : ",false\n"));
  return true;
}

}  // namespace

BatchResult run_kernel_batch(const std::string& kernel, const std::string& device,
                             const std::string& batch, const std::string& out,
                             const Catalog& catalog) {
  const KernelKind* kind = find_kernel_kind(kernel);
  if (kind == nullptr) {
    throw Error(Place{"--kernel"}, fmt::format("there is no kernel '{}'", kernel),
                suggest(kernel, kernel_kind_names()));
  }
  Batch asked(*kind, device, batch, catalog);
  WholeFile part(out);
  TextWriter writer(part.name());
  asked.read_header(writer);
  while (asked.next_row(writer)) {
  }
  asked.mistakes().throw_if_any(batch);
  writer.close();
  part.keep();
  asked.result().kernel = kind->name;
  return asked.result();
}

std::string batch_text(const BatchResult& result, const std::string& out) {
  std::string text = fmt::format("{} rows of {} in {}:", result.rows, result.kernel, out);
  bool first = true;
  for (const auto& [label, rows] : result.labels) {
    text += fmt::format("{} {} {}", first ? "" : ",", rows, label);
    first = false;
  }
  text += fmt::format("; {} outside a calibrated range", result.outside);
  if (!result.copied.empty()) {
    text += fmt::format("; columns copied and not read: {}", fmt::join(result.copied, ", "));
  }
  if (result.substituted > 0) {
    text += fmt::format(", {} by another source or format than asked for", result.substituted);
  }
  return text + "\n";
}

std::string batch_json(const BatchResult& result) {
  const nlohmann::ordered_json json = {{"kernel", result.kernel},
                                       {"rows", result.rows},
                                       {"outside", result.outside},
                                       {"substituted", result.substituted},
                                       {"labels", result.labels}};
  return json.dump(2) + "\n";
}

}  // namespace sim
