// Route logs of patched vLLM servers: source_record,token_idx,layer,experts,weights; one layer
// only. The log names no request, so all tokens are one request in the order of the log.
#include <fmt/format.h>

#include <limits>

#include "sim/input/text_file.h"
#include "traces/import/formats.h"
#include "traces/import/known_models.h"
#include "traces/import/token_sink.h"
#include "traces/trace_file.h"

namespace sim {

bool sniff_vllm_route_log(std::string_view, std::string_view head) {
  return head.starts_with("source_record,token_idx,layer,experts,weights");
}

ImportReport import_vllm_route_log(const ImportJob& job) {
  CsvFile file(job.path);
  const std::size_t layer = file.column("layer");
  const std::size_t ids = file.column("experts");
  const std::size_t weight = file.column("weights");
  const int experts = expert_count(job);
  const int k = top_k(job);
  ImportReport report;
  report.model = model_name(job, "");
  report.notes.push_back(
      "the log names no request: all tokens are one request, in the order of the log (replay it by "
      "`sample`)");
  std::optional<std::int64_t> number;
  std::optional<TokenSink> writer;
  std::vector<std::uint16_t> choices;
  std::vector<float> weights;
  while (file.next()) {
    const std::int64_t here = file.count(layer, 1'000'000);
    if (!number) {
      number = here;
      TraceHeader header;
      header.model = report.model;
      header.provenance = "imported from a vLLM route log; " + report.notes[0];
      header.experts = {experts};
      header.layer_numbers = {static_cast<int>(here)};
      header.top_k = k;
      header.has_gate_weights = true;
      writer.emplace(job, header);
    }
    if (here != *number) {
      file.fail(layer, fmt::format("layer {} after layer {}", here, *number),
                "only logs of one layer can be read: their tokens cannot be joined over layers");
    }
    choices.clear();
    weights.clear();
    const int count = file.experts(ids, experts, kMostChoices, choices);
    if (count != k) file.fail(ids, fmt::format("{} experts, top-k is {}", count, k));
    if (file.numbers(weight, weights) != k) file.fail(weight, "not a weight per expert");
    TokenRow row;
    row.position = writer->tokens();
    row.choices = choices;
    row.gate_weights = weights;
    writer->append(row);
  }
  if (!writer) throw Error(Place{job.path}, "there are no rows");
  writer->finish();
  report.rows = writer->rows();
  return report;
}

}  // namespace sim
