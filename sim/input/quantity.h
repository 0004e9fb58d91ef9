// Numbers with units, as people write them: "400 Gb/s", "80 GiB", "2 us", "989 TFLOP/s".
//
// Decimal prefixes are powers of 1000 (1 GB = 10^9 bytes), binary ones powers of 1024 (1 GiB = 2^30
// bytes); a lower-case b is a bit. A bare number is refused: the result is nullopt and `mistake`
// says which units are possible.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sim/core/units.h"

namespace sim {

std::optional<Duration> parse_duration(std::string_view text, std::string& mistake);
std::optional<Bytes> parse_bytes(std::string_view text, std::string& mistake);
std::optional<Bandwidth> parse_bandwidth(std::string_view text, std::string& mistake);
std::optional<FlopRate> parse_flop_rate(std::string_view text, std::string& mistake);
// "1.83 GHz": cycles per second.
std::optional<double> parse_frequency(std::string_view text, std::string& mistake);

// A plain number without a unit. Counts may be written 1_000 or 1e6 as long as they are whole.
std::optional<double> parse_number(std::string_view text);
std::optional<std::int64_t> parse_count(std::string_view text);

}  // namespace sim
