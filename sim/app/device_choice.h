// A device by name with its calibrated kernels: the data sheet from models/devices, constants from
// models/calibration/constants.
#pragma once

#include <string>

#include "models/device.h"
#include "sim/app/catalog.h"

namespace sim {

// `name`: a name of the catalog, or a device file, which holds its kernels itself. Throws Error.
Device load_device(const Catalog& catalog, const std::string& name);

}  // namespace sim
