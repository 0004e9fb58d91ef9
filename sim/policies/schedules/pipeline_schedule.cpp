#include "sim/policies/schedules/pipeline_schedule.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/core/error.h"
#include "sim/input/suggestion.h"
#include "sim/policies/schedules/pipeline_orders.h"

namespace sim {
namespace {

// Slots of a schedule, all stages: about 230 MB of them.
constexpr std::int64_t kMostPasses = std::int64_t{1} << 23;

const ScheduleInfo& info_of(std::string_view name) {
  std::vector<std::string> names;
  for (const ScheduleInfo& info : kPipelineSchedules) {
    if (info.name == name) return info;
    names.emplace_back(info.name);
  }
  throw Error(fmt::format("there is no pipeline schedule '{}'", name),
              suggest(std::string(name), names));
}

void check_size(const ScheduleRequest& request, int chunks) {
  if (request.stages < 1 || request.micro_batches < 1)
    throw Error("a pipeline needs at least one stage and one micro-batch");
  // Each factor is an int, so that the products in double are close enough.
  const double passes = 3.0 * request.stages * request.micro_batches * chunks;
  if (passes > static_cast<double>(kMostPasses)) {
    throw Error(
        fmt::format("{} stages x {} micro-batches x {} chunks are more passes than the {} "
                    "that a schedule may have",
                    request.stages, request.micro_batches, chunks, kMostPasses));
  }
}

int chunks_of(const ScheduleInfo& info, const ScheduleRequest& request) {
  if (info.own_chunks == 0) {
    if (request.chunks < 2) {
      throw Error(fmt::format("pipeline schedule {} needs at least 2 chunks per stage", info.name),
                  "set schedule.chunks; with one chunk it is 1f1b");
    }
    return request.chunks;
  }
  if (request.chunks != 0 && request.chunks != info.own_chunks) {
    throw Error(
        fmt::format("pipeline schedule {} has {} chunk{} per stage{}, not {}", info.name,
                    info.own_chunks, info.own_chunks == 1 ? "" : "s",
                    info.name == "dualpipe" ? " and copy of the model" : "", request.chunks),
        "leave schedule.chunks out, or take interleaved");
  }
  return info.own_chunks;
}

void check_dualpipe(const ScheduleInfo& info, const ScheduleRequest& request) {
  if (info.name == "dualpipe" && (request.stages % 2 != 0 || request.micro_batches % 2 != 0)) {
    throw Error(
        fmt::format("dualpipe feeds both ends alike: it needs an even number of stages and "
                    "of micro-batches, not {} and {}",
                    request.stages, request.micro_batches));
  }
  if (request.micro_batches < 2 * request.stages) {
    throw Error(
        fmt::format("{} needs at least two micro-batches per stage: {} for {} stages, not {}",
                    info.name, 2 * request.stages, request.stages, request.micro_batches));
  }
}

}  // namespace

PipelineSchedule empty_schedule(const ScheduleRequest& request, ChunkLayout layout) {
  const bool two_ways = layout == ChunkLayout::kTwoWays;
  const int chunks = layout == ChunkLayout::kLooped ? std::max(1, request.chunks) : 2;
  check_size(request, chunks);
  PipelineSchedule schedule;
  schedule.stages = request.stages;
  schedule.chunks = chunks;
  schedule.micro_batches = request.micro_batches;
  schedule.order.resize(static_cast<std::size_t>(request.stages));
  schedule.paths.resize(two_ways ? 2 : 1);
  for (int chunk = 0; chunk < chunks; ++chunk) {
    std::vector<Position>& path = schedule.paths[two_ways && chunk == 1 ? 1 : 0];
    const bool upwards = layout != ChunkLayout::kLooped && chunk == 1;
    for (int i = 0; i < request.stages; ++i)
      path.push_back({upwards ? request.stages - 1 - i : i, chunk});
  }
  schedule.path_of.assign(static_cast<std::size_t>(request.micro_batches), 0);
  if (two_ways) {
    std::fill(schedule.path_of.begin() + request.micro_batches / 2, schedule.path_of.end(), 1);
  }
  return schedule;
}

PipelineSchedule make_pipeline_schedule(std::string_view name, const ScheduleRequest& request) {
  const ScheduleInfo& info = info_of(name);
  if (name == "given") throw Error("pipeline schedule given needs schedule.order");
  ScheduleRequest sized = request;
  sized.chunks = chunks_of(info, request);
  const bool v = name == "zero-bubble-v" || name == "dualpipe-v";
  PipelineSchedule schedule = empty_schedule(sized, name == "dualpipe" ? ChunkLayout::kTwoWays
                                                    : v                ? ChunkLayout::kVShape
                                                                       : ChunkLayout::kLooped);
  const bool interleaved = name == "interleaved" || name == "interleaved-overlap";
  if (interleaved && request.micro_batches % request.stages != 0) {
    throw Error(fmt::format("{} needs a multiple of the {} stages as micro-batches, not {}", name,
                            request.stages, request.micro_batches),
                "change the number of micro-batches, or take 1f1b");
  }
  if (name == "gpipe") orders::fill_gpipe(schedule);
  if (name == "1f1b" || name == "interleaved") orders::fill_interleaved(schedule);
  if (name == "1f1b-overlap" || name == "interleaved-overlap") orders::fill_overlapped(schedule);
  if (name == "zero-bubble") orders::fill_zero_bubble(schedule);
  if (name == "zero-bubble-v") orders::fill_zero_bubble_v(schedule);
  if (name == "dualpipe" || name == "dualpipe-v") {
    check_dualpipe(info, request);
    orders::fill_dualpipe(schedule);
  }
  return schedule;
}

int most_in_flight(const PipelineSchedule& schedule, int stage) {
  int alive = 0;
  int most = 0;
  for (const Slot& slot : schedule.order[static_cast<std::size_t>(stage)]) {
    const std::array<std::optional<Pass>, 2> passes = {slot.first, slot.beside};
    for (const auto& pass : passes) alive += pass && pass->kind == PassOf::kForward;
    most = std::max(most, alive);
    for (const auto& pass : passes) {
      alive -= pass && (pass->kind == PassOf::kBackward || pass->kind == PassOf::kWeightGradient);
    }
  }
  return most;
}

std::optional<int> part_at(const PipelineSchedule& schedule, int micro_batch, Position position) {
  const int path = schedule.path_of[static_cast<std::size_t>(micro_batch)];
  const std::vector<Position>& parts = schedule.paths[static_cast<std::size_t>(path)];
  const auto found = std::find(parts.begin(), parts.end(), position);
  if (found == parts.end()) return std::nullopt;
  return static_cast<int>(found - parts.begin());
}

std::string to_text(const PipelineSchedule& schedule, const Pass& pass) {
  const char letter = "FBIW"[static_cast<int>(pass.kind)];
  std::string text = fmt::format("{}{}", letter, pass.micro_batch);
  if (schedule.chunks > 1) text += fmt::format(".{}", pass.chunk);
  return text;
}

std::string to_text(const PipelineSchedule& schedule, const Slot& slot) {
  std::string text = to_text(schedule, slot.first);
  if (slot.beside) text += "+" + to_text(schedule, *slot.beside);
  return text;
}

}  // namespace sim
