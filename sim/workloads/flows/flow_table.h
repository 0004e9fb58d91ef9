// Raw flows between the GPUs of a cluster, as a CSV file:
//
//   src,dst,bytes,start_s[,weight][,cap_bytes_per_s]     columns in any order
//   0,8,7168,0
//
// Numbers only, no quotes. A flow takes the path that the cluster's routing gives it, at the line
// rates of the links; a start-up cost of a communication library is not added.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/workloads/flows/flow_set.h"
#include "topologies/cluster.h"

namespace sim {

// A flow file as read: a FlowSet, and the rows to write back beside the results.
struct FlowTable {
  FlowSet set;
  std::string header;
  std::vector<std::string> rows;
};

// Throws Error with file and line for what cannot be used.
FlowTable read_flow_table(const std::string& file, const Cluster& cluster);

// The rows as they were, with the column finish_s. Throws Error when the file cannot be written.
void write_flow_table(const std::string& file, const FlowTable& table,
                      const std::vector<double>& finish_s);

}  // namespace sim
