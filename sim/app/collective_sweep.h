// `simulate collective`: one operation alone on an idle cluster, over a sweep of sizes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/app/catalog.h"
#include "sim/workloads/lone_question.h"

namespace sim {

// As typed; an empty text or no value: not given.
struct CollectiveArguments {
  std::string cluster;
  std::int64_t nodes = 1;
  std::vector<std::string> set;  // of the cluster's parameters
  std::string operation;
  std::string algorithm;
  std::optional<std::int64_t> ranks;            // none: every GPU of the nodes
  std::optional<std::int64_t> sms;              // none: the algorithm's own
  std::optional<std::int64_t> tensor_parallel;  // none: 1
  std::string library;                          // whose constants
  std::string fidelity = "flows";
  std::string dtype = "bf16";
  std::string bytes;
  std::string tokens;
  std::optional<std::int64_t> hidden, top_k, experts, group_limit, groups;
  std::optional<double> zipf;         // none: uniform
  std::optional<std::uint64_t> seed;  // none: 1
};

struct CollectiveRow {
  std::int64_t size = 0;  // bytes, or tokens of a rank
  LoneResult run;
  std::string label;   // of the constants used
  std::string source;  // of the same
  // Of an exchange only; copies of a rank, mean over ranks, own share included.
  Bytes bytes_per_copy;
  std::optional<double> selections, rank_copies, node_copies;
};

// What was run, and a row per size.
struct CollectiveSweep {
  std::string operation;
  std::string algorithm;
  std::string where;    // "hgx-h100, 2 nodes, 16 x h100-sxm"
  std::string routing;  // of an exchange: "top-8 of 256 experts, uniform, drawn with seed 1"
  std::string fidelity;
  std::string cluster;
  int nodes = 0;
  int domains = 0;  // scale-up domains that the ranks are in: above 1, bytes cross NICs
  int ranks = 0;
  DType dtype = DType::kBf16;
  bool exchange = false;         // sizes are tokens
  bool distinct_copies = false;  // a token travels once per rank or node
  bool once_per_node = false;    // and is forwarded to the ranks there
  bool estimated = false;        // distinct copies are expectations in at least one row
  std::int64_t hidden = 0;
  std::vector<CollectiveRow> rows;
};

// Throws Error with every mistake of the arguments.
CollectiveSweep run_collective_sweep(const CollectiveArguments& arguments, const Catalog& catalog);

// The operations of the command: the collectives, then dispatch and combine.
std::vector<std::string> sweep_operations();
std::vector<std::string> sweep_algorithms(const std::string& operation);

}  // namespace sim
