// Our own plain form, for recorders that write text: one row per token.
//
//   step,source_rank,layer0,layer1      or      request,position,layer0,layer1
//   0,3,17 4,2 9                                12,101,17 4,2 9
//
// Optional columns: token_id, tag, round. A token may have fewer experts than others.
#include "traces/import/formats.h"
#include "traces/import/layer_columns.h"

namespace sim {

bool sniff_tokens_csv(std::string_view, std::string_view head) {
  const std::string_view line = head.substr(0, head.find('\n'));
  const bool placed =
      line.starts_with("step,source_rank,") || line.starts_with("request,position,");
  return placed && line.find(",layer") != std::string_view::npos;
}

ImportReport import_tokens_csv(const ImportJob& job) {
  return import_layer_columns(job, {"imported from a tokens-csv file", nullptr});
}

}  // namespace sim
