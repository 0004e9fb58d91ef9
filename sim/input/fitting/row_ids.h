// Which measured rows a constant was fitted to, written short.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sim {

// "table#1-21,43-63,70-90/2" per table ("/2": every second), in the order of the tables' first row:
// what `fitted_to` holds. Ids that do not end with a number are written out.
std::vector<std::string> compact_ids(std::span<const std::string> ids);
// Is `id` among compact ids? A bare table name holds every row of the table.
bool holds_id(std::span<const std::string> compact, std::string_view id);

}  // namespace sim
