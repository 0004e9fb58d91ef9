// What people measure of communication, asked of the simulator: the time of one dispatch or
// combine, or of one collective, alone on an idle cluster.
//
//   LonePredictor predictor(cluster, types);
//   predictor.predict(question).run.mean_s
//
// A published table is compared through these two functions only (command `collective`,
// calibration), so both see the same counting of copies, constants and clocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/dtype.h"
#include "sim/policies/collectives/exchange.h"
#include "sim/policies/collectives/ports_copies.h"
#include "sim/workloads/lone_collective.h"
#include "traces/synthetic/synthetic.h"

namespace sim {

// flows: every source-to-destination transfer. ports: per rank one send and one receive over its
// ports and the cuts its bytes cross, for thousands of ranks.
enum class LoneFidelity { kFlows, kPorts };

// One dispatch or combine of a routed layer. Experts lie in order over the ranks, in blocks whose
// sizes differ by at most one; every token's choices are drawn (token_budget of the routing: above
// it they are counted and the distinct copies are expectations).
struct ExchangeQuestion {
  const ExchangeAlgorithm* algorithm = nullptr;
  Direction direction = Direction::kDispatch;
  std::vector<DeviceId> devices;  // rank 0, 1, ...: see spread_ranks()
  std::int64_t tokens = 0;        // of each rank
  std::int64_t hidden = 0;
  int experts = 0;
  int top_k = 0;
  DType dtype = DType::kBf16;  // of the values that travel
  SyntheticSpec routing{SyntheticKind::kUniform, 0, {}, std::int64_t{1} << 22};
  std::uint64_t seed = 0;
  const CopyCounts* copies = nullptr;    // given: tokens, top-k, routing and seed are not asked
  std::optional<int> communication_sms;  // none: the algorithm's own
  std::string library;  // whose constants; empty: the cluster's first (topologies/cluster.h)
  // GPUs [i tp, (i + 1) tp) are a tensor-parallel group, for algorithms that travel by groups.
  int tensor_parallel = 1;
  LoneFidelity fidelity = LoneFidelity::kFlows;
  // Whether a dispatch begins with its size exchange: published tables time the transfer alone.
  bool size_exchange = false;
  std::vector<Duration> arrivals;  // per rank; empty: all at zero
};

struct ExchangeAnswer {
  LoneResult run;
  std::string label;   // of the start-up and efficiencies: measured | fitted | published | assumed
  std::string source;  // of the same
  Bytes bytes_per_copy;
  // Token copies of a rank, mean over ranks, each with the rank's and node's own share included.
  // At port granularity only those are counted that the algorithm sends.
  std::optional<double> selections;   // (token, expert) pairs
  std::optional<double> rank_copies;  // distinct ranks touched, summed over tokens
  std::optional<double> node_copies;  // distinct nodes touched, summed over tokens
  bool estimated = false;             // distinct copies are expectations
};

// A collective of equal shares.
struct CollectiveQuestion {
  std::string operation;
  std::string algorithm;
  std::vector<DeviceId> devices;
  // As nccl-tests count "size": all-to-all, the buffer that a rank sends; the others as in
  // CollectiveCall.
  Bytes bytes;
  std::optional<int> communication_sms;
  int tensor_parallel = 1;
  std::string library;  // whose constants, as above
  std::vector<Duration> arrivals;
};

struct CollectiveAnswer {
  LoneResult run;
  std::string label;
  std::string source;
};

// The operations there are and the algorithms of each, for lists and messages.
std::vector<std::string> collective_operations();
std::vector<std::string> collective_algorithms(const std::string& operation);

class LonePredictor {
 public:
  // Keeps references. `types`: the device type of every device of the cluster.
  LonePredictor(const Cluster& cluster, std::vector<const Device*> types)
      : network_(cluster, std::move(types)) {}

  // Both throw Error when the question cannot be: see LoneNetwork::run and make_synthetic; more
  // SMs than a device has; more transfers than fit memory (2^22: 2048 ranks all to all).
  ExchangeAnswer predict(const ExchangeQuestion& question);
  CollectiveAnswer predict(const CollectiveQuestion& question);

  const Cluster& cluster() const { return network_.cluster(); }

 private:
  // A layer's tokens and where they go.
  struct DrawnRouting {
    LayerRouting routing;
    ExpertPlacement placement;
    SlotAssignment assignment;
  };
  DrawnRouting draw_routing(const ExchangeQuestion& question) const;
  const CopyCounts& draw_copies(const ExchangeQuestion& question);
  PortCopies draw_port_copies(const ExchangeQuestion& question, PortForm form) const;
  void run_flows(const ExchangeQuestion& question, const StartupCost& cost, Exchange& exchange,
                 LoneOperation& operation, ExchangeAnswer& answer);
  void run_ports(const ExchangeQuestion& question, const StartupCost& cost, Exchange& exchange,
                 LoneOperation& operation, ExchangeAnswer& answer);

  LoneNetwork network_;
  // The copies drawn last and what they were drawn for: dispatch and combine share them.
  std::string drawn_for_;
  CopyCounts drawn_;
};

}  // namespace sim
