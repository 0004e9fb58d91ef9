// fuzz_replay TARGET [COUNT]: every seed and every past crash of a target, then COUNT deterministic
// mutations of them. Exit 0: all were answered, each within a second of this process's time and 2
// GiB. fuzz_replay --list: the targets.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/fuzz/mutate.h"
#include "tests/fuzz/targets.h"

namespace {

using namespace sim::fuzz;

constexpr rlim_t kMostBytes = rlim_t{2} << 30;

std::vector<std::string> files_of(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code absent;
  for (const auto& entry : std::filesystem::directory_iterator(folder, absent)) {
    if (entry.is_regular_file()) paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// What was being answered when the process ends by a signal.
std::string current;  // NOLINT: for the report alone

bool answered(const Target& target, const std::string& input, const std::string& what) {
  current = input;
  const std::clock_t before = std::clock();
  std::string wrong;
  try {
    run_target(target, input);
  } catch (const std::exception& error) {
    wrong = error.what();
  }
  const double seconds = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  if (wrong.empty() && seconds > target.most_seconds) wrong = std::to_string(seconds) + " s";
  if (wrong.empty()) return true;
  const std::string kept = "crash-" + target.name;
  std::ofstream(kept, std::ios::binary) << input;
  std::fprintf(stderr, "%s: %s: %s; the input is in ./%s\n", target.name.c_str(), what.c_str(),
               wrong.c_str(), kept.c_str());
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--list") {
    for (const Target& target : targets()) std::printf("%s\n", target.name.c_str());
    return 0;
  }
  const Target* target = argc < 2 ? nullptr : find_target(argv[1]);
  if (target == nullptr) {
    std::fprintf(stderr, "fuzz_replay TARGET [COUNT]; --list names the targets\n");
    return 1;
  }
#if !defined(__SANITIZE_ADDRESS__)  // its shadow memory is larger
  const rlimit limit{kMostBytes, kMostBytes};
  setrlimit(RLIMIT_AS, &limit);
#endif
  const int count = argc < 3 ? 0 : std::stoi(argv[2]);
  const std::string folder = MOE_SOURCE_DIR "/tests/fuzz/";
  std::vector<std::string> seeds;
  for (const char* kind : {"seeds/", "crashes/"}) {
    for (const std::string& path : files_of(folder + kind + target->name)) {
      seeds.push_back(read(path));
      if (!answered(*target, seeds.back(), path)) return 1;
    }
  }
  if (seeds.empty()) {
    std::fprintf(stderr, "%s has no seed: put a small valid file into tests/fuzz/seeds/%s\n",
                 target->name.c_str(), target->name.c_str());
    return 1;
  }
  sim::RandomStream random(1, target->name);
  for (int i = 0; i < count; ++i) {
    if (!answered(*target, mutated(seeds, random), "mutation " + std::to_string(i))) return 1;
  }
  std::printf("%s: %zu files, %d mutations\n", target->name.c_str(), seeds.size(), count);
  return 0;
}
