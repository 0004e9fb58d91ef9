#include "traces/synthetic/dynamics/recorded_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <regex>
#include <system_error>

#include "sim/core/error.h"
#include "sim/input/text_file.h"
#include "traces/statistics.h"

namespace sim {
namespace {

// SIZES of traces/samples/training/train.py.
const std::map<std::string, int> kHidden = {
    {"tiny", 32}, {"small", 96}, {"large", 128}, {"wide", 96}};
constexpr const char* kSuffix = ".counts.moetrace";

bool read_number(const std::string& text, double& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

RecordedRun read_recorded_run(const std::string& path, const std::string& name) {
  RecordedRun recorded;
  recorded.name = name;
  recorded.run = training_run_of(name);
  const TraceInfo info = read_info(path);
  const std::vector<LayerStatistics> rows = layer_statistics(path, StatisticsBy::kStep);
  if (rows.empty() || !rows.front().step) throw Error(fmt::format("{} holds no steps", path));
  CurveRecorder recorder;
  std::int64_t step = *rows.front().step;
  std::int64_t steps = 1;
  for (const LayerStatistics& row : rows) {
    if (*row.step != step) {
      recorder.end_step();
      step = *row.step;
      ++steps;
    }
    recorder.add(std::vector<double>(row.counts.begin(), row.counts.end()));
  }
  recorder.end_step();
  recorded.curve = recorder.curve();
  recorded.run.layers = info.header.layers();
  recorded.run.experts = info.header.experts.front();
  recorded.run.steps = static_cast<int>(steps);
  recorded.run.tokens_per_step = rows.front().imbalance.choices / recorded.run.top_k;
  check_training_run(recorded.run);
  return recorded;
}

}  // namespace

std::string RecordedRun::family() const { return name.substr(0, name.rfind("-s")); }

TrainingRun training_run_of(const std::string& name) {
  static const std::regex form(R"((\w+)-k(\d)-(none|switch|bias)([0-9.]*)-s(\d{1,6}))");
  std::smatch parts;
  double coefficient = 0;
  if (!std::regex_match(name, parts, form) || !kHidden.contains(parts[1]) ||
      (parts[3] == "none") != (parts[4] == "") ||
      (parts[4] != "" && !read_number(parts[4].str(), coefficient))) {
    throw Error(fmt::format("'{}' is no name of a training run", name),
                "like small-k2-switch0.01-s1: size, top-k, term with coefficient, seed");
  }
  TrainingRun run;
  run.hidden = kHidden.at(parts[1]);
  run.top_k = std::stoi(parts[2]);
  run.term = parts[3] == "switch" ? DynamicsTerm::kSwitch
             : parts[3] == "bias" ? DynamicsTerm::kBias
                                  : DynamicsTerm::kNone;
  run.coefficient = coefficient;
  run.seed = std::stoull(parts[5]);
  return run;
}

std::vector<RecordedRun> read_recorded_runs(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(folder, missing)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(kSuffix)) names.push_back(name.substr(0, name.rfind(kSuffix)));
  }
  if (names.empty()) {
    throw Error(fmt::format("no *{} in {}", kSuffix, folder),
                "traces/samples/training/make.sh makes them");
  }
  std::sort(names.begin(), names.end());
  std::vector<RecordedRun> runs;
  for (const std::string& name : names) {
    runs.push_back(read_recorded_run(folder + "/" + name + kSuffix, name));
  }
  return runs;
}

void add_switch_values(const std::string& csv, std::span<RecordedRun> runs) {
  CsvFile file(csv);
  const std::size_t name = file.column("run");
  const std::size_t window = file.column("window");
  const std::size_t value = file.column("switch_value");
  while (file.next()) {
    const auto run = std::find_if(runs.begin(), runs.end(), [&](const RecordedRun& recorded) {
      return recorded.name == file.text(name);
    });
    if (run == runs.end()) continue;
    std::vector<double>& values = run->curve.switch_value;
    if (file.count(window, 1 << 20) != static_cast<std::int64_t>(values.size()) ||
        values.size() == run->curve.imbalance.size()) {
      file.fail(window, fmt::format("window {} of {} comes next", values.size(), run->name));
    }
    values.push_back(file.number(value, 0, 1e6));
  }
  for (const RecordedRun& run : runs) {
    const std::size_t found = run.curve.switch_value.size();
    if (found > 0 && found < run.curve.imbalance.size()) {
      throw Error(fmt::format("{} has {} of {} windows of {}", csv, found,
                              run.curve.imbalance.size(), run.name));
    }
  }
}

}  // namespace sim
