// Where the public reference data lies, when it lies anywhere: tests that need it skip without it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace sim::testing {

// MOE_SHARED_DIR, or "shared" beside the repository. Empty when there is none.
inline std::string shared_dir() {
  if (const char* given = std::getenv("MOE_SHARED_DIR")) return given;
  const std::filesystem::path beside =
      std::filesystem::path(MOE_SOURCE_DIR).parent_path() / "shared";
  return std::filesystem::exists(beside / "data") ? beside.string() : std::string();
}

}  // namespace sim::testing

#define MOE_NEEDS_SHARED_DATA()                                                            \
  do {                                                                                     \
    if (::sim::testing::shared_dir().empty()) {                                            \
      GTEST_SKIP()                                                                         \
          << "needs the public reference data: put it in ../shared or set MOE_SHARED_DIR"; \
    }                                                                                      \
  } while (false)
