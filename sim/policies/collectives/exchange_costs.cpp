#include "sim/policies/collectives/exchange_costs.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace sim {

int sms_of_rows(int experts, int device_sms) {
  const int per_sm = std::max(1, (experts + device_sms - 1) / std::max(1, device_sms));
  return (experts + per_sm - 1) / per_sm;
}

bool includes_latency(const StartupCost& cost) {
  return cost.base > Duration(0) || cost.wire_base > Duration(0);
}

double copy_seconds(const Exchange& exchange, const StartupCost& cost, int nodes,
                    const RankCopies& copies, bool per_row) {
  if (!cost.copy_per_sm) return 0;
  double sms = exchange.communication_sms;
  double extra = cost.extra_copies * copies.tokens;
  if (per_row) {
    sms = sms_of_rows(exchange.experts, exchange.device_sms);
    extra = 0;
  } else if (nodes > 1) {
    extra = copies.nodes;
  }
  if (!(sms > 0)) return 0;
  const double per_copy =
      static_cast<double>(exchange.bytes_per_copy.count()) / cost.copy_per_sm->count() +
      to_seconds(cost.per_copy);
  const double weight = per_row ? 1 : cost.rank_copies;
  return ((weight * copies.sent + extra) * per_copy + copies.tokens * to_seconds(cost.per_token)) /
         sms;
}

double copy_seconds(const Exchange& exchange, const StartupCost& cost, int rank, bool per_row) {
  if (!cost.copy_per_sm) return 0;
  const CopyCounts& copies = *exchange.copies;
  const std::size_t source = static_cast<std::size_t>(rank);
  const std::size_t ranks = static_cast<std::size_t>(copies.ranks);
  const std::size_t nodes = static_cast<std::size_t>(copies.nodes);
  RankCopies own;
  own.tokens = static_cast<double>(copies.tokens[source]);
  for (std::size_t d = 0; d < ranks; ++d) {
    own.sent += static_cast<double>(per_row ? copies.rows[source * ranks + d]
                                            : copies.rank_copies[source * ranks + d]);
  }
  for (std::size_t n = 0; n < nodes; ++n)
    own.nodes += static_cast<double>(copies.node_copies[source * nodes + n]);
  return copy_seconds(exchange, cost, copies.nodes, own, per_row);
}

Duration startup_of_rank(const Exchange& exchange, const StartupCost& cost, int nodes,
                         const RankCopies& copies, CollectiveBody& body) {
  const Duration start =
      startup_time(cost, static_cast<int>(exchange.ranks.size()), nodes, exchange.experts,
                   copies.messages, copies.tokens, exchange.communication_sms);
  Duration result = start;
  // A form with a wire base has its start beside the wire: (start^4 + wire^4)^(1/4).
  if (cost.wire_base > Duration(0)) {
    result = cost.wire_base;
    body.beside = std::max(body.beside, start);
  }
  if (exchange.direction == Direction::kDispatch) result += size_exchange_time(cost, nodes);
  return result;
}

void set_startup(const Exchange& exchange, const StartupCost& cost,
                 const std::vector<std::int64_t>& copies, CollectiveBody& body) {
  const std::size_t ranks = exchange.ranks.size();
  body.startup.resize(ranks);
  for (std::size_t r = 0; r < ranks; ++r) {
    RankCopies own;
    own.tokens = static_cast<double>(exchange.copies->tokens[r]);
    for (std::size_t d = 0; d < ranks; ++d) {
      if (d != r && copies[r * ranks + d] > 0) ++own.messages;
    }
    body.startup[r] = startup_of_rank(exchange, cost, exchange.copies->nodes, own, body);
  }
}

void set_startup_of_stages(const Exchange& exchange, const StartupCost& cost,
                           CollectiveBody& body) {
  const bool dispatch = exchange.direction == Direction::kDispatch;
  body.startup.assign(exchange.ranks.size(),
                      dispatch ? size_exchange_time(cost, exchange.copies->nodes) : Duration(0));
}

Duration stage_start(const Exchange& exchange, const StartupCost& cost, int ranks, int nodes,
                     int messages) {
  if (messages == 0) return Duration(0);
  return startup_time(cost, ranks, nodes, exchange.experts, messages, 0,
                      exchange.communication_sms);
}

}  // namespace sim
