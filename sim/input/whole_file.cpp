#include "sim/input/whole_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "sim/core/error.h"

namespace sim {
namespace {

namespace fs = std::filesystem;

constexpr int kMostLinks = 40;  // as the kernel follows

[[noreturn]] void fail(const std::string& path, const std::string& why, std::string hint = {}) {
  throw Error(Place{path}, "cannot be written: " + why, std::move(hint));
}

// Where the chain of links at `path` ends, though nothing is there yet.
fs::path end_of_links(const std::string& path) {
  fs::path at = path;
  std::error_code code;
  for (int i = 0; i < kMostLinks && fs::is_symlink(at, code); ++i) {
    const fs::path next = fs::read_symlink(at, code);
    if (code) fail(path, code.message());
    at = next.is_absolute() ? next : at.parent_path() / next;
  }
  return at;
}

}  // namespace

WholeFile::WholeFile(const std::string& path) : path_(path) {
  std::error_code code;
  const fs::file_status status = fs::status(path, code);
  if (fs::is_directory(status)) fail(path, "it is a folder", "name a file in it");
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    name_ = path;
    if (fs::is_fifo(status)) return;  // opened it would wait for its reader
    std::FILE* file = std::fopen(path.c_str(), "ab");
    if (file == nullptr) fail(path, std::strerror(errno));
    std::fclose(file);
    return;
  }
  if (!fs::exists(status) && status.type() != fs::file_type::not_found) fail(path, code.message());
  code.clear();
  target_ = end_of_links(path).string();
  name_ = target_ + ".part";
  const fs::file_status part = fs::symlink_status(name_, code);
  if (fs::exists(part) && !fs::is_regular_file(part)) {
    const std::string name = std::move(name_);
    fail(path, "'" + name + "', its name until it is whole, is taken");
  }
  std::FILE* file = std::fopen(name_.c_str(), "wb");
  if (file == nullptr) fail(path, std::strerror(errno));
  std::fclose(file);
}

WholeFile::~WholeFile() {
  std::error_code ignored;
  if (!kept_ && !target_.empty()) fs::remove(name_, ignored);
}

void WholeFile::keep() {
  std::error_code code;
  if (!target_.empty()) fs::rename(name_, target_, code);
  if (code) fail(path_, code.message());
  kept_ = true;
}

void WholeFile::write(std::string_view text) {
  std::FILE* file = std::fopen(name_.c_str(), "wb");
  if (file == nullptr) fail(path_, std::strerror(errno));
  const bool all = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const int why = errno;
  if (std::fclose(file) != 0) fail(path_, std::strerror(errno));
  if (!all) fail(path_, std::strerror(why));
  keep();
}

}  // namespace sim
