// The sizes of a sweep as people type them: "8M", "1KiB,64 MiB", "8:128M:2".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/input/yaml_reader.h"

namespace sim {

inline constexpr std::int64_t kMostBytes = std::int64_t{1} << 50;   // 1 PiB
inline constexpr std::int64_t kMostTokens = std::int64_t{1} << 24;  // of a rank
inline constexpr std::size_t kMostSizes = 10000;                    // in one command

// Words separated by commas. A word is a size (bytes: a bare number, with nccl-tests' K, M or G
// (powers of 1024), or with a unit as everywhere else) or begin:end:factor: begin, begin * factor,
// ... up to end. Mistakes are recorded at `option`; the result is then not to be used.
std::vector<std::int64_t> read_byte_sizes(const std::string& text, const std::string& option,
                                          Mistakes& mistakes);
// The same for counts of tokens: "64,128", "1:4096:2".
std::vector<std::int64_t> read_token_counts(const std::string& text, const std::string& option,
                                            Mistakes& mistakes);

}  // namespace sim
