// A file of one test, removed with it.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace sim::testing {

class TempFile {
 public:
  explicit TempFile(const std::string& name)
      : folder_(std::filesystem::temp_directory_path() /
                ("moe-traces-" + std::to_string(getpid()) + "-" + std::to_string(next_++))),
        path_((folder_ / name).string()) {
    std::filesystem::create_directories(folder_);
  }
  TempFile(const std::string& name, const std::string& content) : TempFile(name) { write(content); }
  ~TempFile() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;

  const std::string& path() const { return path_; }
  std::string beside(const std::string& name) const { return (folder_ / name).string(); }
  std::string read() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const std::string& content) const {
    std::ofstream(path_, std::ios::binary) << content;
  }

 private:
  static inline int next_ = 0;
  std::filesystem::path folder_;
  std::string path_;
};

// The text of the Error that `action` throws; "" when it throws none.
template <class Action>
std::string error_text(Action action);

}  // namespace sim::testing

#include "sim/core/error.h"

template <class Action>
std::string sim::testing::error_text(Action action) {
  try {
    action();
  } catch (const sim::Error& error) {
    return error.what();
  }
  return {};
}
