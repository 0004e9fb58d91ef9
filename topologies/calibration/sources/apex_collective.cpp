// Collectives of APEX+: columns size(kb) in units of 1024 bytes, time(us).
#include "sim/input/text_file.h"
#include "topologies/calibration/sources/readers.h"

namespace sim {

void read_apex_collective(const MeasuredSource& source, const std::string& path,
                          std::vector<MeasuredRow>& rows) {
  CsvFile file(path);
  const std::size_t nodes = file.column("num_nodes");
  const std::size_t gpus = file.column("num_gpus_per_node");
  const std::size_t dtype = file.column("dtype");
  const std::size_t size = file.column("size(kb)");
  const std::size_t time = file.column("time(us)");
  // The operation is in the name of the table only: "apex-h100-all-gather".
  const std::string operation(source.table.substr(source.table.find('-', 5) + 1));
  for (std::int64_t number = 1; file.next(); ++number) {
    MeasuredRow row = row_of(source, number);
    row.operation = operation;
    row.algorithm = "nccl";
    row.nodes = static_cast<int>(file.count(nodes, 1024));
    row.ranks = row.nodes * static_cast<int>(file.count(gpus, 1024));
    row.dtype = file.text(dtype);
    row.bytes = Bytes(file.count(size, std::int64_t{1} << 30) * 1024);
    row.time_s = file.number(time, 1e-3, 1e9) * 1e-6;
    if (row.bytes.count() == 0) row.note = "size rounded to 0 KB";
    rows.push_back(std::move(row));
  }
}

}  // namespace sim
