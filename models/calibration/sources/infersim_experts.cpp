// Grouped GEMMs of alibaba/InferSim: DeepGEMM on H800, up and down apart, in microseconds.
//
// `tokens_per_expert` is nominal: the rows that ran follow from the printed share of the peak, rows
// = mfu peak t / (2 n k), and at one token an expert only half of the experts are hit.
#include <algorithm>
#include <cmath>

#include "models/calibration/sources/expert_readers.h"
#include "sim/input/text_file.h"

namespace sim {
namespace {

constexpr double kPeak = 1979e12;  // fp8 of H800, as InferSim divides by

}  // namespace

void read_infersim_grouped(const KernelTable& table, const std::string& path,
                           std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const std::size_t local = file.column("num_local_experts");
  const std::size_t hidden = file.column("hidden_size");
  const std::size_t inter = file.column("intermediate_size");
  const std::size_t nominal = file.column("tokens_per_expert");
  const std::size_t up = file.column("up_proj_us");
  const std::size_t up_share = file.column("up_mfu");
  const std::size_t down = file.column("down_proj_us");
  const bool decode = table.name.find("decode") != std::string_view::npos;
  for (std::int64_t number = 1; file.next(); ++number) {
    MeasuredKernel row = kernel_of(table, number);
    row.source = decode ? "deepgemm-masked" : "deepgemm-contiguous";
    row.framework = "infersim";
    row.format = *parse_kernel_format("fp8_block");
    row.distribution = "balanced";
    row.note = "two grouped GEMMs alone";
    ExpertFfn& experts = row.experts;
    experts.hidden = file.count(hidden, 1 << 24);
    experts.inter = file.count(inter, 1 << 24);
    experts.compute = DType::kFp8;
    experts.stored = DType::kFp8;
    const double up_s = file.number(up, 1e-3, 1e9) * 1e-6;
    const double share = file.number(up_share, 1e-9, 1);
    const std::int64_t count = file.count(local, 1 << 16);
    if (count < 1) file.fail(local, "a row has experts");
    const auto total = std::max<std::int64_t>(
        1, std::llround(share * kPeak * up_s /
                        (4.0 * static_cast<double>(experts.inter * experts.hidden))));
    std::vector<std::int64_t>& draw = row.draws.emplace_back(static_cast<std::size_t>(count), 0);
    const bool single = file.count(nominal, 1 << 24) <= 1;
    const std::int64_t hit = single ? std::min(total, count) : count;
    for (std::int64_t i = 0; i < hit; ++i) {
      draw[static_cast<std::size_t>(i)] = total / hit + (i < total % hit ? 1 : 0);
    }
    row.time_s = up_s + file.number(down, 1e-3, 1e9) * 1e-6;
    rows.push_back(std::move(row));
  }
}

}  // namespace sim
