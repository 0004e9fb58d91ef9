// The readers of dispatch and combine tables, one file each. All read one file as
// MeasuredSource::read says.
#pragma once

#include <string>
#include <vector>

#include "topologies/calibration/measured_row.h"

namespace sim {

using ExchangeReader = void(const MeasuredSource& source, const std::string& path,
                            std::vector<MeasuredRow>& rows);

ExchangeReader read_aiconfigurator_low_latency, read_aiconfigurator_normal;
ExchangeReader read_aiconfigurator_low_latency_record;
ExchangeReader read_aiconfigurator_trtllm, read_trtllm_blog, read_trtllm_quantised;
ExchangeReader read_deepep_v1_normal, read_deepep_v1_low_latency, read_deepep_v2;
ExchangeReader read_hybrid_ep_h100, read_hybrid_ep_b200, read_deepep_pcie;
ExchangeReader read_pplx_garden, read_pplx_kernels;
ExchangeReader read_uccl_low_latency, read_uccl_normal;
ExchangeReader read_mori;
ExchangeReader read_efa_fan_out;

// The number of the next measurement of a table, from 1.
inline std::int64_t next_number(const std::vector<MeasuredRow>& rows) {
  return static_cast<std::int64_t>(rows.size()) + 1;
}

enum class Counted { kRanks, kNodes };

// Bytes of one token copy as the bandwidth columns of these tables count it: values and scales, no
// header. fp8: 4 bytes per 128 values; nvfp4: 1 per 16. Throws Error for another dtype.
double counted_bytes(std::int64_t hidden, const std::string& dtype);

// Seconds behind a logical bandwidth: tokens * bytes * distinct ranks (or nodes) of a token, the
// own one included, over GB/s. DeepEP, Hybrid-EP, MORI and UCCL-EP print it that way
// (network_forms.md, section 5). `row` is complete but for its time.
double seconds_of_bandwidth(const MeasuredRow& row, Counted counted, double gigabytes_per_second);

}  // namespace sim
