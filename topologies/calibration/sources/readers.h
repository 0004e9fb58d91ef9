// The readers of collective tables, one file each. All read one file as MeasuredSource::read says.
#pragma once

#include <string>
#include <vector>

#include "sim/core/error.h"
#include "topologies/calibration/measured_row.h"

namespace sim {

using MeasuredReader = void(const MeasuredSource& source, const std::string& path,
                            std::vector<MeasuredRow>& rows);

MeasuredReader read_aiconfigurator_nccl;
MeasuredReader read_apex_collective;
MeasuredReader read_vidur_collective;
MeasuredReader read_nccl_tests_log;
MeasuredReader read_published_all_reduce, read_nvls_gpu_count, read_collectives_16_gib;

// "all_reduce", "alltoall", "sendrecv", ... as the tables write it -> our name. Throws Error.
std::string operation_named(std::string_view text, const Place& place);

}  // namespace sim
