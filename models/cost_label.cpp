#include "models/cost_label.h"

#include "sim/core/error.h"

namespace sim {

std::string_view to_text(CostLabel label) {
  switch (label) {
    case CostLabel::kMeasured:
      return "measured";
    case CostLabel::kFitted:
      return "fitted";
    case CostLabel::kPublished:
      return "published";
    case CostLabel::kRoofline:
      return "roofline";
    case CostLabel::kAssumed:
      return "assumed";
  }
  SIM_CHECK(false, "every label has a name");
}

}  // namespace sim
