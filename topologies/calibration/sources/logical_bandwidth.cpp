// From the logical bandwidths of MoE libraries back to seconds.
#include <algorithm>

#include "sim/core/error.h"
#include "topologies/calibration/sources/exchange_readers.h"
#include "topologies/calibration/token_traffic.h"

namespace sim {

double counted_bytes(std::int64_t hidden, const std::string& dtype) {
  const double values = static_cast<double>(hidden);
  if (dtype == "bf16") return 2 * values;
  if (dtype == "fp8") return values * (1 + 4.0 / 128);
  if (dtype == "nvfp4") return values / 2 + values / 16;
  throw Error("'" + dtype + "' is not a type that tokens travel in", "bf16, fp8 and nvfp4 are");
}

double seconds_of_bandwidth(const MeasuredRow& row, Counted counted, double gigabytes_per_second) {
  const int groups = counted == Counted::kRanks ? row.ranks : row.nodes;
  double copies = 0;
  if (row.top_groups == 0 && row.experts % groups == 0) {
    copies = expected_groups(groups, row.experts, row.top_k);
  } else {
    // Enough tokens for a mean within 0.2 %; the mean does not depend on how many a rank has.
    const TokenTraffic traffic =
        count_traffic({std::max<std::int64_t>(1, 8192 / row.ranks), row.top_k, row.experts,
                       row.ranks, row.nodes, row.top_groups, TokenSpread::kUniform},
                      1);
    copies = counted == Counted::kRanks ? traffic.ranks_per_token : traffic.nodes_per_token;
  }
  return static_cast<double>(row.tokens) * copies * counted_bytes(row.hidden, row.dtype) /
         (gigabytes_per_second * 1e9);
}

}  // namespace sim
