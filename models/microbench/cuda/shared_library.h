// A library of the driver or the toolkit that is loaded when it is asked for, so that the program
// starts where it is absent.
#pragma once

#include <string>
#include <vector>

namespace sim::device_code {

class SharedLibrary {
 public:
  // Tries the names in turn, first as the loader finds them, then in `folder` (may be empty).
  SharedLibrary(const std::vector<std::string>& names, const std::string& folder);
  ~SharedLibrary();
  SharedLibrary(const SharedLibrary&) = delete;
  SharedLibrary& operator=(const SharedLibrary&) = delete;

  bool loaded() const { return handle_ != nullptr; }
  // Why it is not (only meaningful then).
  const std::string& problem() const { return problem_; }

  // Sets `function` to the one of this name; nullptr, and false, if the library has none.
  template <typename Function>
  bool find(Function*& function, const char* name) const {
    function = reinterpret_cast<Function*>(symbol(name));
    return function != nullptr;
  }

 private:
  void* symbol(const char* name) const;
  void* handle_ = nullptr;
  std::string problem_;
};

}  // namespace sim::device_code
