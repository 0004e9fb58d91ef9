// `simulate calibrate fit` on a file of the microbenchmark.
#pragma once

#include <string>

#include "sim/app/catalog.h"

namespace sim {

// Whether the file says that the microbenchmark wrote it.
bool is_measurement_file(const std::string& path);

// Fits, and returns what is printed: with `out` the errors, and the device file is written there;
// without it the device file itself, the errors as comments. `device`: whose data sheet the kernels
// are fitted on (a name of the catalog); empty: the file's own ceilings. Throws Error.
std::string fit_measurement_file(const std::string& path, const std::string& device,
                                 const std::string& out, const Catalog& catalog);

}  // namespace sim
