#include "sim/policies/collectives/exchange_legs.h"

#include <algorithm>
#include <cmath>

#include "sim/core/error.h"
#include "sim/policies/collectives/exchange_costs.h"

namespace sim {

void ExchangeLegs::send(int from, int to, std::int64_t copies) {
  if (copies == 0) return;
  leg({from, to, copies});
  const std::int32_t other = to;
  flush(from, std::span(&other, 1), copies);
}

void ExchangeLegs::copy_inside(int rank, std::int64_t copies) {
  if (copies == 0) return;
  leg({rank, rank, copies, 1, false, false, true});
  const std::int32_t self = rank;
  flush(rank, std::span(&self, 1), copies);
}

int ExchangeLegs::add_chain(std::span<const Duration> delays) {
  const bool back = exchange_.direction == Direction::kCombine;
  const int base = static_cast<int>(body_.stages.size());
  const int stages = static_cast<int>(delays.size());
  for (int i = 0; i < stages; ++i) {
    CollectiveBody::Stage stage;
    stage.delay = delays[static_cast<std::size_t>(back ? stages - 1 - i : i)];
    if (i > 0) stage.after[0] = static_cast<StageId>(base + i - 1);
    body_.add_stage(stage);
  }
  chains_.push_back({base, stages});
  at(static_cast<int>(chains_.size()) - 1, 0);
  return static_cast<int>(chains_.size()) - 1;
}

void ExchangeLegs::at(int chain, int stage) {
  const Chain& in = chains_[static_cast<std::size_t>(chain)];
  SIM_CHECK(stage >= 0 && stage < in.stages, "a stage of this chain");
  const bool back = exchange_.direction == Direction::kCombine;
  stage_ = static_cast<StageId>(in.base + (back ? in.stages - 1 - stage : stage));
}

int ExchangeLegs::rail_of(int rank) const {
  const DeviceId device = exchange_.ranks[static_cast<std::size_t>(rank)];
  return network_.cluster().devices[device.index()].index_in_node;
}

PairLegs::PairLegs(const Exchange& exchange, const StartupCost& cost, ClusterNetwork& network,
                   const TrafficSink& sink, CollectiveBody& body)
    : ExchangeLegs(exchange, network, body),
      network_(network),
      sink_(sink),
      with_latency_(!includes_latency(cost)) {
  const double slower =
      cost.rate_exponent == 0
          ? 1.0
          : std::pow(static_cast<double>(exchange.ranks.size()) / 8.0, cost.rate_exponent);
  efficiency_ = {cost.nic_efficiency / slower, cost.nvlink_efficiency / slower,
                 cost.pcie_efficiency / slower};
}

void PairLegs::leg(const Leg& leg) {
  const bool back = exchange().direction == Direction::kCombine;
  const DeviceId from = exchange().ranks[static_cast<std::size_t>(back ? leg.to : leg.from)];
  const DeviceId to = exchange().ranks[static_cast<std::size_t>(back ? leg.from : leg.to)];
  const Duration latency =
      leg.avoid_nvlink
          ? network_.add_path_without_nvlink(from, to, leg.per_payload, efficiency_, uses_)
          : network_.add_path(from, to, leg.per_payload, efficiency_, uses_);
  Duration& longest = leg.forwarded ? forward_latency_ : latency_;
  longest = std::max(longest, latency);
  if (!leg.layout) sink_(from, to, exchange().bytes_per_copy * leg.copies);
}

void PairLegs::charge_copy(int owner, double seconds_per_byte) {
  if (seconds_per_byte <= 0) return;
  copied_ = true;
  uses_.push_back({network_.copy(exchange().ranks[static_cast<std::size_t>(owner)]),
                   seconds_per_byte * ClusterNetwork::kCopyUnitsPerSecond});
}

void PairLegs::flush(std::int32_t owner, std::span<const std::int32_t> others,
                     std::int64_t copies) {
  ClusterNetwork::merge(uses_);
  const std::span<const std::int32_t> own(&owner, 1);
  const bool local = others.empty() || (others.size() == 1 && others[0] == owner);
  const Duration latency = with_latency_ ? latency_ + forward_latency_ : Duration(0);
  const Bytes bytes = exchange().bytes_per_copy * copies;
  // SMs that copy walk the tokens in order, so all destinations of a rank get on in proportion.
  const double weight =
      copied_ ? static_cast<double>(copies) /
                    static_cast<double>(this->copies().tokens[static_cast<std::size_t>(owner)])
              : 1.0;
  if (local) {
    body().add(own, {}, bytes, latency, uses_, stage(), weight);
  } else if (exchange().direction == Direction::kDispatch) {
    body().add(own, others, bytes, latency, uses_, stage(), weight);
  } else {
    body().add(others, own, bytes, latency, uses_, stage(), weight);
  }
  copied_ = false;
  uses_.clear();
  latency_ = forward_latency_ = Duration(0);
}

}  // namespace sim
