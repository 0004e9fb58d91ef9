#include "sim/policies/collectives/ports_body.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "sim/core/error.h"
#include "sim/policies/collectives/exchange_costs.h"
#include "sim/policies/collectives/ports_plan.h"

namespace sim {
namespace {

struct NamedForm {
  std::string_view algorithm;
  PortForm form;
};
constexpr std::array kForms = {NamedForm{"nccl", PortForm::kPerRow},
                               NamedForm{"deepep-low-latency", PortForm::kPerRow},
                               NamedForm{"deepep-normal", PortForm::kPerNode},
                               NamedForm{"nvlink-one-sided", PortForm::kPerRank}};

RankCopies copies_of(const PortCopies& copies, std::size_t rank) {
  RankCopies own;
  own.sent = static_cast<double>(copies.own[rank]);
  for (const SparseCopies::Entry& entry : copies.to_ranks.of(rank)) own.sent += entry.copies;
  own.nodes = static_cast<double>(copies.node_sum[rank]);
  own.messages = static_cast<double>(copies.to_ranks.of(rank).size());
  own.tokens = static_cast<double>(copies.tokens[rank]);
  return own;
}

// Puts the ports of a body together, rank by rank.
class PortWriter {
 public:
  PortWriter(const Exchange& exchange, const StartupCost& cost, PortNetwork& network,
             const PortPlan& plan, const PortCopies& copies, PortBody& body)
      : exchange_(exchange), network_(network), plan_(plan), body_(body) {
    const double slower =
        cost.rate_exponent == 0
            ? 1.0
            : std::pow(static_cast<double>(exchange.ranks.size()) / 8.0, cost.rate_exponent);
    efficiency_ = {cost.nic_efficiency / slower, cost.nvlink_efficiency / slower,
                   cost.pcie_efficiency / slower};
    if (!cost.copy_per_sm) return;
    double tokens = 0;
    for (const std::int64_t of_rank : copies.tokens) tokens += static_cast<double>(of_rank);
    mean_tokens_ = tokens / static_cast<double>(std::max<std::size_t>(1, copies.tokens.size()));
  }

  // Before the ranks: how full the hash makes the fullest uplinks and downlinks of each leaf.
  void find_crowding();
  // The four ports of a rank of which `own` copies stay inside.
  void write(std::size_t rank, std::int64_t own, double copy_seconds, const PortSink& sink);

 private:
  void use(ResourceId resource, double bytes) {
    if (bytes > 0) loads_.push_back({resource, bytes});
  }
  void use_link(LinkId id, std::int64_t copies);
  void use_cut(PortNetwork::Cut& cut, std::int64_t copies, double crowding);
  double bytes_of(std::int64_t copies) const {
    return static_cast<double>(copies) * static_cast<double>(exchange_.bytes_per_copy.count());
  }
  void finish(const PortPairs& pairs, std::size_t endpoint, std::int64_t own);

  const Exchange& exchange_;
  PortNetwork& network_;
  const PortPlan& plan_;
  PortBody& body_;
  WireEfficiency efficiency_;
  double mean_tokens_ = 0;  // of a rank, where SMs copy: all get on in proportion to their copies
  std::vector<double> crowding_up_, crowding_down_;  // by leaf
  std::vector<ResourceUse> loads_;                   // of the port at hand, bytes in all
};

void PortWriter::use_link(LinkId id, std::int64_t copies) {
  if (copies == 0) return;
  ClusterNetwork& network = network_.network();
  const bool nvlink = network.cluster().links[id.index()].kind == LinkKind::kNvlink;
  use(network.link(id), bytes_of(copies) / (nvlink ? efficiency_.nvlink : efficiency_.nic));
  network.link_payload()[id.index()] += bytes_of(copies);
}

void PortWriter::use_cut(PortNetwork::Cut& cut, std::int64_t copies, double crowding) {
  if (copies == 0) return;
  use(cut.resource, bytes_of(copies) / efficiency_.nic * crowding);
  cut.payload += bytes_of(copies);
}

void PortWriter::find_crowding() {
  const std::vector<PortLevels::Leaf>& leaves = network_.levels().leaves;
  crowding_up_.assign(leaves.size(), 1);
  crowding_down_.assign(leaves.size(), 1);
  UplinkHash& hash = network_.uplink_hash();
  if (!hash.decides() || leaves.size() < 2) return;
  for (std::size_t sender = 0; sender < exchange_.ranks.size(); ++sender) {
    for (const PortPairs::Pair& pair : body_.by_sender.of(2 * sender + 1)) {
      if (pair.other % 2 == 0) continue;  // passed on: its way over the spines is the relay's
      const DeviceId from = exchange_.ranks[sender];
      const DeviceId to = exchange_.ranks[static_cast<std::size_t>(pair.other / 2)];
      if (network_.levels().distance(from, to) == PortDistance::kSpine) {
        hash.add(from, to, static_cast<double>(pair.units));
      }
    }
  }
  for (std::size_t l = 0; l < leaves.size(); ++l) {
    crowding_up_[l] = hash.take_crowding(leaves[l].up);
    crowding_down_[l] = hash.take_crowding(leaves[l].down);
  }
}

// Ends a port: what it used in all becomes bytes per byte of it. Of a transfer that is passed on,
// the last stops have a share each.
void PortWriter::finish(const PortPairs& pairs, std::size_t endpoint, std::int64_t own) {
  std::int64_t units = own;
  double flows = own > 0 ? 1 : 0;
  for (const PortPairs::Pair& pair : pairs.of(endpoint)) {
    units += pair.units;
    flows += std::min(1.0, static_cast<double>(pair.units) / pair.units_there);
  }
  PortBody::Port port;
  port.bytes = exchange_.bytes_per_copy * units;
  port.flows = mean_tokens_ > 0 ? static_cast<double>(units) / mean_tokens_ : flows;
  if (units == 0) loads_.clear();
  ClusterNetwork::merge(loads_);
  port.uses_begin = static_cast<std::uint32_t>(body_.uses.size());
  for (ResourceUse& load : loads_) {
    load.multiplier /= static_cast<double>(port.bytes.count());
    body_.uses.push_back(load);
  }
  port.uses_end = static_cast<std::uint32_t>(body_.uses.size());
  body_.ports.push_back(port);
  loads_.clear();
}

void PortWriter::write(std::size_t rank, std::int64_t own, double copy_s, const PortSink& sink) {
  const DeviceId device = exchange_.ranks[rank];
  const bool back = exchange_.direction == Direction::kCombine;
  const PortLevels::Port& scale_up = network_.levels().scale_up[device.index()];
  const PortLevels::Port& nic = network_.levels().nic[device.index()];
  const int leaf = network_.levels().leaf[device.index()];
  const auto& crossing = plan_.crossings[rank];
  // A combine goes back the way that the dispatch came: what was received is sent.
  const auto out = [&](PortCrossing sent, PortCrossing received) {
    return crossing[back ? received : sent];
  };
  const std::int64_t inside_out = out(kScaleUpOut, kScaleUpIn);
  const std::int64_t inside_in = out(kScaleUpIn, kScaleUpOut);
  const std::int64_t outside_out = out(kNicOut, kNicIn);
  const std::int64_t outside_in = out(kNicIn, kNicOut);
  // The owner of the tokens copies them: as it sends them, in a combine as it receives them. What
  // stays inside is sent in both.
  const double owned = static_cast<double>(crossing[kScaleUpOut] + crossing[kNicOut] + own);
  const auto copy = [&](std::int64_t copies) {
    if (owned > 0) {
      use(network_.network().copy(device),
          copy_s * ClusterNetwork::kCopyUnitsPerSecond * static_cast<double>(copies) / owned);
    }
  };
  const std::size_t inside = 2 * rank, outside = inside + 1;

  use_link(scale_up.up, inside_out);
  if (back) use_link(scale_up.down, crossing[kPassedOnInside]);
  use(network_.network().memory(device), 2 * bytes_of(own));
  copy(back ? own : inside_out + own);
  finish(body_.by_sender, inside, own);

  use_link(scale_up.down, inside_in);
  if (!back) use_link(scale_up.up, crossing[kPassedOnInside]);
  if (back) copy(inside_in);
  finish(body_.by_receiver, inside, 0);

  use_link(nic.up, outside_out);
  if (out(kLeafOut, kLeafIn) > 0) {
    use_cut(network_.uplinks(leaf), out(kLeafOut, kLeafIn),
            crowding_up_[static_cast<std::size_t>(leaf)]);
  }
  if (back) use_link(scale_up.down, crossing[kPassedOn]);
  if (!back) copy(outside_out);
  finish(body_.by_sender, outside, 0);

  use_link(nic.down, outside_in);
  if (out(kLeafIn, kLeafOut) > 0) {
    use_cut(network_.downlinks(leaf), out(kLeafIn, kLeafOut),
            crowding_down_[static_cast<std::size_t>(leaf)]);
  }
  if (!back) use_link(scale_up.up, crossing[kPassedOn]);
  if (back) copy(outside_in);
  finish(body_.by_receiver, outside, 0);
  sink(device, exchange_.bytes_per_copy * (inside_out + outside_out),
       exchange_.bytes_per_copy * (inside_in + outside_in));
}

}  // namespace

std::optional<PortForm> port_form(std::string_view algorithm) {
  for (const NamedForm& each : kForms) {
    if (each.algorithm == algorithm) return each.form;
  }
  return std::nullopt;
}

std::string port_algorithms() {
  std::string text;
  for (const NamedForm& each : kForms) {
    text += (text.empty() ? "" : ", ") + std::string(each.algorithm);
  }
  return text;
}

void make_port_body(const Exchange& exchange, const PortCopies& copies, const StartupCost& cost,
                    PortNetwork& network, const PortSink& sink, CollectiveBody& body) {
  const std::size_t ranks = exchange.ranks.size();
  PortPlan plan = make_port_plan(exchange, copies, network.network().cluster(), network.levels());
  PortBody& ports = body.ports.emplace();
  ports.unit = exchange.bytes_per_copy;
  PortPairs opposite = transposed(plan.pairs);
  const bool back = exchange.direction == Direction::kCombine;
  ports.by_sender = std::move(back ? opposite : plan.pairs);
  ports.by_receiver = std::move(back ? plan.pairs : opposite);
  for (const PortPlan::PassedOn& each : plan.passed_on) {
    const auto endpoint = static_cast<std::uint32_t>(each.relay_endpoint);
    ports.holds.push_back({2 * endpoint + (back ? 0 : 1), each.rank});
  }
  PortWriter writer(exchange, cost, network, plan, copies, ports);
  writer.find_crowding();
  for (std::size_t r = 0; r < ranks; ++r) {
    const RankCopies own = copies_of(copies, r);
    body.startup.push_back(startup_of_rank(exchange, cost, copies.nodes, own, body));
    const double copy_s =
        copy_seconds(exchange, cost, copies.nodes, own, copies.form == PortForm::kPerRow);
    writer.write(r, copies.own[r], copy_s, sink);
    Duration latency{0};
    if (!includes_latency(cost)) {
      latency = network.latency(plan.nearest[r] != PortDistance::kSelf ? plan.nearest[r]
                                : plan.in_domain[r]                    ? PortDistance::kDomain
                                                                       : PortDistance::kSelf);
      if (plan.nearest[r] != PortDistance::kSelf && copies.form == PortForm::kPerNode) {
        latency += network.latency(PortDistance::kDomain);  // it is passed on
      }
    }
    ports.latency.push_back(latency);
  }
}

}  // namespace sim
