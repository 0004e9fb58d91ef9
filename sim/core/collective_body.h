// What one collective moves, as a value: transfers between its parts, and the order inside a part.
//
// A part is one rank's share. Without stages every transfer may begin as soon as its parts were
// reached. Stages order the work of one part without a barrier across parts: a part opens a stage
// when it has been reached, all that it sends and receives in the stages before it has ended, and
// the stage's own delay has passed. Two chains of stages run side by side; a stage after two others
// joins them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sim/core/fluid_network.h"
#include "sim/core/port_body.h"
#include "sim/core/units.h"

namespace sim {

// A transfer begins when its senders have opened its stage, or its receivers too.
enum class StartRule : std::uint8_t { kOneSided, kRendezvous };

using StageId = std::int16_t;

// Filled when the first part of a collective is reached, dropped when its last part ends.
struct CollectiveBody {
  // Bytes that flow over `uses`: parties[begin, senders_end) send them, parties[senders_end, end)
  // receive them. A copy inside one rank has a sender only. REQUIRES: a part stands once in one
  // transfer's parties.
  struct Transfer {
    std::uint32_t parties_begin = 0;
    std::uint32_t senders_end = 0;
    std::uint32_t parties_end = 0;
    std::uint32_t uses_begin = 0;
    std::uint32_t uses_end = 0;
    Bytes bytes;
    Duration latency{};
    StageId stage = 0;
    double weight = 1;  // share weight in the network
  };
  // REQUIRES: `after` names earlier stages only, so no circle can be written; -1: nobody.
  struct Stage {
    Duration delay{};  // serial work of every part before its transfers of this stage
    std::array<StageId, 2> after{-1, -1};
  };
  StartRule start = StartRule::kOneSided;
  std::vector<Duration> startup;  // per part: serial work before its first stages
  // Latency of the kernel beside its transfers: a part that these would end t after it was reached
  // ends after (beside^4 + t^4)^(1/4), the later of the two where they differ, 19 % more where they
  // are equal (fitted: topologies/cluster.h, the form with a wire base).
  Duration beside{};
  std::vector<Stage> stages;  // empty: one stage without delay
  std::vector<Transfer> transfers;
  std::vector<std::int32_t> parties;
  std::vector<ResourceUse> uses;
  std::optional<PortBody> ports;  // in place of transfers and stages

  void add(std::span<const std::int32_t> senders, std::span<const std::int32_t> receivers,
           Bytes bytes, Duration latency, std::span<const ResourceUse> path, StageId stage = 0,
           double weight = 1);
  StageId add_stage(const Stage& stage);
  std::size_t stage_count() const { return stages.empty() ? 1 : stages.size(); }
};

}  // namespace sim
