// Fiddler's expert popularity of Mixtral: {"total_input_tokens": T, "expert_popularity": [[...]]},
// one list of counts per layer. The counts cover more tokens than T (about 1.5 times), so the
// number of tokens is taken from the counts.
#include <fmt/format.h>

#include <numeric>

#include "sim/core/error.h"
#include "traces/import/formats.h"
#include "traces/import/histograms.h"
#include "traces/import/json_value.h"
#include "traces/import/known_models.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

// 65,536 experts of this many have a sum of 63 bits.
constexpr std::int64_t kMostCount = std::int64_t{1} << 46;

}  // namespace

bool sniff_fiddler(std::string_view, std::string_view head) {
  return head.find("\"total_input_tokens\"") != head.npos &&
         head.find("\"expert_popularity\"") != head.npos;
}

ImportReport import_fiddler(const ImportJob& job) {
  const JsonDocument document = JsonDocument::read_file(job.path);
  const auto refuse = [&](const std::string& what) { throw Error(Place{job.path}, what); };
  const JsonValue layers = document.root().find("expert_popularity");
  if (!layers.is_list() || layers.empty() || layers.size() > kMostLayers) {
    refuse("expert_popularity is not a list of layers");
  }
  if (!layers[0].is_list() || layers[0].empty() || layers[0].size() > kMostExperts) {
    refuse("layer 0 is not a list of counts");
  }
  const int k = top_k(job);
  Histograms histograms(static_cast<int>(layers[0].size()));
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    if (!layers[layer].is_list() || layers[layer].size() != layers[0].size()) {
      refuse(fmt::format("layer {} is not a list of {} counts", layer, layers[0].size()));
    }
    std::vector<std::int64_t>& counts = histograms.at("", static_cast<int>(layer));
    std::int64_t sum = 0;
    for (std::size_t e = 0; e < counts.size(); ++e) {
      const auto count = layers[layer][e].integer();
      if (!count || *count < 0 || *count > kMostCount) {
        refuse(fmt::format("layer {}, expert {}: not a count", layer, e));
      }
      counts[e] = *count;
      sum += counts[e];
    }
    histograms.set_tokens("", static_cast<int>(layer), sum % k == 0 ? sum / k : 0);
  }
  ImportReport report;
  report.model = model_name(job, "");
  report.notes = {"tokens = choices / top-k; the file's total_input_tokens is not what it counts"};
  TraceHeader header;
  header.model = report.model;
  header.provenance = "imported from Fiddler's expert popularity; " + report.notes[0];
  header.top_k = k;
  report.rows = histograms.write(job.out, header);
  return report;
}

}  // namespace sim
