// The orders behind the names of kPipelineSchedules. Each fills `order` of a schedule whose stages,
// chunks and paths stand. REQUIRES: what make_pipeline_schedule checks.
#pragma once

#include "sim/policies/schedules/pipeline_schedule.h"

namespace sim::orders {

void fill_gpipe(PipelineSchedule& schedule);
void fill_interleaved(PipelineSchedule& schedule);  // with one chunk: 1f1b
void fill_overlapped(PipelineSchedule& schedule);
void fill_zero_bubble(PipelineSchedule& schedule);
void fill_zero_bubble_v(PipelineSchedule& schedule);
void fill_dualpipe(PipelineSchedule& schedule);  // over two copies, or over a V

}  // namespace sim::orders
