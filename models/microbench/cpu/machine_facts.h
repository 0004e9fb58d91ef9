// What the machine is: read from Linux and from OpenBLAS.
#pragma once

#include "models/microbench/backend.h"

namespace sim::microbench {

DeviceFacts machine_facts(int threads);

}  // namespace sim::microbench
