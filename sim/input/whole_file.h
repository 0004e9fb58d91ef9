// Files that a command writes: whole or not at all, and never in the place of a device.
#pragma once

#include <string>
#include <string_view>

namespace sim {

// A regular file, or one that is not there yet, is written under another name beside it and moved
// there by keep(); a link's target, not the link. A device or a pipe is written through.
class WholeFile {
 public:
  // Throws Error when nothing could be written there: a folder, a folder that is missing or closed.
  explicit WholeFile(const std::string& path);
  ~WholeFile();  // what was not kept goes
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;

  // Where to write.
  const std::string& name() const { return name_; }
  // All is written and closed. Throws Error when it cannot be moved to its place.
  void keep();
  // `text`, and keep(). Throws Error when not all of it could be written.
  void write(std::string_view text);

 private:
  std::string path_;    // as the user wrote it
  std::string target_;  // the file; empty: written through
  std::string name_;
  bool kept_ = false;
};

}  // namespace sim
