#include "sim/app/collective_sweep.h"

#include <fmt/format.h>

#include <set>
#include <utility>

#include "sim/app/cluster_choice.h"
#include "sim/app/collective_checks.h"
#include "sim/core/error.h"
#include "sim/policies/collectives/ports_body.h"

namespace sim {
namespace {

// Group-limited gating as DeepEP's tests draw it: a group per node unless --groups says otherwise.
// A limit that leaves every group is none.
std::optional<GroupLimit> group_limit(const CollectiveArguments& arguments, int nodes) {
  if (!arguments.group_limit) return std::nullopt;
  const int groups = static_cast<int>(arguments.groups.value_or(nodes));
  if (*arguments.group_limit >= groups) return std::nullopt;
  return GroupLimit{groups, static_cast<int>(*arguments.group_limit)};
}

std::string describe_routing(const CollectiveArguments& arguments,
                             const ExchangeQuestion& question) {
  std::string text = fmt::format("top-{} of {} experts", question.top_k, question.experts);
  if (const auto& groups = question.routing.groups) {
    text += fmt::format(" in the best {} of {} groups", groups->limit, groups->groups);
  } else if (arguments.group_limit) {
    text += fmt::format(" (a limit of {} groups leaves all)", *arguments.group_limit);
  }
  return text + fmt::format(", {}, seed {}",
                            question.routing.exponent > 0
                                ? fmt::format("Zipf {} popularity", question.routing.exponent)
                                : "uniform popularity",
                            question.seed);
}

int scale_up_domains(const Cluster& cluster, const std::vector<DeviceId>& devices) {
  std::set<int> domains;
  for (const DeviceId device : devices)
    domains.insert(cluster.devices[device.index()].scale_up_domain);
  return static_cast<int>(domains.size());
}

// Says at which option an Error without a place arose.
template <class Work>
auto at_option(const char* option, Work work) {
  try {
    return work();
  } catch (const Error& error) {
    std::vector<Mistake> mistakes = error.mistakes();
    for (Mistake& mistake : mistakes) {
      if (mistake.place.file.empty()) mistake.place.file = option;
    }
    throw Error(std::move(mistakes));
  }
}

void run_exchanges(const CollectiveArguments& arguments, const std::vector<std::int64_t>& sizes,
                   LonePredictor& predictor, const std::vector<DeviceId>& devices,
                   CollectiveSweep& sweep) {
  ExchangeQuestion question;
  question.algorithm = &find_exchange_algorithm(arguments.algorithm);
  if (arguments.fidelity == "ports") question.fidelity = LoneFidelity::kPorts;
  question.direction =
      arguments.operation == "dispatch" ? Direction::kDispatch : Direction::kCombine;
  question.devices = devices;
  question.hidden = *arguments.hidden;
  question.experts = static_cast<int>(*arguments.experts);
  question.top_k = static_cast<int>(*arguments.top_k);
  question.dtype = sweep.dtype;
  question.seed = arguments.seed.value_or(1);
  if (arguments.zipf.value_or(0) > 0) {
    question.routing.kind = SyntheticKind::kZipf;
    question.routing.exponent = *arguments.zipf;
  }
  question.routing.groups = group_limit(arguments, sweep.nodes);
  if (question.routing.groups) check_expert_groups(arguments, *question.routing.groups);
  if (arguments.sms) question.communication_sms = static_cast<int>(*arguments.sms);
  question.tensor_parallel = static_cast<int>(arguments.tensor_parallel.value_or(1));
  question.library = arguments.library;
  sweep.distinct_copies = question.algorithm->distinct_copies;
  sweep.once_per_node = port_form(question.algorithm->name) == PortForm::kPerNode;
  sweep.hidden = question.hidden;
  sweep.routing = describe_routing(arguments, question);
  for (const std::int64_t size : sizes) {
    question.tokens = size;
    ExchangeAnswer answer = at_option("--algorithm", [&] { return predictor.predict(question); });
    sweep.estimated = sweep.estimated || answer.estimated;
    sweep.rows.push_back({size, std::move(answer.run), answer.label, answer.source,
                          answer.bytes_per_copy, answer.selections, answer.rank_copies,
                          answer.node_copies});
  }
}

void run_collectives(const CollectiveArguments& arguments, const std::vector<std::int64_t>& sizes,
                     LonePredictor& predictor, const std::vector<DeviceId>& devices,
                     CollectiveSweep& sweep) {
  CollectiveQuestion question;
  question.operation = arguments.operation;
  question.algorithm = arguments.algorithm;
  question.tensor_parallel = static_cast<int>(arguments.tensor_parallel.value_or(1));
  question.library = arguments.library;
  question.devices = devices;
  for (const std::int64_t size : sizes) {
    question.bytes = Bytes(size);
    CollectiveAnswer answer = at_option("--algorithm", [&] { return predictor.predict(question); });
    sweep.rows.push_back(
        {size, std::move(answer.run), answer.label, answer.source, Bytes(1), {}, {}, {}});
  }
}

}  // namespace

std::vector<std::string> sweep_operations() {
  std::vector<std::string> names = collective_operations();
  names.emplace_back("dispatch");
  names.emplace_back("combine");
  return names;
}

std::vector<std::string> sweep_algorithms(const std::string& operation) {
  if (!is_exchange(operation)) return collective_algorithms(operation);
  std::vector<std::string> names;
  for (const ExchangeAlgorithm& algorithm : kExchangeAlgorithms) names.emplace_back(algorithm.name);
  return names;
}

CollectiveSweep run_collective_sweep(const CollectiveArguments& arguments, const Catalog& catalog) {
  const CheckedSweep checked = check_arguments(arguments);
  CollectiveSweep sweep;
  sweep.operation = arguments.operation;
  sweep.algorithm = arguments.algorithm;
  sweep.exchange = is_exchange(arguments.operation);
  sweep.dtype = checked.dtype;
  sweep.nodes = static_cast<int>(arguments.nodes);
  for (const std::string& set : arguments.set) {
    if (!set.starts_with("nodes=")) continue;
    throw Error(Place{"--set nodes"}, "the cluster is as large as what takes part", "use --nodes");
  }
  const Cluster cluster = choose_cluster(catalog, arguments.cluster, arguments.set, sweep.nodes);
  sweep.cluster = cluster.name;
  sweep.fidelity = arguments.fidelity;
  const DeviceTypes types(cluster, catalog);
  std::int64_t ranks = 0;
  for (int n = 0; n < sweep.nodes && n < cluster.node_count(); ++n) {
    ranks += static_cast<std::int64_t>(cluster.nodes[static_cast<std::size_t>(n)].devices.size());
  }
  ranks = arguments.ranks.value_or(ranks);
  if (ranks < 2) throw Error(Place{"--ranks"}, "a collective has at least 2 ranks");
  const std::vector<DeviceId> devices = at_option(
      "--ranks", [&] { return spread_ranks(cluster, sweep.nodes, static_cast<int>(ranks)); });
  sweep.ranks = static_cast<int>(devices.size());
  sweep.domains = scale_up_domains(cluster, devices);
  check_on_cluster(arguments, cluster, types.of_devices(), sweep.ranks, sweep.nodes);
  const ClusterDevice& first = cluster.devices[devices.front().index()];
  sweep.where = fmt::format("{} x {} on {} {} of {}", sweep.ranks, first.device_type, sweep.nodes,
                            sweep.nodes == 1 ? "node" : "nodes", cluster.name);
  LonePredictor predictor(cluster, types.of_devices());
  if (sweep.exchange) {
    run_exchanges(arguments, checked.sizes, predictor, devices, sweep);
  } else {
    run_collectives(arguments, checked.sizes, predictor, devices, sweep);
  }
  return sweep;
}

}  // namespace sim
