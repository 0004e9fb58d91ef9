// Runs of a scenario with one cause removed: what that cause costs, as another simulation says it.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "models/cost_model.h"
#include "sim/app/scenario.h"

namespace sim {

enum class Counterfactual {
  kNone,
  kBalance,         // the routing is balanced (balanced_routing.h)
  kNoDisturbance,   // the list of disturbances is empty
  kNetwork,         // links, copying SMs and copies inside a device are a billion times as fast;
                    // link latencies and start-ups stay
  kStartup,         // start-ups of collectives and kernels, launches and gaps take no time
  kPerfectOverlap,  // no kernel waits for communication, which holds no SM; the step ends when both
                    // have ended
};

struct CounterfactualName {
  Counterfactual removed;
  std::string_view name;   // "perfect balance"
  std::string_view means;  // what is different
};
inline constexpr std::array<CounterfactualName, 5> kCounterfactuals{{
    {Counterfactual::kBalance, "perfect balance", "every expert slot gets as many rows"},
    {Counterfactual::kNoDisturbance, "no disturbance", "devices and links as the cluster has them"},
    {Counterfactual::kNetwork, "infinite network", "bytes take no time; latency and start-up stay"},
    {Counterfactual::kStartup, "zero start-up and launch",
     "of collectives and kernels, host and gaps"},
    {Counterfactual::kPerfectOverlap, "perfect overlap",
     "no kernel waits for communication; both must end"},
}};

// Capacities of the infinite network over the real ones.
inline constexpr double kInfiniteNetwork = 1e9;

// Why the removal has no effect in this scenario; "" when it may have one.
std::string no_effect(Counterfactual removed, const Scenario& scenario);

// The scenario with what of the removal lies in it.
Scenario without(Counterfactual removed, const Scenario& scenario);

// Costs without what does not depend on a kernel's size.
std::unique_ptr<CostModel> without_fixed_part(std::unique_ptr<CostModel> costs);

}  // namespace sim
