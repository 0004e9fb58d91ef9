#include "tests/fidelity/measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "models/device_reader.h"
#include "sim/core/error.h"
#include "sim/core/random.h"
#include "sim/core/task_graph.h"
#include "sim/policies/collectives/ports_body.h"

namespace sim::fidelity {
namespace {

class Listener : public Observer {
 public:
  void on_part(const PartSpan& part) override {
    ends_[{part.tag.layer, part.device.value()}] = part.end;
  }
  void on_collective(const CollectiveSpan& span) override {
    if (span.tag.layer == 0) bound_s = span.bound_s;
  }
  std::map<std::pair<int, int>, Time> ends_;
  double bound_s = 0;
};

StartupCost without_start(StartupCost cost) {
  cost.base = cost.multi_node = cost.per_doubling = cost.per_message = cost.per_256_experts =
      cost.pipeline_fill = cost.wire_base = cost.notify = cost.notify_per_doubling = Duration(0);
  return cost;
}

// Runs the exchanges of a case in one network.
class Runner {
 public:
  Runner(const Case& wanted, const CaseInput& input, Fidelity fidelity)
      : input_(input),
        fidelity_(fidelity),
        algorithm_(find_exchange_algorithm(wanted.algorithm)),
        routes_(input.cluster),
        graph_(loop_, listener_, {0, 1, 2, 3}),
        network_(input.cluster, routes_, graph_.network(), memory()) {
    const AlgorithmConstants* constants =
        find_constants(input.cluster, wanted.algorithm, input.cluster.node_count());
    if (constants != nullptr) {
      dispatch_cost_ = without_start(constants->dispatch);
      combine_cost_ = without_start(constants->combine);
    }
    for (int r = 0; r < input.cluster.device_count(); ++r) ranks_.emplace_back(r);
    const DType dtype = DType::kBf16;
    bytes_per_copy_ = bytes_per_copy(algorithm_, Direction::kDispatch, 7168, dtype);
    if (fidelity == Fidelity::kPorts) {
      std::string reason;
      levels_ = find_port_levels(input.cluster, reason);
      SIM_CHECK(levels_.has_value(), "the catalog's clusters have levels: " + reason);
      ports_.emplace(*levels_, network_, graph_.network());
      copies_ = port_copies(input.copies, input.node_of_rank, *port_form(wanted.algorithm));
    }
  }

  // Adds an exchange whose rank r begins at arrivals[r].
  void add(int number, Direction direction, const std::vector<Duration>& arrivals) {
    std::vector<PartSpec> parts;
    for (std::size_t r = 0; r < ranks_.size(); ++r) {
      TaskSpec wait;
      wait.stream = graph_.add_stream(ranks_[r], StreamKind::kHost, Duration(0));
      wait.duration = arrivals[r];
      PartSpec part;
      part.after = {graph_.add_task(wait, {})};
      part.stream = graph_.add_stream(ranks_[r], StreamKind::kCommunication, Duration(0));
      parts.push_back(part);
    }
    const TaskTag tag{0, static_cast<std::int16_t>(number), 0};
    graph_.add_collective(tag, parts,
                          [this, direction](CollectiveBody& body) { fill(direction, body); });
  }

  Ends run() {
    const std::clock_t begin = std::clock();
    loop_.run();
    SIM_CHECK(graph_.unfinished() == 0, "every part ends");
    Ends ends;
    ends.cpu_s = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    for (const auto& [part, end] : listener_.ends_) {
      ends.seconds.push_back(to_seconds(end - Time{}));
    }
    ends.makespan_s = *std::max_element(ends.seconds.begin(), ends.seconds.end());
    ends.bound_s = listener_.bound_s;
    return ends;
  }

  // What the exchange needs at least: an estimate for arrivals before anything has run.
  double nic_seconds() const {
    double most = 0;
    const std::size_t n = ranks_.size();
    for (std::size_t s = 0; s < n; ++s) {
      double out = 0;
      for (std::size_t d = 0; d < n; ++d) out += static_cast<double>(input_.copies.rows[s * n + d]);
      most = std::max(most, out);
    }
    return most * static_cast<double>(bytes_per_copy_.count()) / 47e9;
  }

 private:
  std::vector<Bandwidth> memory() const {
    const Device device = read_device(std::string(MOE_SOURCE_DIR) + "/models/devices/" +
                                      input_.cluster.devices.front().device_type + ".yaml");
    return std::vector<Bandwidth>(input_.cluster.devices.size(), device.memory_bandwidth);
  }

  void fill(Direction direction, CollectiveBody& body) {
    Exchange exchange;
    exchange.direction = direction;
    exchange.copies = &input_.copies;
    exchange.ranks = ranks_;
    exchange.node_of_rank = input_.node_of_rank;
    exchange.bytes_per_copy = bytes_per_copy_;
    exchange.experts = input_.experts;
    exchange.device_sms = 132;
    exchange.communication_sms = algorithm_.communication_sms;
    body.start = algorithm_.start;
    const StartupCost& cost = direction == Direction::kDispatch ? dispatch_cost_ : combine_cost_;
    if (fidelity_ == Fidelity::kPorts) {
      make_port_body(
          exchange, copies_, cost, *ports_, [](DeviceId, Bytes, Bytes) {}, body);
    } else {
      algorithm_.make(
          exchange, cost, network_, [](DeviceId, DeviceId, Bytes) {}, body);
    }
  }

  const CaseInput& input_;
  Fidelity fidelity_;
  const ExchangeAlgorithm& algorithm_;
  EventLoop loop_;
  Listener listener_;
  Routes routes_;
  TaskGraph graph_;
  ClusterNetwork network_;
  StartupCost dispatch_cost_ = assumed_startup();
  StartupCost combine_cost_ = assumed_startup();
  std::vector<DeviceId> ranks_;
  Bytes bytes_per_copy_;
  std::optional<PortLevels> levels_;
  std::optional<PortNetwork> ports_;
  PortCopies copies_;
};

}  // namespace

Ends run_case(const Case& wanted, const CaseInput& input, Fidelity fidelity) {
  Runner runner(wanted, input, fidelity);
  const std::size_t ranks = input.node_of_rank.size();
  std::vector<Duration> arrivals(ranks, Duration(0));
  if (wanted.pattern == Pattern::kStaggered) {
    RandomStream random(1, "fidelity/arrivals");
    for (Duration& arrival : arrivals) {
      arrival = duration_from_seconds(random.uniform() * runner.nic_seconds());
    }
  }
  runner.add(0, Direction::kDispatch, arrivals);
  if (wanted.pattern == Pattern::kOverlap) {
    for (Duration& arrival : arrivals) {
      arrival = duration_from_seconds(0.5 * runner.nic_seconds());
    }
    runner.add(1, Direction::kCombine, arrivals);
  }
  return runner.run();
}

Difference difference(const Ends& flows, const Ends& ports) {
  SIM_CHECK(flows.seconds.size() == ports.seconds.size(), "the same parts");
  Difference result;
  result.makespan = ports.makespan_s / flows.makespan_s - 1;
  for (std::size_t i = 0; i < flows.seconds.size(); ++i) {
    const double error = std::abs(ports.seconds[i] - flows.seconds[i]) / flows.makespan_s;
    result.mean_end += error / static_cast<double>(flows.seconds.size());
    result.worst_end = std::max(result.worst_end, error);
  }
  return result;
}

std::string header_rows() {
  return "| pattern | algorithm | GPUs | uplinks | flows, us | ports, us | makespan error | mean "
         "end error | worst end error |\n|---|---|---|---|---|---|---|---|---|\n";
}

std::string table_row(const Case& wanted, const Ends& flows, const Ends& ports) {
  const Difference d = difference(flows, ports);
  const auto named =
      std::find_if(std::begin(kPatterns), std::end(kPatterns),
                   [&](const NamedPattern& p) { return p.pattern == wanted.pattern; });
  return fmt::format("| {} | {} | {} | {} | {:.1f} | {:.1f} | {:+.1f} % | {:.1f} % | {:.1f} % |\n",
                     named->name, wanted.algorithm, wanted.gpus, wanted.spraying,
                     flows.makespan_s * 1e6, ports.makespan_s * 1e6, d.makespan * 100,
                     d.mean_end * 100, d.worst_end * 100);
}

}  // namespace sim::fidelity
