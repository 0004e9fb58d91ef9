#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "sim/core/error.h"
#include "traces/import/import.h"

namespace sim {
namespace {

TEST(Import, NeverWritesOverItsOwnSource) {
  const std::string path = ::testing::TempDir() + "import_same_file.csv";
  std::ofstream(path) << "step,source_rank,layer0\n0,0,1 2\n";
  const auto size = std::filesystem::file_size(path);
  try {
    import_trace(path, path);
    FAIL() << "the source would be lost";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              path + ": this is the file to import itself; write to another one: -o NAME.moetrace");
  }
  EXPECT_EQ(std::filesystem::file_size(path), size);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace sim
