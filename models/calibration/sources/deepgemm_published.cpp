// DeepGEMM's published dense GEMMs on H800: the record named after the table's last '/'. Times
// follow from the printed TFLOP/s: 2 m n k / tflops.
#include <fmt/format.h>

#include <memory>

#include "models/calibration/measured_operators.h"
#include "models/calibration/sources/dense_readers.h"
#include "sim/input/yaml_reader.h"

namespace sim {

void read_deepgemm_published(const KernelTable& table, const std::string& path,
                             std::vector<MeasuredKernel>& rows) {
  const std::string record(table.name.substr(table.name.rfind('/') + 1));
  const std::unique_ptr<YamlDocument> document = YamlDocument::load(path);
  Mistakes mistakes;
  YamlMap root(document->root(), "this file of records", mistakes);
  for (const YamlNode& item : root.list_or_empty("records")) {
    YamlMap entry(item, "a record", mistakes);
    if (entry.text("id") != record) continue;
    std::int64_t number = 0;
    for (const YamlNode& value : entry.list_or_empty("values")) {
      YamlMap map(value, "a value of " + record, mistakes);
      MeasuredKernel row = kernel_of(table, ++number);
      row.source = "deepgemm";
      row.framework = "deepgemm";
      row.format = *parse_kernel_format("fp8_block");
      row.family = KernelFamily::kGemm;
      const CountRange sizes = {1, std::int64_t{1} << 24};
      row.op = gemm_operator(row.format, map.count("m", sizes), map.count("n", sizes),
                             map.count("k", sizes));
      row.time_s = row.op.flops.count() / (map.number("tflops", {1, 1e5}) * 1e12);
      rows.push_back(std::move(row));
    }
  }
  mistakes.throw_if_any();
  if (rows.empty()) throw Error(Place{path}, fmt::format("there is no record '{}'", record));
}

}  // namespace sim
