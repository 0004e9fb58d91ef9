#include "sim/app/catalog.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "sim/core/error.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace fs = std::filesystem;
namespace {

bool is_root(const fs::path& folder) {
  std::error_code code;
  return fs::is_directory(folder / "models" / "catalog", code) &&
         fs::is_directory(folder / "topologies" / "catalog", code);
}

}  // namespace

Catalog::Catalog() {
  if (const char* home = std::getenv("SIMULATE_HOME")) {
    if (!is_root(home)) {
      throw Error(Place{home}, "SIMULATE_HOME has no models/catalog and topologies/catalog");
    }
    root_ = home;
    return;
  }
  std::error_code code;
  for (fs::path at = fs::read_symlink("/proc/self/exe", code).parent_path(); !at.empty();
       at = at.parent_path()) {
    if (is_root(at)) {
      root_ = at.string();
      return;
    }
    if (at == at.root_path()) break;
  }
  if (is_root(fs::current_path(code))) {
    root_ = fs::current_path(code).string();
    return;
  }
  throw Error("the catalogs of models and clusters are not found beside the program",
              "set SIMULATE_HOME to the folder that holds models/ and topologies/");
}

std::vector<CatalogEntry> Catalog::list(const std::string& folder) const {
  std::vector<CatalogEntry> entries;
  std::error_code code;
  for (const auto& file : fs::directory_iterator(fs::path(root_) / folder, code)) {
    if (file.path().extension() != ".yaml") continue;
    CatalogEntry entry{file.path().stem().string(), file.path().string(), ""};
    std::ifstream in(file.path());
    std::string line;
    if (std::getline(in, line) && line.rfind("# ", 0) == 0) entry.summary = line.substr(2);
    entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return entries;
}

std::string Catalog::resolve(const std::string& name, const std::string& folder,
                             const std::string& beside, const char* what) const {
  std::error_code code;
  if (fs::is_regular_file(name, code)) return name;
  if (fs::path(name).is_relative()) {
    if (!beside.empty()) {
      const fs::path there = fs::path(beside).parent_path() / name;
      if (fs::is_regular_file(there, code)) return there.string();
    }
    const fs::path from_root = fs::path(root_) / name;
    if (fs::is_regular_file(from_root, code)) return from_root.string();
  }
  std::vector<std::string> names;
  if (!folder.empty()) {
    for (const CatalogEntry& entry : list(folder)) {
      if (entry.name == name) return entry.path;
      names.push_back(entry.name);
    }
  }
  if (fs::is_directory(name, code)) {
    throw Error("'" + name + "' is a folder, not a " + what, "name a file in it");
  }
  const fs::path ending = fs::path(name).extension();
  const bool path = name.find('/') != std::string::npos || ending == ".yaml" || ending == ".yml" ||
                    ending == ".json" || ending == ".moetrace";
  throw Error("there is no " + std::string(what) + (path ? " file '" : " '") + name + "'",
              suggest(name, names));
}

std::string Catalog::model_file(const std::string& name, const std::string& beside) const {
  return resolve(name, "models/catalog", beside, "model");
}
std::string Catalog::scenario_file(const std::string& name) const {
  return resolve(name, "sim/scenarios", "", "scenario");
}
std::string Catalog::trace_file(const std::string& name, const std::string& beside) const {
  return resolve(name, "", beside, "trace");
}
std::string Catalog::device_file(const std::string& type) const {
  return resolve(type, "models/devices", "", "device type");
}

}  // namespace sim
