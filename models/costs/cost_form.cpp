#include "models/costs/cost_form.h"

namespace sim {

std::span<const CostForm* const> cost_forms() {
  static constexpr std::array kForms = {
      &kGroupedGemmForm,      &kGemmForm,           &kAttentionDecodeForm,
      &kAttentionPrefillForm, &kMlaDecodeForm,      &kMlaPrefillForm,
      &kStreamingForm,        &kSmoothRooflineForm, &kCopyForm};
  return kForms;
}

const CostForm* find_cost_form(std::string_view name) {
  for (const CostForm* form : cost_forms()) {
    if (form->name == name) return form;
  }
  return nullptr;
}

}  // namespace sim
