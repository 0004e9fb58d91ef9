#include "tests/fidelity/cases.h"

#include <cmath>
#include <filesystem>
#include <memory>

#include "sim/core/error.h"
#include "sim/core/random.h"
#include "sim/input/yaml_reader.h"
#include "sim/policies/placement/placement.h"
#include "sim/policies/placement/replica_split.h"
#include "tests/support/shared_data.h"
#include "topologies/cluster_reader.h"
#include "traces/import/import.h"
#include "traces/replay.h"
#include "traces/synthetic/synthetic.h"

namespace sim::fidelity {
namespace {

constexpr std::int64_t kTokens = 128;
constexpr int kTopK = 8;
constexpr std::uint64_t kSeed = 1;

Cluster make_cluster(const Case& wanted) {
  const bool nvlink = wanted.algorithm == "nvlink-one-sided";
  const std::string text =
      (nvlink ? "{use: gb200-nvl72, gpus: 64, domains: " + std::to_string(wanted.gpus / 64)
              : "{use: hgx-h100, nodes: " + std::to_string(wanted.gpus / 8)) +
      ", spraying: " + wanted.spraying + "}";
  const auto document = YamlDocument::parse(text, "fidelity");
  Mistakes mistakes;
  Cluster cluster = read_cluster(
      document->root(), catalog_in(std::string(MOE_SOURCE_DIR) + "/topologies/catalog"), mistakes);
  mistakes.throw_if_any();
  return cluster;
}

// One expert per rank, each rank's tokens given as counts.
void count_table(const std::vector<std::int64_t>& table, CaseInput& out) {
  LayerRouting routing;
  routing.ranks = routing.experts = static_cast<int>(out.node_of_rank.size());
  routing.per_token = false;
  routing.counts = table;
  std::vector<ExpertId> slots;
  for (int e = 0; e < routing.experts; ++e) slots.emplace_back(e);
  const ExpertPlacement placement = make_placement(routing.experts, routing.ranks, slots);
  SlotAssignment assignment;
  assign_slots(find_replica_split("even"), {routing, placement, 8}, assignment);
  count_copies(routing, assignment, placement, out.node_of_rank, kTopK, out.copies);
  out.experts = routing.experts;
}

void uniform(CaseInput& out) {
  const std::size_t ranks = out.node_of_rank.size();
  count_table(std::vector<std::int64_t>(ranks * ranks, kTokens / 16), out);
}

void skewed(CaseInput& out) {
  const std::size_t ranks = out.node_of_rank.size();
  RandomStream random(kSeed, "fidelity/skewed");
  std::vector<double> popular = zipf_weights(static_cast<int>(ranks), 0.8);
  random.shuffle(popular);
  double sum = 0;
  for (const double p : popular) sum += p;
  std::vector<std::int64_t> table;
  for (std::size_t s = 0; s < ranks; ++s) {
    for (std::size_t d = 0; d < ranks; ++d) {
      const double rows = 4096.0 * kTopK * popular[d] / sum * std::exp(0.3 * random.normal());
      table.push_back(std::llround(rows));
    }
  }
  count_table(table, out);
}

void draw(RoutingSource& source, int copies_of_expert, int top_k, CaseInput& out) {
  LayerRouting routing;
  source.fill(0, 0, routing);
  std::vector<ExpertId> slots;
  for (int slot = 0; slot < routing.experts * copies_of_expert; ++slot) {
    slots.emplace_back(slot % routing.experts);
  }
  const ExpertPlacement placement = make_placement(routing.experts, routing.ranks, slots);
  SlotAssignment assignment;
  assign_slots(find_replica_split("modulo"), {routing, placement, 8}, assignment);
  count_copies(routing, assignment, placement, out.node_of_rank, top_k, out.copies);
  out.experts = routing.experts;
}

void drawn(CaseInput& out) {
  const int ranks = static_cast<int>(out.node_of_rank.size());
  SyntheticSpec spec;
  spec.kind = SyntheticKind::kUniform;
  const auto source =
      make_synthetic(spec, {2 * ranks}, kTopK,
                     std::vector<std::int64_t>(static_cast<std::size_t>(ranks), kTokens), kSeed);
  draw(*source, 1, kTopK, out);
}

void recorded(const std::string& trace, CaseInput& out) {
  constexpr int kExperts = 32, kTopKOfModel = 4, kLayers = 24;
  const int ranks = static_cast<int>(out.node_of_rank.size());
  RoutingShape shape;
  shape.experts.assign(kLayers, kExperts);
  shape.top_k = kTopKOfModel;
  const auto source =
      make_replay(trace, ReplayRule::kSample, shape,
                  std::vector<std::int64_t>(static_cast<std::size_t>(ranks), kTokens), kSeed);
  draw(*source, ranks / kExperts, kTopKOfModel, out);
}

void slow_nic(Cluster& cluster) {
  const VertexId slow(3);
  for (Link& link : cluster.links) {
    if (link.kind == LinkKind::kNic && (link.from == slow || link.to == slow)) {
      link.capacity = Bandwidth(link.capacity.count() / 4);
    }
  }
}

}  // namespace

std::string import_recorded_routing(const std::string& folder) {
  const std::string shared = sim::testing::shared_dir();
  if (shared.empty()) return "";
  const std::string out = (std::filesystem::path(folder) / "gpt-oss-20b.moetrace").string();
  import_trace(shared + "/data/routing/gpt-oss-20b-fingerprinting/decode_topk.csv.gz", out);
  return out;
}

CaseInput make_case(const Case& wanted, const std::string& trace) {
  CaseInput input;
  input.cluster = make_cluster(wanted);
  for (const ClusterDevice& device : input.cluster.devices) {
    input.node_of_rank.push_back(device.node.value());
  }
  switch (wanted.pattern) {
    case Pattern::kUniform:
      uniform(input);
      break;
    case Pattern::kSkewed:
      skewed(input);
      break;
    case Pattern::kRecorded:
      recorded(trace, input);
      break;
    case Pattern::kSlowNic:
      slow_nic(input.cluster);
      drawn(input);
      break;
    default:
      drawn(input);
  }
  return input;
}

}  // namespace sim::fidelity
