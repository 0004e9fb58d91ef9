// The exchanges that `fidelity: ports` is measured with.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/policies/collectives/exchange.h"
#include "topologies/cluster.h"

namespace sim::fidelity {

enum class Pattern {
  kUniform,    // every rank sends the same to every rank
  kDrawn,      // uniform experts, drawn token by token: 128 tokens a rank, top-8
  kSkewed,     // Zipf(0.8) popularity of receivers times a log-normal factor of sigma 0.3
  kRecorded,   // gpt-oss-20b's routing of public prompts, sampled: 128 tokens a rank, top-4 of 32
  kStaggered,  // drawn, ranks arrive over as long as the exchange needs at least
  kOverlap,    // drawn, its combine on the same links beside it, begun half way
  kSlowNic,    // drawn, one rank's NIC at a quarter of its rate
};
struct NamedPattern {
  Pattern pattern;
  const char* name;
};
inline constexpr NamedPattern kPatterns[] = {
    {Pattern::kUniform, "uniform"},     {Pattern::kDrawn, "drawn"},
    {Pattern::kSkewed, "skewed"},       {Pattern::kRecorded, "gpt-oss-20b"},
    {Pattern::kStaggered, "staggered"}, {Pattern::kOverlap, "overlap"},
    {Pattern::kSlowNic, "slow NIC"}};

// How uplinks are taken. `hash`: the clusters' default, one uplink per pair of ranks by hash. Ports
// know no single uplink, so what hashing costs is part of their error.
inline constexpr const char* kSprayings[] = {"hash", "ideal"};

struct Case {
  Pattern pattern = Pattern::kUniform;
  std::string algorithm;
  int gpus = 64;
  std::string spraying = "hash";
};

// What one exchange of a case moves.
struct CaseInput {
  Cluster cluster;  // hgx-h100; gb200-nvl72 with domains of 64 for nvlink-one-sided
  CopyCounts copies;
  std::vector<int> node_of_rank;
  int experts = 0;
};

// `trace`: the recorded routing as a .moetrace, for kRecorded.
CaseInput make_case(const Case& wanted, const std::string& trace);

// Imports the recorded routing from the public reference data into a file of its own and returns
// its path; empty where the data is not there.
std::string import_recorded_routing(const std::string& folder);

}  // namespace sim::fidelity
