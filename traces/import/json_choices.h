// A token's choices in lists of JSON: what tokens, events and requests share.
#pragma once

#include <cstdint>
#include <vector>

#include "traces/import/json_fields.h"

namespace sim {

struct TokenChoices {
  std::vector<std::uint16_t> ids;
  std::vector<std::uint8_t> counts;  // per layer
  std::vector<float> weights;

  void clear();
};

// Appends one layer's list of ids to `to`. `layer` is for messages. An id of -1 stands for "no
// choice" where `padding` is given, and is counted there. Throws Error: no list, above 255 ids, an
// id out of range or twice.
void read_ids(const JsonRecord& line, JsonValue list, std::int64_t layer, int experts,
              TokenChoices& to, std::int64_t* padding = nullptr);
// One weight per id of the layer last read. Throws Error.
void read_weights(const JsonRecord& line, JsonValue list, std::int64_t layer, TokenChoices& to);

}  // namespace sim
