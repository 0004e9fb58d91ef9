// Balanced assignment: each row one column, each column a given number of rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sim {

// The column of each row, with exactly capacity[c] rows on column c and a total score within
// rows * epsilon of the greatest possible. Auction for similar objects (Bertsekas & Castanon, "The
// auction algorithm for the transportation problem", 1989) with epsilon scaling: rows bid for
// columns; a column holds its `capacity` highest bids and its price is the lowest of them.
// An epsilon below 1e-12
// of the greatest score counts as that. REQUIRES: scores finite, row-major [rows, columns]; epsilon
// > 0; capacities >= 0 that sum to the number of rows.
std::vector<std::uint32_t> balanced_assignment(std::span<const double> scores,
                                               std::span<const std::int64_t> capacity,
                                               double epsilon);

}  // namespace sim
