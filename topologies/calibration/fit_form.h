// The closed forms whose constants are fitted, as tables of parameters and one function each.
//
// A form says what a row takes, in seconds, from line rates of the machine and the values of its
// parameters. The engine lowers the same constants to transfers; topologies/accuracy.md shows what
// the engine says, never the closed form.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "sim/input/fitting/fit_parameter.h"
#include "topologies/calibration/measured_row.h"
#include "topologies/cluster.h"

namespace sim {

// Line rates per GPU and direction, bytes per second; zero: there is none.
struct MachineRates {
  double nvlink = 0;
  double pcie = 0;  // the slowest link between neighbours of a box, shared by nobody else
  double nic = 0;   // of one NIC
  int nics_per_node = 0;
  int gpus_per_node = 0;
  int nodes_per_domain = 1;  // whose GPUs reach each other without a NIC
  int device_sms = 0;        // of a whole GPU: for whoever knows the device to fill in
};

// Of the first node of a cluster, all nodes being alike.
MachineRates rates_of(const Cluster& cluster);

struct FitForm {
  std::string_view name;
  std::span<const FormParameter> parameters;
  // REQUIRES: one value per parameter, in the order of the table.
  double (*seconds)(const MeasuredRow& row, const MachineRates& rates,
                    std::span<const double> values);
};

std::span<const FitForm> fit_forms();
const FitForm* find_fit_form(std::string_view name);  // null: no such form

extern const FitForm kCollectiveForm;  // collective_form.cpp: CollectiveConstants
extern const FitForm kExchangeForm;    // exchange_form.cpp: StartupCost

}  // namespace sim
