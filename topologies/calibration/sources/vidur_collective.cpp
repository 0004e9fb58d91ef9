// Network profiles of vidur: all_reduce and send_recv, size in bytes, time_stats in milliseconds.
// The median is taken: the mean holds first-call outliers.
#include "sim/input/text_file.h"
#include "topologies/calibration/sources/readers.h"

namespace sim {

void read_vidur_collective(const MeasuredSource& source, const std::string& path,
                           std::vector<MeasuredRow>& rows) {
  CsvFile file(path);
  const std::size_t collective = file.column("collective");
  const std::size_t workers = file.column("num_workers");
  const std::size_t per_node = file.column("devices_per_node");
  const std::size_t size = file.column("size");
  for (std::int64_t number = 1; file.next(); ++number) {
    MeasuredRow row = row_of(source, number);
    row.operation = operation_named(file.text(collective), file.place(collective));
    const std::string time = "time_stats." + std::string(file.text(collective)) + ".median";
    row.algorithm = "nccl";
    row.ranks = static_cast<int>(file.count(workers, 1024));
    const std::int64_t on_a_node = file.count(per_node, 1024);
    if (on_a_node == 0 || row.ranks % on_a_node != 0) {
      file.fail(per_node, "the workers do not fill nodes of this many devices");
    }
    row.nodes = row.ranks / static_cast<int>(on_a_node);
    // The site's A100 nodes have a slower network than an HGX A100 with HDR InfiniBand.
    if (row.nodes > 1 && row.cluster == "hgx-a100") row.cluster = "a100-slow-network";
    row.bytes = Bytes(file.count(size, std::int64_t{1} << 40));
    row.time_s = file.number(file.column(time), 0, 1e6) * 1e-3;
    row.note = "median";
    rows.push_back(std::move(row));
  }
}

}  // namespace sim
