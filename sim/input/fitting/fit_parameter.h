// A constant of a closed form: what it is called, its unit, and where a fit may look for it.
#pragma once

#include <string>
#include <string_view>

namespace sim {

enum class ParameterKind { kDuration, kShare, kBandwidth, kBytes, kNumber };

// Values are seconds, shares, bytes per second, bytes. All are positive: the fit moves logarithms.
struct FormParameter {
  std::string_view key;  // of the constants' YAML
  ParameterKind kind;
  double start;  // where the search begins, and its bounds
  double least;
  double most;
  double absent;  // value when a specification neither fits nor fixes it
};

// As the YAML of constants holds it: "21 us", "41.2 GB/s", "0.83".
std::string quantity_text(const FormParameter& parameter, double value);

// Three significant digits: what the catalog holds, and what a new fit is compared with.
double rounded_value(double value);

}  // namespace sim
