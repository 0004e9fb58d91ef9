// What public tables call the kernels of expert layers, and what our constants call them.
#pragma once

#include <string_view>

namespace sim {

// "sglang_fused_moe_triton" -> "sglang-triton"; empty: a name that no table of ours has.
std::string_view kernel_of_table_name(std::string_view in_table);

}  // namespace sim
