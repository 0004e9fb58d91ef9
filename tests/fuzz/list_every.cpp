// Every target.
#include "tests/fuzz/targets.h"

namespace sim::fuzz {

const std::vector<Target>& targets() {
  static const std::vector<Target> all =
      joined({text_targets(), trace_targets(), machine_targets()});
  return all;
}

}  // namespace sim::fuzz
