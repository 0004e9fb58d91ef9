#include "sim/app/validation/reproductions.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "sim/app/scenario_document.h"
#include "sim/app/validation/inline_scenario.h"
#include "sim/input/suggestion.h"
#include "sim/input/text_file.h"

namespace sim {
namespace fs = std::filesystem;
namespace {

bool is_name(const std::string& text) {
  return !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) == 0 &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
         });
}

std::vector<std::string> names_of(const std::map<std::string, ReproductionRun>& runs) {
  std::vector<std::string> names;
  for (const auto& [name, run] : runs) names.push_back(name);
  return names;
}

// Reads one file; what is wrong goes to `mistakes`.
class FileReader {
 public:
  FileReader(YamlDocument& document, const Catalog& catalog, const Tolerances& tolerances,
             Mistakes& mistakes)
      : root_(document.root(), "the reproduction", mistakes),
        catalog_(catalog),
        tolerances_(tolerances),
        mistakes_(mistakes) {
    result_.file = document.name();
  }

  Reproduction read() {
    result_.system = root_.text("system");
    YamlMap source = root_.map("source");
    const std::string title = source.text("title");
    const std::string table = source.text_or("table", "");
    const std::string url = source.text("url");
    source.finish();
    result_.source = title + (table.empty() ? "" : ", " + table) + ", " + url;
    tables_ = root_.texts_or_empty("tables");
    read_runs();
    for (const YamlNode& node : root_.list_or_empty("rows")) read_row(node);
    if (result_.rows.empty()) root_.mistake("rows", "the reproduction has no rows");
    root_.finish();
    for (const auto& [name, run] : result_.runs) {
      if (used_.count(name) == 0)
        mistakes_.add(run.place, "nothing uses the run '" + name + "'", "remove it");
    }
    return std::move(result_);
  }

 private:
  void read_runs() {
    const std::optional<YamlMap> map = root_.map_if("runs");
    if (!map) return;
    for (const auto& [name, node] : map->node().entries()) {
      if (!is_name(name)) {
        mistakes_.add(node.place(), "'" + name + "' is not a name of a run",
                      "letters, digits and _, a letter first");
        continue;
      }
      YamlMap run(node, "run '" + name + "'", mistakes_);
      std::optional<ReproductionRun> read = read_one(run, node.path());
      if (read) result_.runs.emplace(name, std::move(*read));
    }
  }

  // `path` of the run in its file; empty: of a row, which has no scenario of its own.
  std::optional<ReproductionRun> read_one(YamlMap& map, const std::string& path) {
    ReproductionRun run;
    bool good = true;
    const bool from = map.has("from");
    const YamlNode scenario = path.empty() ? YamlNode() : map.child("scenario");
    if (from == scenario.defined()) {
      mistakes_.add(map.place(), path.empty() ? map.what() + " needs 'from', the run it changes"
                                              : map.what() + " needs either 'scenario' or 'from'");
      good = false;
    } else if (from) {
      const std::string base = map.text("from");
      const auto found = result_.runs.find(base);
      if (found == result_.runs.end()) {
        map.mistake("from", "there is no run '" + base + "' above this one",
                    suggest(base, names_of(result_.runs)));
        good = false;
      } else {
        used_.insert(base);
        run = found->second;
      }
    } else if (scenario.is_map()) {
      run.file = result_.file;
      run.path = path + ".scenario";
    } else {
      good = read_file(map, run);
    }
    run.place = map.place();
    for (std::string& each : map.texts_or_empty("set")) run.set.push_back(std::move(each));
    run.slow = map.flag_or("slow", run.slow);
    map.finish();
    return good ? std::optional(std::move(run)) : std::nullopt;
  }

  bool read_file(YamlMap& map, ReproductionRun& run) {
    const std::string name = map.text("scenario");
    const fs::path beside = fs::path(result_.file).parent_path() / name;
    std::error_code code;
    if (fs::is_regular_file(beside, code)) {
      run.file = beside.string();
      return true;
    }
    try {
      run.file = catalog_.scenario_file(name);
      return true;
    } catch (const Error& error) {
      map.mistake("scenario", error.mistakes().front().message, error.mistakes().front().hint);
      return false;
    }
  }

  void read_row(const YamlNode& node) {
    YamlMap map(node, "the row", mistakes_);
    ReproductionRow row;
    row.place = map.place();
    row.id = map.text("id");
    row.figure = map.text("figure");
    row.published = map.number("published", {-1e300, 1e300});
    row.unit = map.text("unit");
    std::vector<std::string> kinds;
    for (const auto& [kind, share] : tolerances_.share) kinds.push_back(kind);
    row.kind = map.choice("kind", kinds);
    row.tables = map.has("tables") ? map.texts_or_empty("tables") : tables_;
    if (const std::optional<YamlMap> run = map.map_if("run")) {
      YamlMap own = *run;
      row.own = read_one(own, "");
    }
    const bool not_run = map.has("not_run");
    const bool value = map.has("value");
    if (not_run == value) {
      mistakes_.add(row.place, "row '" + row.id + "' needs either 'value' or 'not_run'");
    } else if (not_run) {
      row.reason = map.text("not_run");
      if (map.has("reason")) map.mistake("reason", "'not_run' says the reason already");
    } else {
      row.reason = map.text_or("reason", "");
      read_value(map, row);
    }
    if (row.published == 0) map.mistake("published", "an error is relative: 0 has none");
    map.finish();
    result_.rows.push_back(std::move(row));
  }

  void read_value(YamlMap& map, ReproductionRow& row) {
    const Place place = map.place_of("value");
    try {
      row.value = Expression::parse(map.text("value"), place);
    } catch (const Error& error) {
      mistakes_.add(error);
      return;
    }
    for (const std::string& name : row.value->names()) {
      const std::size_t dot = name.find('.');
      const std::string head = name.substr(0, dot);
      if (head == "run") {
        if (!row.own) mistakes_.add(place, "'" + name + "': the row has no 'run'");
        continue;
      }
      if (head != "runs" && head != "check") {
        mistakes_.add(place, "'" + name + "' is not a quantity",
                      "runs.NAME.METRIC, check.NAME.memory.ITEM, or run.METRIC of the row's run");
        continue;
      }
      const std::size_t end = dot == std::string::npos ? dot : name.find('.', dot + 1);
      const std::string run = end == std::string::npos ? "" : name.substr(dot + 1, end - dot - 1);
      // The row's own run is checked as check.run.
      if (head == "check" && run == "run" && row.own) continue;
      used_.insert(run);
      if (result_.runs.count(run) == 0) {
        mistakes_.add(place, "there is no run '" + run + "' in '" + name + "'",
                      suggest(run, names_of(result_.runs)));
      }
    }
  }

  YamlMap root_;
  const Catalog& catalog_;
  const Tolerances& tolerances_;
  Mistakes& mistakes_;
  Reproduction result_;
  std::vector<std::string> tables_;
  std::set<std::string> used_;
};

Tolerances read_tolerances(const std::string& file) {
  const std::unique_ptr<YamlDocument> document = YamlDocument::load(file);
  Mistakes mistakes;
  YamlMap root(document->root(), "the tolerances", mistakes);
  mistakes.throw_if_any();
  Tolerances result;
  for (const auto& [kind, node] : document->root().entries()) {
    YamlMap map(node, "'" + kind + "'", mistakes);
    result.share[kind] = map.number("percent", {0, 100}) / 100;
    map.text("of");
    map.finish();
  }
  mistakes.throw_if_any();
  return result;
}

constexpr std::size_t kMostAnswerBytes = std::size_t{64} << 20;

// The rows with a result of one answer of `simulate validate --json`.
void read_earlier(const std::string& file, std::map<std::string, EarlierResult>& earlier) {
  try {
    for (const nlohmann::json& row : nlohmann::json::parse(read_head(file, kMostAnswerBytes))) {
      if (row.at("simulated").is_null()) continue;
      earlier[row.at("id").get<std::string>()] = {row.at("simulated").get<double>(),
                                                  row.at("fitted").get<bool>()};
    }
  } catch (const nlohmann::json::exception& error) {
    throw Error(Place{file},
                std::string("this is no answer of `simulate validate --json`: ") + error.what());
  }
}

}  // namespace

Reproductions read_reproductions(const std::string& folder, const std::string& fallback_tolerances,
                                 const Catalog& catalog) {
  std::error_code code;
  if (!fs::is_directory(folder, code)) throw Error(Place{folder}, "this is not a folder");
  Reproductions result;
  const fs::path own = fs::path(folder) / "tolerances.yaml";
  result.tolerances =
      read_tolerances(fs::is_regular_file(own, code) ? own.string() : fallback_tolerances);
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    if (entry.path().extension() == ".yaml" && entry.path().filename() != "tolerances.yaml")
      files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) throw Error(Place{folder}, "no reproductions (*.yaml) lie in this folder");
  Mistakes mistakes;
  std::map<std::string, Place> ids;
  for (const std::string& file : files) {
    std::unique_ptr<YamlDocument> document;
    try {
      document = YamlDocument::load(file);
    } catch (const Error& error) {
      mistakes.add(error);
      continue;
    }
    result.systems.push_back(FileReader(*document, catalog, result.tolerances, mistakes).read());
    for (const ReproductionRow& row : result.systems.back().rows) {
      const auto [first, added] = ids.emplace(row.id, row.place);
      if (added || row.id.empty()) continue;
      mistakes.add(row.place,
                   "the id '" + row.id + "' stands at " + first->second.file + ":" +
                       std::to_string(first->second.line) + " already",
                   "every published number has an id of its own");
    }
  }
  mistakes.throw_if_any();
  std::vector<std::string> answers;
  for (const auto& entry : fs::directory_iterator(fs::path(folder) / "slow", code)) {
    if (entry.path().extension() == ".json") answers.push_back(entry.path().string());
  }
  std::sort(answers.begin(), answers.end());
  for (const std::string& file : answers) read_earlier(file, result.earlier);
  return result;
}

RunScenario read_run(const ReproductionRun& run, const Catalog& catalog) {
  const std::unique_ptr<YamlDocument> document =
      run.path.empty() ? YamlDocument::load(run.file) : load_part(run.file, run.path);
  try {
    for (const std::string& assignment : run.set) document->set(assignment);
    if (is_operations_scenario(*document)) return read_operations_scenario(*document);
    return read_scenario(*document, catalog);
  } catch (const Error& error) {
    std::vector<Mistake> mistakes = error.mistakes();
    for (Mistake& mistake : mistakes) {
      if (mistake.place.file.rfind("--set ", 0) != 0) continue;
      mistake.message = "set " + mistake.place.file.substr(6) + ": " + mistake.message;
      mistake.place = run.place;
    }
    throw Error(std::move(mistakes));
  }
}

}  // namespace sim
