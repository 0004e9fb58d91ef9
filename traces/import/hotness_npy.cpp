// Loads per expert as a NumPy array: numpy.save("hotness.npy", a) with a of shape
// [iteration, layer, expert] or [layer, expert]. Whole numbers are counts; an array with parts of a
// whole number is taken as fractions, each (iteration, layer) scaled to 10^8.
#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "sim/core/error.h"
#include "traces/import/formats.h"
#include "traces/import/known_models.h"
#include "traces/import/npy_file.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

constexpr double kScale = 1e8;  // as for other files of fractions
// Exact as a double, and 65,536 experts of it have a sum of 63 bits.
constexpr double kMostCount = 0x1p46;
constexpr std::int64_t kMostFortranNumbers = std::int64_t{1} << 26;  // held at once: 512 MiB

struct Shape {
  std::int64_t iterations = 1, layers = 0, experts = 0;
  bool steps = false;
};

Shape shape_of(const NpyFile& file, const ImportJob& job) {
  const std::vector<std::int64_t>& sizes = file.shape();
  const auto refuse = [&](const std::string& what, const std::string& hint) {
    throw Error(Place{job.path}, what, hint);
  };
  if (sizes.size() != 2 && sizes.size() != 3) {
    refuse(fmt::format("an array of {} dimensions", sizes.size()),
           "hotness has the shape [iteration, layer, expert] or [layer, expert]");
  }
  Shape shape;
  shape.steps = sizes.size() == 3;
  if (shape.steps) shape.iterations = sizes[0];
  shape.layers = sizes[sizes.size() - 2];
  shape.experts = sizes.back();
  if (shape.iterations == 0) refuse("no iterations", {});
  if (shape.layers < 1 || shape.layers > kMostLayers || shape.experts < 1 ||
      shape.experts > kMostExperts) {
    refuse(fmt::format("{} layers of {} experts", shape.layers, shape.experts),
           fmt::format("the last two dimensions are layers (1 to {}) and experts (1 to {})",
                       kMostLayers, kMostExperts));
  }
  if (job.options.experts && *job.options.experts != shape.experts) {
    refuse(fmt::format("{} experts in the array, not {}", shape.experts, *job.options.experts),
           "the last dimension are the experts");
  }
  if (file.fortran_order() &&
      shape.iterations * shape.layers * shape.experts > kMostFortranNumbers) {
    refuse("an array in Fortran order of more than 2^26 numbers",
           "save numpy.ascontiguousarray(a): it is read as a stream");
  }
  return shape;
}

// Calls take(iteration, layer, numbers of its experts) in rising order.
template <class Take>
void each_layer(NpyFile& file, const Shape& shape, Take take) {
  const auto experts = static_cast<std::size_t>(shape.experts);
  std::vector<double> numbers;
  if (!file.fortran_order()) {
    for (std::int64_t i = 0; i < shape.iterations; ++i) {
      for (std::int64_t l = 0; l < shape.layers; ++l) {
        file.read(experts, numbers);
        take(i, l, numbers);
      }
    }
  } else {
    std::vector<double> all;
    const std::int64_t stride = shape.iterations * shape.layers;  // of one expert
    file.read(static_cast<std::size_t>(stride) * experts, all);
    numbers.resize(experts);
    for (std::int64_t i = 0; i < shape.iterations; ++i) {
      for (std::int64_t l = 0; l < shape.layers; ++l) {
        for (std::int64_t e = 0; e < shape.experts; ++e) {
          numbers[static_cast<std::size_t>(e)] =
              all[static_cast<std::size_t>(i + shape.iterations * l + stride * e)];
        }
        take(i, l, numbers);
      }
    }
  }
  file.expect_end();
}

// First pass: every number is a count or a fraction. Returns whether all are whole.
bool check(const ImportJob& job) {
  NpyFile file(job.path);
  const Shape shape = shape_of(file, job);
  bool whole = true;
  each_layer(file, shape, [&](std::int64_t i, std::int64_t l, const std::vector<double>& numbers) {
    for (std::size_t e = 0; e < numbers.size(); ++e) {
      if (!(numbers[e] >= 0 && numbers[e] <= kMostCount)) {
        throw Error(Place{job.path},
                    fmt::format("{} at [{}{}, {}] is not a count", numbers[e],
                                shape.steps ? fmt::format("{}, ", i) : "", l, e),
                    "a count is from 0 to 2^46");
      }
      whole = whole && std::floor(numbers[e]) == numbers[e];
    }
  });
  return whole;
}

}  // namespace

bool sniff_hotness_npy(std::string_view, std::string_view head) { return is_npy(head); }

ImportReport import_hotness_npy(const ImportJob& job) {
  const bool whole = check(job);
  NpyFile file(job.path);
  const Shape shape = shape_of(file, job);
  const int k = top_k(job);
  ImportReport report;
  report.model = model_name(job, "");
  if (!whole) {
    report.notes.push_back(
        "the array has parts of whole numbers: taken as fractions, scaled to 10^8 per layer: only "
        "their ratios mean something");
  }
  TraceHeader header;
  header.kind = TraceKind::kCounts;
  header.model = report.model;
  header.provenance = fmt::format("imported from an array of type {}", file.type());
  for (const std::string& note : report.notes) header.provenance += "; " + note;
  header.experts.assign(static_cast<std::size_t>(shape.layers), static_cast<int>(shape.experts));
  header.top_k = k;
  header.has_steps = shape.steps;
  header.counts_are_fractions = !whole;
  TraceWriter writer(job.out, header);
  each_layer(file, shape, [&](std::int64_t i, std::int64_t l, const std::vector<double>& numbers) {
    const double sum = std::accumulate(numbers.begin(), numbers.end(), 0.0);
    const double scale = whole || sum == 0 ? 1 : kScale / sum;
    CountRow row;
    row.step = i;
    row.layer = static_cast<int>(l);
    std::int64_t choices = 0;
    for (const double number : numbers) {
      row.counts.push_back(std::llround(number * scale));
      choices += row.counts.back();
    }
    row.tokens = whole && choices % k == 0 ? choices / k : 0;
    writer.append(row);
  });
  writer.finish();
  report.rows = writer.rows();
  return report;
}

}  // namespace sim
