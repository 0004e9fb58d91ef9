// Rows of tokens with one column of space-separated experts per layer: what `tokens-csv` and the
// fingerprinting files share.
#pragma once

#include <functional>
#include <string>

#include "traces/import/import.h"

namespace sim {

struct LayerColumns {
  std::string provenance;
  // The tag of a request, from a file beside; empty: the tag column, if there is one.
  std::function<std::string(std::int64_t request)> tag_of;
};

// Two passes: the first finds the most choices of a token (top-k) and checks every row.
ImportReport import_layer_columns(const ImportJob& job, const LayerColumns& rules);

}  // namespace sim
