// The targets that need no more than the readers of text and traces: quick to build.
#include "tests/fuzz/targets.h"

namespace sim::fuzz {

const std::vector<Target>& targets() {
  static const std::vector<Target> all = joined({text_targets(), trace_targets()});
  return all;
}

}  // namespace sim::fuzz
