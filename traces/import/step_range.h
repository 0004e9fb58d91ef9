// Some steps of a recording: from FROM on, below TO, every EVERYth of them.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace sim {

struct StepRange {
  std::int64_t from = 0;
  std::int64_t to = std::numeric_limits<std::int64_t>::max();  // not in it
  std::int64_t every = 1;

  bool holds(std::int64_t step) const {
    return step >= from && step < to && (step - from) % every == 0;
  }
};

// "FROM:TO" or "FROM:TO:EVERY", each part may be empty. Throws Error on anything else, and when no
// step can be in it.
StepRange parse_step_range(std::string_view text);
std::string to_text(const StepRange& range);  // reads back as itself

}  // namespace sim
