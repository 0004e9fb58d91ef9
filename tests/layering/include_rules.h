// The arrows between folders, and what a source file may contain: pure functions over a file's path
// and text.
#pragma once

#include <string>
#include <vector>

namespace sim::testing {

// One line per broken rule, "path: what; why". `path` is relative to the repository root. Empty:
// nothing is broken.
std::vector<std::string> include_mistakes(const std::string& path, const std::string& text);
std::vector<std::string> path_mistakes(const std::string& path);
std::vector<std::string> text_mistakes(const std::string& path, const std::string& text);

}  // namespace sim::testing
