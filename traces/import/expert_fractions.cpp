// Fractions per expert: [subject,question(s),]layer,expert0,expert1,... (mixtral-vis-moe and
// mixtral-offloading-residency). They are stored as counts of 10^8 per layer and labelled as
// fractions: only their ratios mean something. tag = subject, or subject/question.
#include <fmt/format.h>

#include <cmath>

#include "sim/input/text_file.h"
#include "traces/import/formats.h"
#include "traces/import/histograms.h"
#include "traces/import/known_models.h"
#include "traces/trace_file.h"

namespace sim {
namespace {
constexpr double kScale = 1e8;  // the files have at most 8 digits
}

bool sniff_expert_fractions(std::string_view, std::string_view head) {
  const std::string_view line = head.substr(0, head.find('\n'));
  return line.starts_with("layer,expert0,") || line.find(",layer,expert0,") != line.npos;
}

ImportReport import_expert_fractions(const ImportJob& job) {
  CsvFile file(job.path);
  const std::size_t layer = file.column("layer");
  const std::size_t first = file.column("expert0");
  const int experts = static_cast<int>(file.columns().size() - first);
  for (int e = 0; e < experts; ++e) {
    const std::size_t column = first + static_cast<std::size_t>(e);
    if (file.columns()[column] == fmt::format("expert{}", e)) continue;
    throw Error(Place{job.path, 1, 1},
                fmt::format("column '{}' where expert{} must be", file.columns()[column], e));
  }
  const bool subjects = file.has("subject");
  const bool questions = file.has("question");
  Histograms histograms(experts);
  while (file.next()) {
    std::string tag;
    if (subjects) tag = file.text(file.column("subject"));
    if (questions) tag += "/" + std::string(file.text(file.column("question")));
    std::vector<std::int64_t>& counts =
        histograms.at(tag, static_cast<int>(file.count(layer, 1'000'000)));
    double sum = 0;
    for (int e = 0; e < experts; ++e) {
      const double fraction = file.number(first + static_cast<std::size_t>(e), 0, 1);
      std::int64_t& cell = counts[static_cast<std::size_t>(e)];
      if (cell != 0) file.fail(layer, "this layer is there twice");
      cell = std::llround(fraction * kScale);
      sum += fraction;
    }
    if (std::abs(sum - 1) > 0.01) {
      file.fail(first, fmt::format("the fractions of this row add up to {:.4f}, not 1", sum));
    }
  }
  if (histograms.empty()) throw Error(Place{job.path}, "there are no rows");
  ImportReport report;
  report.model = model_name(job, "");
  report.notes = {"fractions scaled to 10^8 per layer: only their ratios mean something"};
  TraceHeader header;
  header.model = report.model;
  header.provenance = "imported from fractions per expert; " + report.notes[0];
  header.top_k = top_k(job);
  header.counts_are_fractions = true;
  report.rows = histograms.write(job.out, header);
  return report;
}

}  // namespace sim
