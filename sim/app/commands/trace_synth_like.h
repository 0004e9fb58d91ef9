// simulate trace synth --like: routing that behaves like a trace.
#pragma once

#include <cstdint>
#include <string>

namespace sim {

struct SynthLike {
  std::string like;         // the trace to fit
  std::string out;          // the trace to write; unused with `report`
  bool in_steps = false;    // what `amount` counts: steps, or requests
  std::int64_t amount = 0;  // 0: as many as `like` has
  std::uint64_t seed = 1;
  bool report = false;
};

void synth_like(const SynthLike& arguments);

}  // namespace sim
