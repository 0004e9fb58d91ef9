#include "sim/input/fitting/read_parameter.h"

#include "sim/core/units.h"

namespace sim {

double read_parameter(YamlMap& map, const FormParameter& parameter, NumberRange numbers) {
  switch (parameter.kind) {
    case ParameterKind::kDuration:
      return to_seconds(map.duration(parameter.key));
    case ParameterKind::kBandwidth:
      return map.bandwidth(parameter.key).count();
    case ParameterKind::kBytes:
      return static_cast<double>(map.bytes(parameter.key).count());
    case ParameterKind::kShare:
    case ParameterKind::kNumber:
      return map.number(parameter.key, numbers);
  }
  return 0;
}

}  // namespace sim
