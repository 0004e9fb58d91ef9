#include "models/calibration/sources/dense_readers.h"

#include <fmt/format.h>

#include "sim/input/suggestion.h"

namespace sim {
namespace {

constexpr double kSlack = 1.05;     // clocks above the data sheet's, rounded times
constexpr double kInCache = 100e6;  // bytes: twice Hopper's L2

}  // namespace

KernelFormat format_in(const CsvFile& file, std::size_t column) {
  const std::string text(file.text(column));
  const std::optional<KernelFormat> format = parse_kernel_format(text);
  if (!format) {
    file.fail(column, fmt::format("there is no format '{}'", text),
              suggest(text, kernel_format_names()));
  }
  return *format;
}

void mark_beyond(const DataSheet& sheet, MeasuredKernel& row) {
  const double bytes = static_cast<double>((row.op.weight_bytes + row.op.activation_bytes).count());
  const char* why = nullptr;
  if (bytes > kInCache && bytes > kSlack * sheet.bytes_per_s * row.time_s) {
    why = "more bytes than the data sheet's memory bandwidth";
  } else if (row.op.flops.count() > kSlack * sheet.flops * row.time_s) {
    why = "more flops than the data sheet's peak";
  }
  if (why == nullptr) return;
  row.implausible = true;
  row.note = why;
}

}  // namespace sim
