// A Mixture-of-Experts model as a value: a list of layers, each a list of blocks, any of which may
// be routed.
//
// (Sketch of the contract; the owner of this folder may add fields and helpers.)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/dtype.h"

namespace sim {

enum class BlockKind { kAttention, kFfn };

}  // namespace sim
