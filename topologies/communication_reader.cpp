#include "topologies/communication_reader.h"

#include <utility>

namespace sim {
namespace {

constexpr NumberRange kEfficiency{0.001, 1};
constexpr NumberRange kSwitchedEfficiency{0.001, 2};  // NVLS reduces in the switch
constexpr NumberRange kExponent{0, 2};

ConstantsScope read_scope(YamlMap& entry) {
  static const std::vector<std::string> kScopes = {"any", "one-node", "several-nodes"};
  const std::string text = entry.choice_or("scope", "any", kScopes);
  if (text == "one-node") return ConstantsScope::kOneNode;
  return text == "any" ? ConstantsScope::kAny : ConstantsScope::kSeveralNodes;
}

std::optional<Bandwidth> bandwidth_if(YamlMap& entry, std::string_view key) {
  if (!entry.has(key)) return std::nullopt;
  const Bandwidth value = entry.bandwidth(key);
  if (value.count() <= 0) entry.mistake(key, "'" + std::string(key) + "' must be positive");
  return value;
}

// Constants without a source are not constants but guesses.
void read_origin(YamlMap& entry, auto& constants) {
  constants.label = entry.choice("label", figure_labels());
  constants.source = entry.text("source");
  constants.fitted_to = entry.texts_or_empty("fitted_to");
}

StartupCost read_startup(YamlMap& algorithm, std::string_view key) {
  YamlMap entry = algorithm.map(key);
  StartupCost cost;
  cost.base = entry.duration("base");
  cost.multi_node = entry.duration_or("multi_node", Duration(0));
  cost.per_doubling = entry.duration_or("per_doubling", Duration(0));
  cost.per_message = entry.duration_or("per_message", Duration(0));
  cost.per_256_experts = entry.duration_or("per_256_experts", Duration(0));
  cost.world_exponent = entry.number_or("world_exponent", 0, kExponent);
  cost.pipeline_fill = entry.duration_or("pipeline_fill", Duration(0));
  cost.serial_per_token = entry.duration_or("serial_per_token", Duration(0));
  cost.wire_base = entry.duration_or("wire_base", Duration(0));
  cost.rate_exponent = entry.number_or("rate_exponent", 0, kExponent);
  cost.nic_efficiency = entry.number_or("nic_efficiency", 1, kEfficiency);
  cost.nvlink_efficiency = entry.number_or("nvlink_efficiency", 1, kEfficiency);
  cost.pcie_efficiency = entry.number_or("pcie_efficiency", 1, kEfficiency);
  cost.copy_per_sm = bandwidth_if(entry, "copy_per_sm");
  cost.rank_copies = entry.number_or("rank_copies", 1, {0, 1});
  cost.extra_copies = entry.number_or("extra_copies", 0, {0, 1000});
  cost.per_copy = entry.duration_or("per_copy", Duration(0));
  cost.per_token = entry.duration_or("per_token", Duration(0));
  cost.notify = entry.duration_or("notify", Duration(0));
  cost.notify_per_doubling = entry.duration_or("notify_per_doubling", Duration(0));
  read_origin(entry, cost);
  entry.finish();
  return cost;
}

CollectiveConstants read_collective(YamlMap& entry) {
  static const std::vector<std::string> kOperations = {"all-to-all", "all-gather", "reduce-scatter",
                                                       "all-reduce", "broadcast",  "send-receive"};
  CollectiveConstants constants;
  constants.algorithm = entry.text("algorithm");
  constants.operation = entry.choice("operation", kOperations);
  constants.scope = read_scope(entry);
  constants.from_bytes_per_rank = entry.bytes_or("from_bytes_per_rank", Bytes(0));
  constants.least_ranks = static_cast<int>(entry.count_or("least_ranks", 2, {2, 1 << 20}));
  constants.base = entry.duration("base");
  constants.per_step = entry.duration_or("per_step", Duration(0));
  constants.nvlink_efficiency = entry.number_or("nvlink_efficiency", 1, kSwitchedEfficiency);
  constants.pcie_efficiency = entry.number_or("pcie_efficiency", 1, kEfficiency);
  constants.nic_efficiency = entry.number_or("nic_efficiency", 1, kEfficiency);
  constants.local_copy = bandwidth_if(entry, "local_copy");
  constants.ramp = entry.duration_or("ramp", Duration(0));
  constants.ramp_bytes = entry.bytes_or("ramp_bytes", Bytes(0));
  read_origin(entry, constants);
  entry.finish();
  return constants;
}

}  // namespace

void read_communication(ClusterParameters& parameters, Cluster& cluster) {
  for (const YamlNode& item : parameters.list_or_empty("communication")) {
    YamlMap entry(item, "an entry of communication", parameters.mistakes());
    AlgorithmConstants constants;
    constants.algorithm = entry.text("algorithm");
    constants.library = entry.text_or("library", "");
    constants.scope = read_scope(entry);
    constants.dispatch = read_startup(entry, "dispatch");
    constants.combine = read_startup(entry, "combine");
    entry.finish();
    cluster.communication.push_back(std::move(constants));
  }
  for (const YamlNode& item : parameters.list_or_empty("collectives")) {
    YamlMap entry(item, "an entry of collectives", parameters.mistakes());
    cluster.collectives.push_back(read_collective(entry));
  }
}

}  // namespace sim
