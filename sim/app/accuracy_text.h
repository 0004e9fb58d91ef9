// The accuracy of a simulator run over published tables, as a page of Markdown or as JSON.
#pragma once

#include <string>
#include <vector>

#include "sim/app/accuracy.h"

namespace sim {

std::string accuracy_markdown(const std::vector<TableAccuracy>& tables);
// {tables: [...], rows: [{id, table, cluster, operation, algorithm, nodes, ranks, bytes, tokens,
// time_s, simulated_s, error, fitted, disputed, label, implausible, note}]}
std::string accuracy_json(const std::vector<TableAccuracy>& tables);

}  // namespace sim
