// Every rank sends every other rank its share straight away, and nothing is relayed.
#include <cstddef>

#include "sim/policies/collectives/exchange_costs.h"
#include "sim/policies/collectives/exchange_legs.h"

namespace sim {
namespace {

enum class Way { kAny, kNicOnly };

void pairwise(const Exchange& exchange, const StartupCost& cost, ExchangeLegs& legs,
              const std::vector<std::int64_t>& copies, bool per_row, Way way = Way::kAny) {
  const std::size_t ranks = exchange.ranks.size();
  set_startup(exchange, cost, copies, legs.body());
  for (std::size_t s = 0; s < ranks; ++s) {
    std::int64_t sent = 0;
    for (std::size_t d = 0; d < ranks; ++d) sent += copies[s * ranks + d];
    if (sent == 0) continue;
    const int source = static_cast<int>(s);
    const double per_byte =
        copy_seconds(exchange, cost, source, per_row) /
        (static_cast<double>(sent) * static_cast<double>(exchange.bytes_per_copy.count()));
    for (std::size_t d = 0; d < ranks; ++d) {
      const std::int64_t count = copies[s * ranks + d];
      if (count == 0) continue;
      const std::int32_t other = static_cast<std::int32_t>(d);
      legs.leg({source, other, count, 1, false, way == Way::kNicOnly});
      legs.charge_copy(source, per_byte);
      legs.flush(source, std::span(&other, 1), count);
    }
  }
}

}  // namespace

void pairwise_per_row(const Exchange& exchange, const StartupCost& cost, ExchangeLegs& legs) {
  pairwise(exchange, cost, legs, exchange.copies->rows, true);
}

void pairwise_per_row_over_nics(const Exchange& exchange, const StartupCost& cost,
                                ExchangeLegs& legs) {
  pairwise(exchange, cost, legs, exchange.copies->rows, true, Way::kNicOnly);
}

void pairwise_per_rank(const Exchange& exchange, const StartupCost& cost, ExchangeLegs& legs) {
  pairwise(exchange, cost, legs, exchange.copies->rank_copies, false);
}

}  // namespace sim
