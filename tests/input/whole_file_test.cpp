#include "sim/input/whole_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "sim/core/error.h"

namespace sim {
namespace {

namespace fs = std::filesystem;

class WholeFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "whole-file-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string at(const std::string& name) const { return (folder_ / name).string(); }
  std::string read(const std::string& name) const {
    std::ifstream in(at(name));
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  // Of the constructor, with the folder as TMP.
  std::string message(const std::string& path) const {
    try {
      WholeFile file(path);
    } catch (const Error& error) {
      std::string text = error.what();
      for (std::size_t i; (i = text.find(folder_.string())) != std::string::npos;) {
        text.replace(i, folder_.string().size(), "TMP");
      }
      return text;
    }
    return "no error";
  }
  fs::path folder_;
};

TEST_F(WholeFileTest, NothingIsSeenBeforeItIsWhole) {
  std::ofstream(at("x")) << "old";
  {
    WholeFile file(at("x"));
    std::ofstream(file.name()) << "half";
    EXPECT_EQ(read("x"), "old");
  }
  EXPECT_EQ(read("x"), "old");
  EXPECT_EQ(files(), 1u);
  WholeFile file(at("x"));
  file.write("new");
  EXPECT_EQ(read("x"), "new");
  EXPECT_EQ(files(), 1u);
}

TEST_F(WholeFileTest, ALinkStaysAndItsTargetIsWritten) {
  fs::create_directory(at("below"));
  std::ofstream(at("below/target")) << "old";
  fs::create_symlink("below/target", at("link"));
  WholeFile(at("link")).write("new");
  EXPECT_TRUE(fs::is_symlink(at("link")));
  EXPECT_EQ(read("below/target"), "new");
  fs::create_symlink("below/absent", at("dangling"));
  WholeFile(at("dangling")).write("made");
  EXPECT_TRUE(fs::is_symlink(at("dangling")));
  EXPECT_EQ(read("below/absent"), "made");
}

TEST_F(WholeFileTest, APipeIsWrittenThroughAndStays) {
  ASSERT_EQ(mkfifo(at("pipe").c_str(), 0600), 0);
  const int reader = open(at("pipe").c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  WholeFile(at("pipe")).write("through");
  char text[16];
  EXPECT_EQ(::read(reader, text, sizeof text), 7);
  close(reader);
  EXPECT_TRUE(fs::is_fifo(at("pipe")));
  EXPECT_EQ(files(), 1u);
}

TEST_F(WholeFileTest, WhatCannotBeWrittenIsKnownAtOnce) {
  EXPECT_EQ(message(folder_.string()), "TMP: cannot be written: it is a folder; name a file in it");
  EXPECT_EQ(message(at("no/x")), "TMP/no/x: cannot be written: No such file or directory");
  fs::create_symlink(at("no/x"), at("link"));
  EXPECT_EQ(message(at("link")), "TMP/link: cannot be written: No such file or directory");
  fs::create_symlink(at("round"), at("round"));
  EXPECT_EQ(message(at("round")),
            "TMP/round: cannot be written: Too many levels of symbolic links");
  fs::create_directory(at("y.part"));
  EXPECT_EQ(message(at("y")),
            "TMP/y: cannot be written: 'TMP/y.part', its name until it is whole, is taken");
}

}  // namespace
}  // namespace sim
