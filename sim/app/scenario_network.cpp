#include "sim/app/scenario_network.h"

#include <fmt/format.h>

#include <vector>

#include "sim/policies/collectives/ports_body.h"
#include "sim/policies/collectives/ports_levels.h"

namespace sim {
namespace {

// "" when ports can be.
std::string why_no_ports(const Cluster& cluster, const ExchangeAlgorithm& exchange,
                         bool disturbed) {
  if (disturbed) return "links are disturbed one by one, and ports know cuts of several links";
  if (!port_form(exchange.name)) {
    return fmt::format(
        "'{}' moves its bytes in stages or ways of their own, which ports do not follow; defined "
        "for: {}",
        exchange.name, port_algorithms());
  }
  std::string reason;
  if (find_port_levels(cluster, reason)) return "";
  return fmt::format("cluster '{}' has no levels (GPU, scale-up domain, leaf, spine): {}",
                     cluster.name, reason);
}

}  // namespace

FidelityWish read_network(YamlMap& root, Mistakes& mistakes) {
  static const std::vector<std::string> kFidelities = {"auto", "flows", "ports"};
  YamlMap map(root.child("network"), "network", mistakes);
  const std::string name = map.choice_or("fidelity", "auto", kFidelities);
  map.finish();
  if (name == "flows") return FidelityWish::kFlows;
  return name == "ports" ? FidelityWish::kPorts : FidelityWish::kAuto;
}

NetworkChoice choose_fidelity(FidelityWish wish, const Cluster& cluster,
                              const ExchangeAlgorithm& exchange, bool disturbed, int ranks,
                              const Place& place, Mistakes& mistakes) {
  NetworkChoice choice;
  choice.wish = wish;
  if (wish == FidelityWish::kFlows) return choice;
  const bool small = ranks <= kMostRanksOfAutoFlows;
  if (wish == FidelityWish::kAuto && small) {
    choice.why = fmt::format("auto: at most {} ranks exchange", kMostRanksOfAutoFlows);
    return choice;
  }
  const std::string why_not = why_no_ports(cluster, exchange, disturbed);
  if (wish == FidelityWish::kPorts) {
    if (!why_not.empty())
      mistakes.add(place, "fidelity 'ports' cannot be: " + why_not, "use 'fidelity: flows'");
    choice.fidelity = Fidelity::kPorts;
    return choice;
  }
  choice.fidelity = why_not.empty() ? Fidelity::kPorts : Fidelity::kFlows;
  choice.why = why_not.empty() ? fmt::format("auto: {} ranks exchange, more than {}", ranks,
                                             kMostRanksOfAutoFlows)
                               : "auto: no ports, because " + why_not;
  return choice;
}

void check_exchange_size(const NetworkChoice& choice, int ranks, std::int64_t slots,
                         const Place& place, Mistakes& mistakes) {
  constexpr std::int64_t kMostCells = std::int64_t{1} << 28;  // 2 GiB of counts
  constexpr int kMostRanksOfFlows = 2048;                     // 4 million transfers, 0.4 GB
  if (choice.fidelity == Fidelity::kFlows && ranks > kMostRanksOfFlows) {
    mistakes.add(
        place,
        fmt::format("fidelity 'flows' moves a transfer for each of {} x {} pairs of ranks; "
                    "the most is {} ranks",
                    ranks, ranks, kMostRanksOfFlows),
        choice.why.empty() ? "use 'fidelity: ports', or a smaller ep" : choice.why);
  }
  if (ranks > kMostCells / slots) {
    mistakes.add(place,
                 fmt::format("{} ranks with {} expert slots need more than 2 GiB of counts per "
                             "layer",
                             ranks, slots),
                 "use a smaller ep, or fewer redundant experts");
  }
}

std::string fidelity_text(const NetworkChoice& choice) {
  std::string text =
      choice.fidelity == Fidelity::kFlows
          ? "flows, exact max-min sharing"
          : "ports, an approximation: its error is in sim/policies/collectives/fidelity.md";
  if (!choice.why.empty()) text += " (" + choice.why + ")";
  return text;
}

}  // namespace sim
