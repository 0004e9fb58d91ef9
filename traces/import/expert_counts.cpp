// Counts per expert: OLMoE's router analysis (kind,domain,layer_slot,expert,count), cuda-norm's
// usage of gpt-oss-20b (layer,expert,count) and the text files of SGLang's first expert recorder
// (layer_id,expert_id,count, one file per rank; later versions write .pt).
#include <fmt/format.h>

#include <array>
#include <numeric>

#include "sim/input/text_file.h"
#include "traces/import/formats.h"
#include "traces/import/histograms.h"
#include "traces/import/known_models.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

// 65,536 experts of this many have a sum of 63 bits.
constexpr std::int64_t kMostCount = std::int64_t{1} << 46;

// A count per token and choice: the number of tokens, or 0 when k does not divide the sum.
std::int64_t tokens_of(const std::vector<std::int64_t>& counts, int k) {
  const std::int64_t sum = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  return sum % k == 0 ? sum / k : 0;
}

void set_count(const CsvFile& file, std::size_t expert, std::size_t count, int experts,
               std::vector<std::int64_t>& counts) {
  const std::int64_t id = file.count(expert, kMostExperts - 1);
  if (id >= experts) {
    file.fail(expert, fmt::format("expert {} of a layer with {} experts", id, experts),
              "ids count from 0; --experts gives another number");
  }
  std::int64_t& cell = counts[static_cast<std::size_t>(id)];
  if (cell != 0) file.fail(expert, fmt::format("expert {} twice in this layer", id));
  cell = file.count(count, kMostCount);
}

}  // namespace

bool sniff_olmoe_counts(std::string_view, std::string_view head) {
  return head.starts_with("kind,domain,layer_slot,expert,count");
}

// The upstream script stores three layers as slots 0, 1, 2: layers 0, 7 and 15. Kind
// "expert_counts" counts every choice (tag = domain), "expert_counts_top1" the first one only (tag
// = "top1/" + domain); experts that nobody chose are left out of the file.
ImportReport import_olmoe_counts(const ImportJob& job) {
  constexpr std::array kLayerOfSlot = {0, 7, 15};
  CsvFile file(job.path);
  const std::size_t kind = file.column("kind");
  const std::size_t domain = file.column("domain");
  const std::size_t slot = file.column("layer_slot");
  const std::size_t expert = file.column("expert");
  const std::size_t count = file.column("count");
  const int experts = expert_count(job);
  const int k = top_k(job);
  Histograms histograms(experts);
  while (file.next()) {
    const bool all = file.text(kind) == "expert_counts";
    if (!all && file.text(kind) != "expert_counts_top1") {
      file.fail(kind, fmt::format("unknown kind '{}'", file.text(kind)),
                "known: expert_counts, expert_counts_top1");
    }
    const std::string tag = (all ? "" : "top1/") + std::string(file.text(domain));
    const int layer = kLayerOfSlot[static_cast<std::size_t>(file.count(slot, 2))];
    std::vector<std::int64_t>& counts = histograms.at(tag, layer);
    set_count(file, expert, count, experts, counts);
    histograms.set_tokens(tag, layer, tokens_of(counts, all ? k : 1));
  }
  if (histograms.empty()) throw Error(Place{job.path}, "there are no rows");
  ImportReport report;
  report.model = model_name(job, "");
  report.notes = {"layer slots 0, 1, 2 are layers 0, 7, 15",
                  "tags 'top1/...' count only the first choice of a token"};
  TraceHeader header;
  header.model = report.model;
  header.provenance =
      fmt::format("imported from OLMoE router analysis; {}; {}", report.notes[0], report.notes[1]);
  header.top_k = k;
  report.rows = histograms.write(job.out, header);
  return report;
}

bool sniff_expert_usage(std::string_view, std::string_view head) {
  return head.starts_with("layer,expert,count");
}

bool sniff_sglang_counts(std::string_view, std::string_view head) {
  return head.starts_with("layer_id,expert_id,count");
}

ImportReport import_expert_usage(const ImportJob& job) {
  CsvFile file(job.path);
  const bool sglang = file.has("layer_id");
  const std::size_t layer = file.column(sglang ? "layer_id" : "layer");
  const std::size_t expert = file.column(sglang ? "expert_id" : "expert");
  const std::size_t count = file.column("count");
  const int experts = expert_count(job);
  const int k = top_k(job);
  Histograms histograms(experts);
  while (file.next()) {
    const int number = static_cast<int>(file.count(layer, 1'000'000));
    std::vector<std::int64_t>& counts = histograms.at("", number);
    set_count(file, expert, count, experts, counts);
    histograms.set_tokens("", number, tokens_of(counts, k));
  }
  if (histograms.empty()) throw Error(Place{job.path}, "there are no rows");
  ImportReport report;
  report.model = model_name(job, "");
  TraceHeader header;
  header.model = report.model;
  header.provenance = "imported from counts per layer and expert";
  header.top_k = k;
  report.rows = histograms.write(job.out, header);
  return report;
}

}  // namespace sim
