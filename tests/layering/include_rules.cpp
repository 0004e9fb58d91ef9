#include "tests/layering/include_rules.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <regex>
#include <sstream>
#include <string_view>

namespace sim::testing {
namespace {

// A folder and those it may include beside itself.
struct Arrow {
  std::string_view folder;
  std::vector<std::string_view> may_include;
};

const std::vector<Arrow>& arrows() {
  static const std::vector<std::string_view> kFive = {"sim/core", "sim/input", "topologies",
                                                      "traces", "models"};
  static const std::vector<std::string_view> kSix = [] {
    std::vector<std::string_view> all = kFive;
    all.push_back("sim/policies");
    return all;
  }();
  static const std::vector<std::string_view> kAll = [] {
    std::vector<std::string_view> all = kSix;
    all.insert(all.end(), {"sim/workloads", "analysis"});
    return all;
  }();
  static const std::vector<Arrow> kArrows = {
      {"sim/core", {}},
      {"sim/input", {"sim/core"}},
      {"topologies", {"sim/core", "sim/input"}},
      {"traces", {"sim/core", "sim/input"}},
      {"models", {"sim/core", "sim/input"}},
      {"sim/policies", kFive},
      {"sim/workloads", kSix},
      {"analysis", {"sim/core"}},
      {"sim/app", kAll},
  };
  return kArrows;
}

// A library's headers and the files that may see it: all whose path begins so. No header may.
struct ThirdParty {
  std::string_view include_prefix;
  std::vector<std::string_view> allowed_in;
};

const std::vector<ThirdParty>& third_parties() {
  static const std::vector<std::string_view> kAboveCore = {
      "sim/input", "topologies", "traces",       "models",
      "analysis",  "sim/app",    "sim/policies", "sim/workloads"};
  static const std::vector<ThirdParty> kLibraries = {
      {"yaml-cpp/", {"sim/input/yaml_reader.cpp"}},
      {"boost/", {"topologies/"}},
      {"google/protobuf/", {"traces/"}},
      {"trace.pb.h", {"traces/"}},
      {"zlib.h", {"sim/input/text_file.cpp", "traces/"}},
      {"Eigen/", {"sim/input/fitting/"}},
      {"unsupported/Eigen/", {"sim/input/fitting/"}},
      {"zstd.h", {"traces/"}},
      {"sqlite3.h", {"analysis/"}},
      {"CLI/", {"sim/app/", "models/microbench/main.cpp"}},
      {"cblas.h", {"models/microbench/reference/", "models/microbench/cpu/"}},
      {"cublas", {"models/microbench/cuda/"}},
      {"cuda", {"models/microbench/cuda/"}},
      {"dlfcn.h", {"models/microbench/cuda/"}},
      {"nccl.h", {"models/microbench/cuda/"}},
      {"sanitizer/", {"models/microbench/cuda/emulation/"}},
      {"ucontext.h", {"models/microbench/cuda/emulation/"}},
      {"nlohmann/", {"traces/import/json_value.cpp", "models/", "sim/app/"}},
      {"fmt/", kAboveCore},
      {"libxml/", {"topologies/import/xml_file.cpp"}},
      {"fnmatch.h", {"sim/app/"}},
      {"unistd.h", {"sim/app/", "models/microbench/cpu/"}},
      {"sys/", {"sim/app/"}},
  };
  return kLibraries;
}

bool begins(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}
bool ends(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}

bool inside(std::string_view path, std::string_view folder) {
  return begins(path, folder) && path.size() > folder.size() && path[folder.size()] == '/';
}

const Arrow* arrow_of(std::string_view path) {
  for (const Arrow& arrow : arrows()) {
    if (inside(path, arrow.folder)) return &arrow;
  }
  return nullptr;
}

bool is_test(std::string_view path) { return begins(path, "tests/"); }

// C++ headers have no slash and no ending; what is neither they nor in the table is unknown.
std::string library_mistake(const std::string& path, std::string_view included) {
  for (const ThirdParty& library : third_parties()) {
    if (!begins(included, library.include_prefix)) continue;
    if (ends(path, ".h")) return "a header shows a library to everyone who includes it";
    const bool allowed = std::any_of(library.allowed_in.begin(), library.allowed_in.end(),
                                     [&](std::string_view place) { return begins(path, place); });
    if (allowed) return "";
    std::string text = "only these may:";
    for (const std::string_view place : library.allowed_in) text += " " + std::string(place);
    return text;
  }
  // The header that engines written in C include.
  const bool plain_c =
      begins(path, "traces/capture/") && (included == "stddef.h" || included == "stdint.h");
  const bool standard = plain_c || included.find_first_of("./") == std::string_view::npos;
  return standard ? "" : "a library that tests/layering/include_rules.cpp does not know";
}

std::string folder_mistake(const std::string& path, std::string_view included) {
  if (is_test(included)) return "tests are included by tests only";
  const Arrow* from = arrow_of(path);
  const Arrow* to = arrow_of(included);
  if (to == nullptr) return "include paths start at a folder of the repository's root";
  if (from == nullptr) return "this folder is not in the table of arrows";
  if (from == to) return "";
  const auto& list = from->may_include;
  if (std::find(list.begin(), list.end(), to->folder) != list.end()) return "";
  return std::string(from->folder) + " may not include " + std::string(to->folder);
}

// A character that is in the text but not on the screen: controls, marks that turn the direction of
// reading, zero-width ones; or bytes that are no UTF-8. Empty: there is none.
std::string hidden_character(std::string_view line) {
  for (std::size_t i = 0; i < line.size();) {
    const auto first = static_cast<unsigned char>(line[i]);
    const int more = first < 0x80 ? 0 : first < 0xC2 ? -1 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
    std::uint32_t code = more <= 0 ? first : first & (0x3Fu >> more);
    for (int k = 1; k <= more; ++k) {
      const std::size_t at = i + static_cast<std::size_t>(k);
      const unsigned char next = at < line.size() ? static_cast<unsigned char>(line[at]) : 0;
      if ((next & 0xC0) != 0x80) return "bytes that are not UTF-8";
      code = code << 6 | (next & 0x3F);
    }
    if (more < 0 || first > 0xF4) return "bytes that are not UTF-8";
    const bool hidden = (code < 32 && code != '\t') || (code >= 127 && code < 160) ||
                        (code >= 0x200B && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
                        (code >= 0x2060 && code <= 0x2069) || code == 0xFEFF;
    if (hidden) return "a hidden character, number " + std::to_string(code);
    i += static_cast<std::size_t>(std::max(0, more)) + 1;
  }
  return "";
}

}  // namespace

std::vector<std::string> include_mistakes(const std::string& path, const std::string& text) {
  static const std::regex kInclude(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  std::vector<std::string> mistakes;
  if (is_test(path)) return mistakes;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::smatch match;
    if (!std::regex_search(line, match, kInclude)) continue;
    const std::string included = match[2];
    const std::string why =
        match[1] == "<" ? library_mistake(path, included) : folder_mistake(path, included);
    if (!why.empty()) {
      mistakes.push_back(path + ":" + std::to_string(number) + ": includes " + included + "; " +
                         why);
    }
  }
  return mistakes;
}

std::vector<std::string> path_mistakes(const std::string& path) {
  static constexpr std::array<std::string_view, 4> kVague = {"utils", "common", "helpers", "misc"};
  std::vector<std::string> mistakes;
  std::istringstream parts(path);
  std::string part;
  while (std::getline(parts, part, '/')) {
    const std::string stem = part.substr(0, part.find('.'));
    if (std::find(kVague.begin(), kVague.end(), stem) != kVague.end()) {
      mistakes.push_back(path + ": '" + stem + "' says nothing; name it after what it is about");
    }
  }
  return mistakes;
}

std::vector<std::string> text_mistakes(const std::string& path, const std::string& text) {
  // Folders of some machine. Written in two parts, so that this file does not hold them itself.
  static const std::regex kMachinePath(
      "(^|[^A-Za-z0-9_./])/"
      "(home|root|work|Users|mnt)/[A-Za-z0-9_.]");
  std::vector<std::string> mistakes;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const std::string place = path + ":" + std::to_string(number) + ": ";
    if (std::regex_search(line, kMachinePath)) {
      mistakes.push_back(place + "a path of somebody's machine");
    }
    const std::string hidden = hidden_character(line);
    if (!hidden.empty()) mistakes.push_back(place + hidden);
  }
  return mistakes;
}

}  // namespace sim::testing
