// What one part of a collective sends and receives, from what the collective moves.
#include "sim/core/task_graph.h"

namespace sim {

// Bytes that cross a link or the device's own memory, forwards included. At port granularity those
// of its ports.
void TaskGraph::add_bytes(const Collective& collective, std::int32_t p, PartSpan& span) const {
  span.sent_bytes = 0;
  span.received_bytes = 0;
  const CollectiveBody& body = collective.body;
  const std::size_t part = static_cast<std::size_t>(p);
  if (body.ports) {
    for (std::size_t endpoint = 2 * part; endpoint < 2 * part + 2; ++endpoint) {
      span.sent_bytes += body.ports->ports[2 * endpoint].bytes.count();
      span.received_bytes += body.ports->ports[2 * endpoint + 1].bytes.count();
    }
    return;
  }
  const std::size_t stages = static_cast<std::size_t>(collective.stage_count);
  for (std::size_t slot = part * stages; slot < (part + 1) * stages; ++slot) {
    const std::uint32_t sent = collective.begin[2 * slot + 1];
    const std::uint32_t received = collective.begin[2 * slot + 2];
    for (std::uint32_t i = collective.begin[2 * slot]; i < sent; ++i)
      span.sent_bytes += body.transfers[collective.by_part[i]].bytes.count();
    for (std::uint32_t i = sent; i < received; ++i)
      span.received_bytes += body.transfers[collective.by_part[i]].bytes.count();
  }
}

}  // namespace sim
