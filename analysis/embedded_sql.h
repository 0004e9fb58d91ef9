// The .sql files of this folder as text; analysis/CMakeLists.txt writes the .cpp.
#pragma once

#include <span>
#include <string_view>

namespace sim {

struct EmbeddedSql {
  std::string_view name;  // file name without .sql
  std::string_view text;
};

std::string_view schema_sql();
std::span<const EmbeddedSql> embedded_queries();

}  // namespace sim
