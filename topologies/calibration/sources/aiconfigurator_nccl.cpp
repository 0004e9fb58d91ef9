// NCCL latencies of the aiconfigurator database.
//
// `message_size` is in elements of the dtype and the size nccl-tests reports: the whole buffer, so
// S = elements * bytes per element. Out of place. `latency` is in milliseconds.
#include "sim/input/text_file.h"
#include "topologies/calibration/sources/readers.h"

namespace sim {
namespace {

std::int64_t element_bytes(const CsvFile& file, std::size_t column) {
  const std::string_view dtype = file.text(column);
  if (dtype == "half") return 2;
  if (dtype == "int8") return 1;
  file.fail(column, "'" + std::string(dtype) + "' is not a type that this reader knows",
            "half and int8 are");
}

}  // namespace

void read_aiconfigurator_nccl(const MeasuredSource& source, const std::string& path,
                              std::vector<MeasuredRow>& rows) {
  CsvFile file(path);
  const std::size_t dtype = file.column("nccl_dtype");
  const std::size_t gpus = file.column("num_gpus");
  const std::size_t size = file.column("message_size");
  const std::size_t operation = file.column("op_name");
  const std::size_t latency = file.column("latency");
  for (std::int64_t number = 1; file.next(); ++number) {
    MeasuredRow row = row_of(source, number);
    row.algorithm = "nccl";
    row.operation = operation_named(file.text(operation), file.place(operation));
    row.ranks = static_cast<int>(file.count(gpus, 1024));
    row.dtype = file.text(dtype);
    row.bytes = Bytes(file.count(size, std::int64_t{1} << 40) * element_bytes(file, dtype));
    row.time_s = file.number(latency, 1e-6, 1e6) * 1e-3;
    rows.push_back(std::move(row));
  }
}

}  // namespace sim
