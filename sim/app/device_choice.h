// A device by name with its calibrated kernels: the data sheet from models/devices, constants from
// models/calibration/constants.
#pragma once

#include <string>

#include "models/device.h"
#include "sim/app/catalog.h"

namespace sim {

// `name`: a name of the catalog, or a device file, which holds its kernels itself. Throws Error.
Device load_device(const Catalog& catalog, const std::string& name);

// Appends the kernels that other devices of the catalog have constants of and this one has not,
// each from the device whose data sheet is nearest: for questions about a kernel by name. A run
// takes only what the device's own files hold or borrow.
void lend_from_nearest(const Catalog& catalog, Device& device);

}  // namespace sim
