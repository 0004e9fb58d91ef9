// A pipeline schedule is data: which pass of which micro-batch each stage runs, in which order, and
// what runs beside what. It holds no durations; bubbles come out of the engine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sim {

enum class PassOf : std::int8_t {
  kForward,
  kBackward,  // input and weight gradients together
  kInputGradient,
  kWeightGradient,
};

struct Pass {
  PassOf kind = PassOf::kForward;
  int micro_batch = 0;
  int chunk = 0;  // which of the stage's model chunks
  bool operator==(const Pass&) const = default;
};

struct Slot {
  Pass first;
  std::optional<Pass> beside = {};  // launched interleaved with `first`, block by block
  bool operator==(const Slot&) const = default;
};

struct Position {
  int stage = 0;
  int chunk = 0;
  bool operator==(const Position&) const = default;
};

struct PipelineSchedule {
  int stages = 0;
  int chunks = 0;  // model chunks that a stage holds, of all paths together
  int micro_batches = 0;
  std::vector<std::vector<Slot>> order;      // per stage
  std::vector<std::vector<Position>> paths;  // where the consecutive parts of a whole model lie
  std::vector<int> path_of;                  // per micro-batch

  // A stage holds parts of two whole models (DualPipe): twice the weights.
  bool two_copies() const { return paths.size() > 1; }
  // Parts the model is cut into.
  int parts() const { return paths.empty() ? 0 : static_cast<int>(paths.front().size()); }
};

// Where a slot stands: order[stage][index].
struct SlotPlace {
  int stage = 0;
  int index = 0;
  bool operator==(const SlotPlace&) const = default;
};

struct ScheduleRequest {
  int stages = 1;
  int micro_batches = 1;
  int chunks = 0;  // per stage and copy of the model; 0: the schedule's own number
};

struct ScheduleInfo {
  std::string_view name;
  std::string_view help;
  std::string_view source;
  int own_chunks = 1;  // of a stage, per copy of the model; 0: the user has to say how many
};

inline constexpr std::array<ScheduleInfo, 10> kPipelineSchedules = {{
    {"gpipe", "all forwards, then all backwards in reverse order", "GPipe, arXiv 1811.06965"},
    {"1f1b", "one forward, one backward; at most `stages` micro-batches are in flight",
     "PipeDream-Flush, arXiv 2006.09503; Megatron-LM, arXiv 2104.04473"},
    {"interleaved", "1f1b over several model chunks per stage: a smaller bubble, more sends",
     "Megatron-LM, arXiv 2104.04473", 0},
    {"1f1b-overlap",
     "1f1b, each forward beside the backward before it: one hides the exchanges of the other",
     "Megatron-Core, overlap_moe_expert_parallel_comm"},
    {"interleaved-overlap", "interleaved, likewise",
     "Megatron-Core, overlap_moe_expert_parallel_comm", 0},
    {"zero-bubble", "ZB-H1: 1f1b with weight gradients split off to fill waits, in 1f1b's memory",
     "Zero Bubble, arXiv 2401.10241"},
    {"zero-bubble-v", "ZB-V: two chunks per stage, down and up again, weight gradients split off",
     "Zero Bubble, arXiv 2401.10241; Pipeline Parallelism with Controllable Memory, 2405.15362", 2},
    {"dualpipe",
     "micro-batches from both ends, a forward beside a backward; two copies of the model",
     "DeepSeek-V3, arXiv 2412.19437"},
    {"dualpipe-v", "dualpipe cut in half: one copy of the model, two chunks per stage",
     "DeepSeek's DualPipe repository", 2},
    {"given", "the order that the scenario writes (schedule.order)", ""},
}};

// Throws Error with the reason where the schedule does not exist for the request, and for the name
// "given", whose order is no rule.
PipelineSchedule make_pipeline_schedule(std::string_view name, const ScheduleRequest& request);

// Throws Error unless every pass of every micro-batch is there once, forwards before backwards and
// input gradients before weight gradients, and no two slots wait for each other. The text of a
// deadlock is its cycle: "stage 0 F2 waits for stage 1 B0, which waits for ...".
void check_schedule(const PipelineSchedule& schedule);

// All slots so that each one comes after those it waits for: the slot before it on its stage, and
// those that hold what its passes need. Throws as check_schedule.
std::vector<SlotPlace> dependency_order(const PipelineSchedule& schedule);

// Micro-batch chunks whose activations a stage holds at once, at most: from the begin of the
// forward pass to the end of the last pass that computes gradients from them.
int most_in_flight(const PipelineSchedule& schedule, int stage);

// Which part of the model lies at a position, counted along the path of the micro-batch; nothing
// when that path does not cross it.
std::optional<int> part_at(const PipelineSchedule& schedule, int micro_batch, Position position);

// "F2", or "F2.1" where a stage has several chunks; "F3+B0" for a slot.
std::string to_text(const PipelineSchedule& schedule, const Pass& pass);
std::string to_text(const PipelineSchedule& schedule, const Slot& slot);

// How a given order's chunks hang together.
enum class ChunkLayout : std::int8_t {
  kLooped,   // part i lies on stage i modulo stages: Megatron's interleaving
  kVShape,   // two chunks: down the stages and up again
  kTwoWays,  // two copies of the model, one from each end; the second half of the micro-batches
             // takes the second
};
PipelineSchedule empty_schedule(const ScheduleRequest& request, ChunkLayout layout);

}  // namespace sim
