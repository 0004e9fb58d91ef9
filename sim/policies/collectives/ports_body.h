// Dispatch and combine at port granularity: what every rank sends and receives in all, and which
// ports and cuts that crosses.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "sim/policies/collectives/exchange.h"
#include "sim/policies/collectives/ports_copies.h"
#include "sim/policies/collectives/ports_network.h"

namespace sim {

// Which counts the algorithm needs. None: it is not defined at port granularity.
std::optional<PortForm> port_form(std::string_view algorithm);
// Those that are, for messages: "nccl, deepep-low-latency, ...".
std::string port_algorithms();

// Called once per rank with the payload that it sends to and receives from other ranks.
using PortSink = std::function<void(DeviceId device, Bytes sent, Bytes received)>;

// Fills start-ups and ports of the body and counts the payload of links and cuts; `exchange.copies`
// is not looked at. A rank's bytes begin after the latency to its nearest peer outside its domain
// (to one inside, when it has no other), at once where the constants include it.
void make_port_body(const Exchange& exchange, const PortCopies& copies, const StartupCost& cost,
                    PortNetwork& network, const PortSink& sink, CollectiveBody& body);

}  // namespace sim
