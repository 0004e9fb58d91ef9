// The transfers of the dispatch algorithms. Each is seen from the rank that owns the tokens;
// combine runs the same legs backwards.
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "sim/core/error.h"
#include "sim/policies/collectives/exchange.h"

namespace sim {
namespace {

// SM time (seconds) that rank `source` spends on copying its tokens; see topologies/cluster.h for
// the form.
double copy_seconds(const Exchange& exchange, const StartupCost& cost, std::size_t source,
                    bool per_row) {
  if (!cost.copy_per_sm) return 0;
  const CopyCounts& copies = *exchange.copies;
  const std::size_t ranks = static_cast<std::size_t>(copies.ranks);
  const std::size_t nodes = static_cast<std::size_t>(copies.nodes);
  std::int64_t sent = 0;
  for (std::size_t d = 0; d < ranks; ++d) {
    sent += per_row ? copies.rows[source * ranks + d] : copies.rank_copies[source * ranks + d];
  }
  double sms = exchange.communication_sms;
  double extra = cost.extra_copies * static_cast<double>(copies.tokens[source]);
  if (per_row) {
    const int per_sm =
        (exchange.experts + exchange.device_sms - 1) / std::max(1, exchange.device_sms);
    sms = std::ceil(static_cast<double>(exchange.experts) / std::max(1, per_sm));
    extra = 0;
  } else if (nodes > 1) {
    extra = 0;
    for (std::size_t n = 0; n < nodes; ++n)
      extra += static_cast<double>(copies.node_copies[source * nodes + n]);
  }
  if (!(sms > 0)) return 0;
  const double per_copy =
      static_cast<double>(exchange.bytes_per_copy.count()) / cost.copy_per_sm->count() +
      to_seconds(cost.per_copy);
  return ((static_cast<double>(sent) + extra) * per_copy +
          static_cast<double>(copies.tokens[source]) * to_seconds(cost.per_token)) /
         sms;
}

// Collects the legs of one transfer and adds it to the body.
class BodyBuilder {
 public:
  BodyBuilder(const Exchange& exchange, const StartupCost& cost, ClusterNetwork& network,
              const TrafficSink& sink, CollectiveBody& body, bool constants_include_latency)
      : exchange_(exchange),
        network_(network),
        sink_(sink),
        body_(body),
        with_latency_(!constants_include_latency) {
    const double slower =
        cost.rate_exponent == 0
            ? 1.0
            : std::pow(static_cast<double>(exchange.ranks.size()) / 8.0, cost.rate_exponent);
    efficiency_ = {cost.nic_efficiency / slower, cost.nvlink_efficiency / slower};
  }

  // `copies` token copies from rank a to rank b of the group, `per_payload` bytes per byte of the
  // whole transfer. A `forwarded` leg comes after the others, so its latency adds to theirs.
  void leg(int a, int b, std::int64_t copies, double per_payload, bool forwarded = false) {
    const bool back = exchange_.direction == Direction::kCombine;
    const DeviceId from = exchange_.ranks[static_cast<std::size_t>(back ? b : a)];
    const DeviceId to = exchange_.ranks[static_cast<std::size_t>(back ? a : b)];
    const Duration latency = network_.add_path(from, to, per_payload, efficiency_, uses_);
    (forwarded ? forward_latency_ : latency_) =
        std::max(forwarded ? forward_latency_ : latency_, latency);
    sink_(from, to, exchange_.bytes_per_copy * copies);
  }
  // Charges the owner's communication SMs with this many seconds per byte of payload.
  void charge_copy(int owner, double seconds_per_byte) {
    if (seconds_per_byte <= 0) return;
    uses_.push_back({network_.copy(exchange_.ranks[static_cast<std::size_t>(owner)]),
                     seconds_per_byte * ClusterNetwork::kCopyUnitsPerSecond});
  }
  // Ends the transfer: the owner sends `copies` copies to `others` (which may be the owner alone).
  void flush(std::int32_t owner, std::span<const std::int32_t> others, std::int64_t copies) {
    ClusterNetwork::merge(uses_);
    const std::span<const std::int32_t> own(&owner, 1);
    const bool local = others.empty() || (others.size() == 1 && others[0] == owner);
    const Duration latency = with_latency_ ? latency_ + forward_latency_ : Duration(0);
    const Bytes bytes = exchange_.bytes_per_copy * copies;
    if (local) {
      body_.add(own, {}, bytes, latency, uses_);
    } else if (exchange_.direction == Direction::kDispatch) {
      body_.add(own, others, bytes, latency, uses_);
    } else {
      body_.add(others, own, bytes, latency, uses_);
    }
    uses_.clear();
    latency_ = forward_latency_ = Duration(0);
  }

 private:
  const Exchange& exchange_;
  ClusterNetwork& network_;
  const TrafficSink& sink_;
  CollectiveBody& body_;
  WireEfficiency efficiency_;
  bool with_latency_;
  std::vector<ResourceUse> uses_;
  Duration latency_{};
  Duration forward_latency_{};
};

void set_startup(const Exchange& exchange, const StartupCost& cost, CollectiveBody& body,
                 const std::vector<std::int64_t>& copies) {
  const std::size_t ranks = exchange.ranks.size();
  const int nodes = exchange.copies->nodes;
  body.startup.resize(ranks);
  for (std::size_t r = 0; r < ranks; ++r) {
    double messages = 0;
    for (std::size_t d = 0; d < ranks; ++d) {
      if (d != r && copies[r * ranks + d] > 0) ++messages;
    }
    const Duration start =
        startup_time(cost, static_cast<int>(ranks), nodes, exchange.experts, messages,
                     static_cast<double>(exchange.copies->tokens[r]), exchange.communication_sms);
    // A form with a wire base is a floor beside the wire, (start^4 + wire^4)^(1/4); here the later
    // of the two.
    if (cost.wire_base > Duration(0)) {
      body.startup[r] = cost.wire_base;
      body.least = std::max(body.least, start);
    } else {
      body.startup[r] = start;
    }
    if (exchange.direction == Direction::kDispatch)
      body.startup[r] += size_exchange_time(cost, nodes);
  }
}

bool has_constants(const StartupCost& cost) {
  return cost.base > Duration(0) || cost.wire_base > Duration(0);
}

void pairwise(const Exchange& exchange, const StartupCost& cost, ClusterNetwork& network,
              const TrafficSink& sink, CollectiveBody& body,
              const std::vector<std::int64_t>& copies, bool per_row) {
  const std::size_t ranks = exchange.ranks.size();
  set_startup(exchange, cost, body, copies);
  BodyBuilder builder(exchange, cost, network, sink, body, has_constants(cost));
  for (std::size_t s = 0; s < ranks; ++s) {
    std::int64_t sent = 0;
    for (std::size_t d = 0; d < ranks; ++d) sent += copies[s * ranks + d];
    if (sent == 0) continue;
    const double per_byte =
        copy_seconds(exchange, cost, s, per_row) /
        (static_cast<double>(sent) * static_cast<double>(exchange.bytes_per_copy.count()));
    for (std::size_t d = 0; d < ranks; ++d) {
      const std::int64_t count = copies[s * ranks + d];
      if (count == 0) continue;
      const std::int32_t other = static_cast<std::int32_t>(d);
      builder.leg(static_cast<int>(s), static_cast<int>(d), count, 1);
      builder.charge_copy(static_cast<int>(s), per_byte);
      builder.flush(static_cast<std::int32_t>(s), std::span(&other, 1), count);
    }
  }
}

}  // namespace

void pairwise_per_row(const Exchange& exchange, const StartupCost& cost, ClusterNetwork& network,
                      const TrafficSink& sink, CollectiveBody& body) {
  pairwise(exchange, cost, network, sink, body, exchange.copies->rows, true);
}

void pairwise_per_rank(const Exchange& exchange, const StartupCost& cost, ClusterNetwork& network,
                       const TrafficSink& sink, CollectiveBody& body) {
  pairwise(exchange, cost, network, sink, body, exchange.copies->rank_copies, false);
}

// Inside the source's node: one copy per (token, rank) over NVLink. To another node: one copy per
// (token, node) to the rank there with the source's index, which forwards one copy per (token,
// rank) while it arrives; as one transfer whose forwards are multipliers on the forwarder's NVLink.
void forward_per_node(const Exchange& exchange, const StartupCost& cost, ClusterNetwork& network,
                      const TrafficSink& sink, CollectiveBody& body) {
  const CopyCounts& copies = *exchange.copies;
  const std::size_t ranks = exchange.ranks.size();
  const std::size_t nodes = static_cast<std::size_t>(copies.nodes);
  std::vector<std::vector<std::int32_t>> members(nodes);
  std::vector<std::size_t> index_in_node(ranks);
  for (std::size_t r = 0; r < ranks; ++r) {
    std::vector<std::int32_t>& list = members[static_cast<std::size_t>(exchange.node_of_rank[r])];
    index_in_node[r] = list.size();
    list.push_back(static_cast<std::int32_t>(r));
  }
  set_startup(exchange, cost, body, copies.rank_copies);
  BodyBuilder builder(exchange, cost, network, sink, body, has_constants(cost));
  std::vector<std::int32_t> others;
  for (std::size_t s = 0; s < ranks; ++s) {
    const std::size_t home = static_cast<std::size_t>(exchange.node_of_rank[s]);
    double payload = 0;
    for (const std::int32_t d : members[home]) {
      payload += static_cast<double>(copies.rank_copies[s * ranks + static_cast<std::size_t>(d)]);
    }
    for (std::size_t n = 0; n < nodes; ++n) {
      if (n != home) payload += static_cast<double>(copies.node_copies[s * nodes + n]);
    }
    if (payload == 0) continue;
    const double per_byte = copy_seconds(exchange, cost, s, false) /
                            (payload * static_cast<double>(exchange.bytes_per_copy.count()));
    for (std::size_t n = 0; n < nodes; ++n) {
      if (n == home) {
        for (const std::int32_t d : members[n]) {
          const std::int64_t count = copies.rank_copies[s * ranks + static_cast<std::size_t>(d)];
          if (count == 0) continue;
          builder.leg(static_cast<int>(s), d, count, 1);
          builder.charge_copy(static_cast<int>(s), per_byte);
          builder.flush(static_cast<std::int32_t>(s), std::span(&d, 1), count);
        }
        continue;
      }
      const std::int64_t sent = copies.node_copies[s * nodes + n];
      if (sent == 0) continue;
      const std::int32_t relay = members[n][std::min(index_in_node[s], members[n].size() - 1)];
      others.clear();
      builder.leg(static_cast<int>(s), relay, sent, 1);
      for (const std::int32_t d : members[n]) {
        const std::int64_t count = copies.rank_copies[s * ranks + static_cast<std::size_t>(d)];
        if (count == 0) continue;
        others.push_back(d);
        if (d != relay) {
          builder.leg(relay, d, count, static_cast<double>(count) / static_cast<double>(sent),
                      true);
        }
      }
      builder.charge_copy(static_cast<int>(s), per_byte);
      builder.flush(static_cast<std::int32_t>(s), others, sent);
    }
  }
}

}  // namespace sim
