// The pipeline schedule that a scenario asks for: a name of kPipelineSchedules, or an order of its
// own, written out.
#pragma once

#include <string>
#include <vector>

#include "sim/input/yaml_reader.h"
#include "sim/policies/schedules/pipeline_schedule.h"

namespace sim {

// Keys of the map `schedule`:
//   pipeline: a name (default 1f1b)
//   chunks: model chunks per stage (absent: the schedule's own number)
//   order: with `pipeline: given`; per stage a list of passes: F forward, B backward, I input
//     gradient, W weight gradient, each with its micro-batch and, after a point, its chunk: F0,
//     B3.1; F3+B0 runs two beside each other
//   chunk_layout: with `pipeline: given`: looped (default) | v | two-ways
struct PipelineChoice {
  std::string name = "1f1b";
  int chunks = 0;  // 0: the schedule's own number
  ChunkLayout layout = ChunkLayout::kLooped;
  std::vector<std::vector<Slot>> order;  // of `given`
  Place place;                           // of the key `pipeline`, or of `order`
};

// Records mistakes in the map's own list. Does not call finish(): the map may have other keys.
PipelineChoice read_pipeline_choice(YamlMap& schedule);

// The schedule, checked (check_schedule). Throws Error at choice.place: it does not exist for so
// many stages and micro-batches, or the given order lacks a pass or deadlocks.
PipelineSchedule make_pipeline_schedule(const PipelineChoice& choice, int stages,
                                        int micro_batches);

// "F3.1+B0": one or two passes. Throws Error without place.
Slot parse_slot(const std::string& text);

}  // namespace sim
