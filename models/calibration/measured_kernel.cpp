#include "models/calibration/measured_kernel.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "sim/core/error.h"
#include "sim/input/suggestion.h"

namespace sim {

std::vector<KernelTable> kernel_tables() {
  std::vector<KernelTable> all(expert_tables().begin(), expert_tables().end());
  all.insert(all.end(), dense_tables().begin(), dense_tables().end());
  return all;
}

std::vector<MeasuredKernel> read_kernels(std::string_view table, const std::string& data_folder) {
  const std::vector<KernelTable> tables = kernel_tables();
  const auto found = std::find_if(tables.begin(), tables.end(),
                                  [&](const KernelTable& each) { return each.name == table; });
  if (found == tables.end()) {
    std::vector<std::string> names;
    for (const KernelTable& each : tables) names.emplace_back(each.name);
    throw Error(fmt::format("there is no table of measured kernels '{}'", table),
                suggest(table, names));
  }
  const std::string path = (std::filesystem::path(data_folder) / std::string(found->file)).string();
  std::vector<MeasuredKernel> rows;
  found->read(*found, path, rows);
  if (rows.empty()) throw Error(Place{path}, "no row could be read from this file");
  return rows;
}

MeasuredKernel kernel_of(const KernelTable& table, std::int64_t number) {
  MeasuredKernel kernel;
  kernel.id = fmt::format("{}#{}", table.name, number);
  kernel.table = table.name;
  kernel.number = number;
  kernel.device = table.device;
  return kernel;
}

void fill_draws(MeasuredKernel& kernel) {
  if (!kernel.draws.empty() || kernel.routing.tokens == 0) return;
  kernel.draws = draw_rows(kernel.routing);
}

ExpertFfn call_of(const MeasuredKernel& kernel, std::span<const std::int64_t> draw) {
  ExpertFfn call = kernel.experts;
  call.rows = draw;
  if (call.tokens == 0) {
    call.tokens = std::accumulate(draw.begin(), draw.end(), std::int64_t{0});
    call.top_k = 1;
    call.experts = static_cast<std::int64_t>(draw.size());
  }
  return call;
}

}  // namespace sim
