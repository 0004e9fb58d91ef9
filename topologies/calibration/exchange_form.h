// The closed form of a dispatch or combine (topologies/cluster.h, StartupCost) for one measured
// row: what the fits run. The engine answers the same question with transfers (sim/workloads);
// reported errors are the engine's.
#pragma once

#include "topologies/calibration/fit_form.h"
#include "topologies/calibration/measured_row.h"
#include "topologies/calibration/token_traffic.h"
#include "topologies/cluster.h"

namespace sim {

// What a row asks of its machine, per rank, counted once: bytes do not depend on the constants.
struct ExchangeLoad {
  int ranks = 0;
  int nodes = 0;
  int experts = 0;
  double tokens = 0;
  int sms = 0;              // that the kernel holds, or that low latency uses
  double nic_bytes = 0;     // through a port, in its busier direction
  double nvlink_bytes = 0;  // the same inside a node
  double bytes_per_copy = 0;
  double copies = 0;        // that SMs make, own rank included
  double node_copies = -1;  // distinct nodes, own one included; negative: kernels without any
  double messages = 0;
  bool several_nodes = false;
};

// Counts the row's tokens, as its algorithm sends them. Throws Error for an algorithm without a
// closed form, or a type that tokens do not travel in.
ExchangeLoad exchange_load(const MeasuredRow& row, const MachineRates& rates);

// Seconds of the whole operation without its size exchange.
double exchange_seconds(const StartupCost& cost, const ExchangeLoad& load,
                        const MachineRates& rates);

}  // namespace sim
