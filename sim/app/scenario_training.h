// What a scenario says of training: `workload` of `kind: training`, the map `training`, and the
// pipeline of `schedule`.
//
//   workload: {kind: training, sequence_length: 4096, micro_batch: 1, micro_batches: 16, steps: 1}
//             global_batch (sequences) in place of micro_batches
//   training: {precision: bf16 | fp8, zero: 0..3, recompute: none | full | [modules],
//              gradients: {dtype, bucket, overlap}, parameters: {overlap},
//              optimizer: {master, moments}}
//   schedule: {pipeline: 1f1b, chunks: 1, layers: [4, 4, ...]}
#pragma once

#include "models/training_formats.h"
#include "sim/app/scenario.h"
#include "sim/input/yaml_reader.h"

namespace sim {

// Of `workload`: lengths and batches. `layout`: null when it could not be read.
TrainingWorkload read_training_workload(YamlMap& workload, const ParallelLayout* layout);

// Of `training`. The precision's default is the model's own.
void read_training(YamlMap& root, TrainingWorkload& training, TrainingPrecision& precision,
                   Mistakes& mistakes);

// Of `schedule`: the pipeline and how many layers each of its parts has. `layers`: of the model.
// Returns the schedule's name.
std::string read_pipeline(YamlMap& schedule, TrainingWorkload& training,
                          const ParallelLayout& layout, int layers, Mistakes& mistakes);

}  // namespace sim
