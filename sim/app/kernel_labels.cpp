#include "sim/app/kernel_labels.h"

#include <set>

namespace sim {

KernelLabels::KernelLabels(const CostLedger& ledger, const StepSetup& setup)
    : ledger_(ledger), setup_(setup) {}

std::string KernelLabels::of(const TaskTag& tag, DeviceId device) {
  const TaskKind kind = static_cast<TaskKind>(tag.kind);
  if (kind == TaskKind::kDispatch) return setup_.dispatch_cost.label;
  if (kind == TaskKind::kCombine) return setup_.combine_cost.label;
  if (kind == TaskKind::kHostLaunch) return "assumed";
  if (known_lines_ != ledger_.lines().size()) {
    known_lines_ = ledger_.lines().size();
    std::map<std::pair<int, std::string>, std::set<std::string>> found;
    for (const CostLedger::Line& line : ledger_.lines())
      found[{static_cast<int>(line.kind), line.device}].emplace(to_text(line.label));
    for (const auto& [key, labels] : found) {
      std::string text;
      for (const std::string& label : labels) text += (text.empty() ? "" : " + ") + label;
      labels_[key] = std::move(text);
    }
  }
  const auto at = labels_.find({tag.kind, setup_.devices[device.index()]->name});
  return at == labels_.end() ? "" : at->second;
}

}  // namespace sim
