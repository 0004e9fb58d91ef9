// GPT-OSS-MoE-ExpertFingerprinting (github AmanPriyanshu, Apache-2.0), converted to one row per
// decoded token of gpt-oss-20b. A requests.csv beside the file gives each request's dataset and
// category: the token's tag. Prompt tokens were not recorded upstream.
#include <filesystem>
#include <map>

#include "sim/input/text_file.h"
#include "traces/import/formats.h"
#include "traces/import/layer_columns.h"

namespace sim {
namespace {

std::string requests_beside(std::string_view path) {
  return (std::filesystem::path(path).parent_path() / "requests.csv").string();
}

}  // namespace

bool sniff_fingerprinting(std::string_view path, std::string_view head) {
  return head.starts_with("request,position,layer0,") &&
         std::filesystem::exists(requests_beside(path));
}

ImportReport import_fingerprinting(const ImportJob& job) {
  const std::string requests_path = requests_beside(job.path);
  std::map<std::int64_t, std::string> tags;
  CsvFile requests(requests_path);
  const std::size_t id = requests.column("request");
  const std::size_t dataset = requests.column("dataset");
  const std::size_t category = requests.column("category");
  while (requests.next()) {
    tags[requests.count(id, 1'000'000'000)] =
        std::string(requests.text(dataset)) + "/" + std::string(requests.text(category));
  }
  ImportJob named = job;
  if (named.options.model.empty() && !named.options.experts) named.options.model = "gpt-oss-20b";
  return import_layer_columns(
      named,
      {"imported from GPT-OSS-MoE-ExpertFingerprinting: decode tokens only, no prompt tokens; "
       "number of experts from the model",
       [&](std::int64_t request) {
         const auto found = tags.find(request);
         if (found == tags.end()) {
           throw Error(Place{requests_path},
                       "there is no row for request " + std::to_string(request),
                       "--format tokens-csv imports without it");
         }
         return found->second;
       }});
}

}  // namespace sim
