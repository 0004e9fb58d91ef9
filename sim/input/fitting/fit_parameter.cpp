#include "sim/input/fitting/fit_parameter.h"

#include <fmt/format.h>

#include <cstdlib>

namespace sim {

std::string quantity_text(const FormParameter& parameter, double value) {
  switch (parameter.kind) {
    case ParameterKind::kDuration:
      return fmt::format("{:.4g} us", value * 1e6);
    case ParameterKind::kBandwidth:
      return fmt::format("{:.4g} GB/s", value * 1e-9);
    case ParameterKind::kBytes:
      return fmt::format("{:.4g} KB", value * 1e-3);
    case ParameterKind::kShare:
    case ParameterKind::kNumber:
      return fmt::format("{:.4g}", value);
  }
  return "";
}

double rounded_value(double value) {
  return std::strtod(fmt::format("{:.2e}", value).c_str(), nullptr);
}

}  // namespace sim
