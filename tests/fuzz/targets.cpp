#include "tests/fuzz/targets.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "sim/core/error.h"

namespace sim::fuzz {
namespace {

// A folder of this process, gone with it.
class Scratch {
 public:
  Scratch() {
    std::error_code failed;
    const bool memory = std::filesystem::is_directory("/dev/shm", failed);
    folder_ =
        (memory ? std::filesystem::path("/dev/shm") : std::filesystem::temp_directory_path()) /
        ("moe-fuzz-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

 private:
  std::filesystem::path folder_;
};

}  // namespace

std::string scratch_path(const std::string& name) {
  static const Scratch scratch;
  return scratch.path(name);
}

std::string scratch_file(const std::string& name, std::string_view bytes) {
  const std::string path = scratch_path(name);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return path;
}

std::vector<Target> joined(const std::vector<std::vector<Target>>& parts) {
  std::vector<Target> all;
  for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

const Target* find_target(std::string_view name) {
  for (const Target& target : targets()) {
    if (target.name == name) return &target;
  }
  return nullptr;
}

void run_target(const Target& target, std::string_view bytes) {
  try {
    target.run(bytes);
  } catch (const Error&) {
    // An answer. InternalError and what the standard library throws are none.
  }
}

}  // namespace sim::fuzz
