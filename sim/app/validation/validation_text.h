// A validation as a table for a terminal, as JSON rows and as the page of the documentation.
#pragma once

#include <string>

#include "sim/app/validation/validation.h"

namespace sim {

std::string validation_text(const Validation& validation);
// An array of rows: id, system, figure, published, simulated, unit, error, fitted, pass, source,
// reason. `simulated`, `error`, `fitted` and `pass` are null where nothing was run.
std::string validation_json(const Validation& validation);
std::string validation_markdown(const Validation& validation);

// "61 rows: 20 pass (3 fitted), 30 miss, 5 are refused, 6 are not run".
std::string validation_counts(const Validation& validation);

}  // namespace sim
