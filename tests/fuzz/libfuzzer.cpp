// The entry of libFuzzer: `fuzz --target=NAME CORPUS...` and `fuzz --list` (options with two
// dashes are ours).
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>

#include "tests/fuzz/targets.h"

namespace {
const sim::fuzz::Target* target = nullptr;
}

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  constexpr std::string_view kOption = "--target=";
  for (int i = 1; i < *argc; ++i) {
    const std::string_view word((*argv)[i]);
    if (word == "--list") {
      for (const auto& known : sim::fuzz::targets()) std::printf("%s\n", known.name.c_str());
      std::exit(0);
    }
    if (word.starts_with(kOption)) target = sim::fuzz::find_target(word.substr(kOption.size()));
  }
  if (target == nullptr) {
    std::fprintf(stderr, "fuzz --target=NAME CORPUS...; NAME is one of:\n");
    for (const auto& known : sim::fuzz::targets())
      std::fprintf(stderr, "  %s\n", known.name.c_str());
    std::exit(1);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  // What is no sim::Error ends the process: libFuzzer keeps the input.
  sim::fuzz::run_target(*target, {reinterpret_cast<const char*>(bytes), size});
  return 0;
}
