// The two kinds of failure.
//
// Error: the user's input is wrong (exit 1). It names the place, says what is wrong and hints at
// what to do. Thrown while reading input and wiring, caught once in main. SIM_CHECK: our own
// invariant is broken (exit 2). On in every build.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace sim {

// Where in a text file: line and column count from 1; 0 means "the file as a whole".
struct Place {
  std::string file;
  int line = 0;
  int column = 0;
};

struct Mistake {
  Place place;
  std::string message;
  std::string hint;  // what to do about it; may be empty
};

// "file:line:column: message; hint". Parts that are not known are left out.
std::string to_text(const Mistake& mistake);

class Error : public std::runtime_error {
 public:
  explicit Error(std::string message, std::string hint = {});
  Error(Place place, std::string message, std::string hint = {});
  explicit Error(std::vector<Mistake> mistakes);  // REQUIRES: not empty

  const std::vector<Mistake>& mistakes() const { return mistakes_; }

 private:
  std::vector<Mistake> mistakes_;
};

// A broken invariant: a mistake of ours, never of the input.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] void fail_check(const char* file, int line, const char* condition,
                             const std::string& why);

}  // namespace sim

#define SIM_CHECK(condition, why)                               \
  do {                                                          \
    if (!(condition)) {                                         \
      ::sim::fail_check(__FILE__, __LINE__, #condition, (why)); \
    }                                                           \
  } while (false)
