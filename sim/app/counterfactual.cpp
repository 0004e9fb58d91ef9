#include "sim/app/counterfactual.h"

#include <algorithm>
#include <utility>

namespace sim {
namespace {

class WithoutFixedPart : public CostModel {
 public:
  explicit WithoutFixedPart(std::unique_ptr<CostModel> inner) : inner_(std::move(inner)) {}

  KernelCost cost(const Operator& op, const Device& device, int sms) const override {
    return shorter(inner_->cost(op, device, sms));
  }
  KernelCost cost(const ExpertFfn& ffn, const Device& device, int sms) const override {
    return shorter(inner_->cost(ffn, device, sms));
  }
  std::span<const std::string> covered(const ExpertFfn& ffn, const Device& device) const override {
    return inner_->covered(ffn, device);
  }

 private:
  static KernelCost shorter(KernelCost cost) {
    cost.time = std::max(Duration(0), cost.time - cost.fixed);
    cost.fixed = Duration(0);
    return cost;
  }

  std::unique_ptr<CostModel> inner_;
};

// What is given in bytes per second stays the share of its link that it was.
void speed_up(LinkDisturbance& disturbance) {
  const auto faster = [](std::optional<Bandwidth>& rate) {
    if (rate) rate = Bandwidth(rate->count() * kInfiniteNetwork);
  };
  if (auto* capacities = std::get_if<CapacitySchedule>(&disturbance.effect)) {
    for (CapacityStep& step : capacities->steps) faster(step.rate);
  }
  if (auto* background = std::get_if<BackgroundTraffic>(&disturbance.effect))
    faster(background->cap);
}

}  // namespace

std::string no_effect(Counterfactual removed, const Scenario& scenario) {
  if (removed == Counterfactual::kBalance && scenario.routing_shape().experts.empty())
    return "no expert is routed to";
  if (removed == Counterfactual::kNoDisturbance && scenario.disturbances.empty() &&
      scenario.device_disturbances.empty())
    return "there is none";
  if (scenario.layout.world == 1 &&
      (removed == Counterfactual::kPerfectOverlap || removed == Counterfactual::kBalance))
    return "one GPU waits for nobody";
  return "";
}

Scenario without(Counterfactual removed, const Scenario& scenario) {
  Scenario changed = scenario;
  switch (removed) {
    case Counterfactual::kNoDisturbance:
      changed.disturbances.clear();
      changed.device_disturbances.clear();
      break;
    case Counterfactual::kNetwork:
      for (Link& link : changed.cluster.links)
        link.capacity = Bandwidth(link.capacity.count() * kInfiniteNetwork);
      for (LinkDisturbance& each : changed.disturbances) speed_up(each);
      break;
    case Counterfactual::kStartup:
      changed.host.gap = changed.host.per_launch = changed.host.per_step = Duration(0);
      changed.host.per_sync = Duration(0);
      break;
    case Counterfactual::kNone:
    case Counterfactual::kBalance:         // the routing, when it runs
    case Counterfactual::kPerfectOverlap:  // the setup
      break;
  }
  return changed;
}

std::unique_ptr<CostModel> without_fixed_part(std::unique_ptr<CostModel> costs) {
  return std::make_unique<WithoutFixedPart>(std::move(costs));
}

}  // namespace sim
