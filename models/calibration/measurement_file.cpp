#include "models/calibration/measurement_file.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>

#include "sim/core/error.h"
#include "sim/input/quantity.h"
#include "sim/input/yaml_reader.h"
#include "sim/input/yaml_text.h"

namespace sim {

namespace {

constexpr std::uintmax_t kLargestFile = 16ULL << 20;
constexpr const char* kFormat = "moe-microbench";
constexpr double kMostClockMhz = 100'000;
constexpr std::int64_t kMost = 1'000'000'000'000'000;  // of a size or a number of bytes

constexpr const char* kNoFormat = "this is not a microbenchmark's file: it has no key 'format'";
constexpr const char* kWriteOne = "write one with: microbench --backend cpu --quick --out FILE";

// The other checks make sense only for a file that is one of ours, so these come first, alone.
void check_format(YamlMap& root) {
  Mistakes& mistakes = root.mistakes();
  if (!root.has("format")) {
    mistakes.add(root.place(), kNoFormat, kWriteOne);
    mistakes.throw_if_any();
  }
  const std::string format = root.text("format");
  if (format != kFormat) {
    root.mistake("format", "this is not a microbenchmark's file: its format is '" + format + "'",
                 std::string("the format is '") + kFormat + "'");
  }
  mistakes.throw_if_any();
  const std::int64_t version = root.count("version", {1, 1'000'000});
  if (version > kMeasurementVersion) {
    root.mistake("version",
                 "this file has version " + std::to_string(version) + ", this program reads " +
                     std::to_string(kMeasurementVersion) + " at most",
                 "use a newer simulate, or measure again with the microbench beside this one");
  }
  mistakes.throw_if_any();
}

void check_unit(YamlMap& units, const char* what, const char* known) {
  if (!units.has(what)) {
    units.mistake(what, std::string("units needs the key '") + what + "'",
                  std::string("the only one is '") + known + "'");
    return;
  }
  const std::string unit = units.text(what);
  if (unit.empty() || unit == known) return;
  units.mistake(what, "'" + unit + "' is not a unit of '" + what + "' in this format",
                std::string("the only one is '") + known + "'");
}

// A note: may be absent, and may be the empty text that text() refuses.
std::string text_or_empty(YamlMap& map, const char* key) {
  const YamlNode value = map.child(key);
  if (!value.defined() || (value.is_scalar() && value.text().empty())) return "";
  return map.text(key);
}

MeasuredDevice read_device(YamlMap map) {
  MeasuredDevice device;
  device.name = map.text("name");
  device.sms = static_cast<int>(map.count("sms", {1, 1'000'000}));
  device.clock_mhz = map.number_or("clock_mhz", 0, {0, kMostClockMhz});
  device.clock_note = text_or_empty(map, "clock_note");
  device.memory_bytes = map.count("memory_bytes", {1, kMost});
  device.driver = text_or_empty(map, "driver");
  device.runtime = text_or_empty(map, "runtime");
  map.finish();
  return device;
}

MeasurementMethod read_method(YamlMap map) {
  static const std::vector<std::string> kStatistics = {"median"};
  MeasurementMethod method;
  method.warm_up = static_cast<int>(map.count("warm_up"));
  method.least_repeats = static_cast<int>(map.count("least_repeats", {1}));
  method.least_time_s = map.number("least_time_s");
  method.rotating_bytes = map.count("rotating_bytes", {0, kMost});
  method.rotated = text_or_empty(map, "rotated");
  method.clock = text_or_empty(map, "clock");
  method.statistic = map.choice("statistic", kStatistics);
  map.finish();
  return method;
}

// A mapping of the file; nothing where it is missing or is none, which is said once.
std::optional<YamlMap> section(YamlMap& root, const char* key) {
  const YamlNode node = root.child(key);
  if (node.defined() && node.is_map()) return YamlMap(node, key, root.mistakes());
  if (!node.defined()) {
    root.mistake(key, root.what() + " needs the key '" + key + "'");
  } else {
    root.mistake(key, std::string(key) + " must be a mapping of keys to values");
  }
  return std::nullopt;
}

// YYYY-MM-DD of a day that there is.
bool is_date(const std::string& text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return false;
  const auto number = [&](std::size_t begin, std::size_t digits) {
    const std::string part = text.substr(begin, digits);
    const bool plain = part.find_first_not_of("0123456789") == std::string::npos;
    return plain ? std::stoi(part) : -1;
  };
  const int year = number(0, 4), month = number(5, 2), day = number(8, 2);
  if (year < 0 || month < 0 || day < 0) return false;
  return std::chrono::year_month_day(std::chrono::year(year),
                                     std::chrono::month(static_cast<unsigned>(month)),
                                     std::chrono::day(static_cast<unsigned>(day)))
      .ok();
}

void check_row_count(YamlMap& root, std::size_t rows) {
  if (!root.has("row_count")) return;  // files of before it was written
  const std::size_t before = root.mistakes().list().size();
  const std::int64_t stated = root.count("row_count", {1});
  const auto held = static_cast<std::int64_t>(rows);
  if (root.mistakes().list().size() != before || stated == held) return;
  if (held < stated) {
    root.mistake("row_count",
                 fmt::format("the file states {} rows, but holds {}: {} are missing", stated, held,
                             stated - held),
                 "it was cut; copy it again, or measure again");
  } else {
    root.mistake("row_count", fmt::format("the file states {} rows, but holds {}", stated, held),
                 "state the rows that there are, if they were added on purpose");
  }
}

double read_time(YamlMap& row, const char* key) {
  const std::size_t before = row.mistakes().list().size();
  const double time = row.number(key, {std::numeric_limits<double>::lowest()});
  if (row.mistakes().list().size() == before && !(time > 0)) {
    row.mistake(key, fmt::format("'{}' of a row is {:g}, but a time must be above 0", key, time));
  }
  return time;
}

std::map<std::string, std::int64_t> read_sizes(YamlMap& row) {
  std::map<std::string, std::int64_t> sizes;
  YamlMap map = row.map("sizes");
  if (!map.node().is_map()) return sizes;
  for (const auto& [name, value] : map.node().entries()) {
    const std::size_t before = row.mistakes().list().size();
    const std::int64_t size = map.count(name, {-kMost, kMost});
    if (row.mistakes().list().size() == before) sizes[name] = size;
  }
  return sizes;
}

std::map<std::string, std::string> read_options(YamlMap& row) {
  std::map<std::string, std::string> options;
  std::optional<YamlMap> map = row.map_if("options");
  if (!map || !map->node().is_map()) return options;
  for (const auto& entry : map->node().entries()) {
    options[entry.first] = map->text(entry.first);
  }
  return options;
}

MeasuredCase read_row(const YamlNode& node, Mistakes& mistakes) {
  const std::size_t before = mistakes.list().size();
  MeasuredCase row;
  row.line = node.place().line;
  if (!node.is_map()) {
    mistakes.add(node.place(), "a row must be a mapping of keys to values");
    return row;
  }
  YamlMap map(node, "a row", mistakes);
  row.what.kernel = map.text("kernel");
  row.what.implementation = map.text_or("implementation", "own");
  row.what.dtype = map.text("dtype");
  row.what.pass = map.text("pass");
  row.what.sizes = read_sizes(map);
  row.what.rows = map.counts_or_empty("rows", {-kMost, kMost});
  row.what.options = read_options(map);
  row.what.sms = static_cast<int>(map.count_or("sms", 0));
  row.what.launch = map.text_or("launch", "eager");
  row.median_us = read_time(map, "median");
  row.p10_us = read_time(map, "p10");
  row.p90_us = read_time(map, "p90");
  row.repeats = map.count("repeats", {1});
  map.finish();
  if (mistakes.list().size() != before) return row;
  for (const std::string& text : case_mistakes(row.what)) mistakes.add(node.place(), text);
  const auto order = [&](const char* low, double a, const char* high, double b) {
    if (a <= b) return;
    map.mistake(low, fmt::format("'{}' {:g} is above '{}' {:g}", low, a, high, b));
  };
  order("p10", row.p10_us, "median", row.median_us);
  order("median", row.median_us, "p90", row.p90_us);
  return row;
}

MeasurementFile read(YamlDocument& document) {
  const YamlNode top = document.root();
  if (!top.is_map()) {
    throw Error(top.place(), !top.defined() || top.is_null() ? "the file is empty" : kNoFormat,
                kWriteOne);
  }
  Mistakes mistakes;
  YamlMap root(top, "the file", mistakes);
  check_format(root);
  MeasurementFile file;
  file.written_by = root.text("written_by");
  static const std::vector<std::string> kBackends = {"cpu", "cuda"};
  file.date = root.text("date");
  if (!file.date.empty() && !is_date(file.date)) {
    root.mistake("date", "'" + file.date + "' is not a date", "write it as 2026-11-22");
  }
  file.backend = root.choice("backend", kBackends);
  if (std::optional<YamlMap> map = section(root, "device")) file.device = read_device(*map);
  if (std::optional<YamlMap> map = section(root, "method")) file.method = read_method(*map);
  if (std::optional<YamlMap> units = section(root, "units")) {
    check_unit(*units, "time", "us");
    check_unit(*units, "bytes", "B");
    units->finish();
  }
  for (const YamlNode& node : root.list_or_empty("left_out")) {
    if (!node.is_map()) {
      mistakes.add(node.place(), "an entry of left_out must be a mapping of keys to values");
      continue;
    }
    YamlMap map(node, "an entry of left_out", mistakes);
    file.left_out.push_back({map.text("kernel"), map.text("reason")});
    map.finish();
  }
  file.failed_checks = root.count_or("failed_checks", 0);
  for (const YamlNode& node : root.list_or_empty("rows")) {
    file.rows.push_back(read_row(node, mistakes));
  }
  check_row_count(root, file.rows.size());
  if (file.rows.empty()) {
    root.mistake("rows", "the file has no rows, so nothing was measured",
                 "microbench left everything out or every check failed");
  }
  root.finish();
  mistakes.throw_if_any();
  return file;
}

template <class Map, class Format>
std::string flow_map(const Map& map, Format format) {
  std::string out;
  for (const auto& [name, value] : map) {
    out += (out.empty() ? "" : ", ") + name + ": " + format(value);
  }
  return "{" + out + "}";
}

std::string to_yaml(const MeasuredCase& row) {
  const KernelCase& what = row.what;
  std::string out =
      fmt::format("- {{kernel: {}, implementation: {}, dtype: {}, pass: {}, sizes: {}", what.kernel,
                  what.implementation, what.dtype, what.pass,
                  flow_map(what.sizes, [](std::int64_t size) { return std::to_string(size); }));
  if (!what.rows.empty()) {
    out += ", rows: [";
    for (std::size_t i = 0; i < what.rows.size(); ++i) {
      out += (i == 0 ? "" : ", ") + std::to_string(what.rows[i]);
    }
    out += "]";
  }
  if (!what.options.empty()) {
    out += ", options: " + flow_map(what.options, [](const std::string& word) { return word; });
  }
  if (what.sms != 0) out += fmt::format(", sms: {}", what.sms);
  if (what.launch != "eager") out += ", launch: " + what.launch;
  return out + fmt::format(", median: {:.7g}, p10: {:.7g}, p90: {:.7g}, repeats: {}}}\n",
                           row.median_us, row.p10_us, row.p90_us, row.repeats);
}

}  // namespace

MeasurementFile read_measurement_file(const std::string& path) {
  std::error_code code;
  const std::uintmax_t bytes = std::filesystem::file_size(path, code);
  if (!code && bytes > kLargestFile) {
    throw Error(Place{path}, "this file is larger than 16 MiB",
                "a microbenchmark's file is much smaller; is it a trace?");
  }
  return read(*YamlDocument::load(path));
}

MeasurementFile parse_measurement_file(const std::string& text, const std::string& name) {
  return read(*YamlDocument::parse(text, name));
}

std::string to_yaml(const MeasurementFile& file) {
  const MeasuredDevice& device = file.device;
  const MeasurementMethod& method = file.method;
  std::string out =
      fmt::format("format: {}\nversion: {}\nwritten_by: {}\ndate: {}\nbackend: {}\n", kFormat,
                  kMeasurementVersion, yaml_quoted(file.written_by), file.date, file.backend);
  out += fmt::format(
      "device: {{name: {}, sms: {}, clock_mhz: {:g}, clock_note: {}, memory_bytes: {}, driver: {}, "
      "runtime: {}}}\n",
      yaml_quoted(device.name), device.sms, device.clock_mhz, yaml_quoted(device.clock_note),
      device.memory_bytes, yaml_quoted(device.driver), yaml_quoted(device.runtime));
  out += fmt::format(
      "method: {{warm_up: {}, least_repeats: {}, least_time_s: {:g}, rotating_bytes: {}, "
      "rotated: {}, clock: {}, statistic: {}}}\n",
      method.warm_up, method.least_repeats, method.least_time_s, method.rotating_bytes,
      yaml_quoted(method.rotated), yaml_quoted(method.clock), method.statistic);
  out += "units: {time: us, bytes: B}\nleft_out:";
  if (file.left_out.empty()) out += " []";
  out += "\n";
  for (const LeftOut& left : file.left_out) {
    out += fmt::format("- {{kernel: {}, reason: {}}}\n", left.kernel, yaml_quoted(left.reason));
  }
  out += fmt::format("failed_checks: {}\nrow_count: {}\nrows:\n", file.failed_checks,
                     file.rows.size());
  for (const MeasuredCase& row : file.rows) out += to_yaml(row);
  return out;
}

}  // namespace sim
