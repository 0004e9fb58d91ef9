#include "traces/import/import.h"

#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "sim/core/error.h"
#include "sim/input/suggestion.h"
#include "sim/input/text_file.h"
#include "traces/import/formats.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

constexpr std::array kFormats = {
    ImportFormat{"capture-log",
                 "the log of an engine that links traces/capture; several of one run",
                 sniff_capture_log, import_capture_log, TakesOptions::kCaptureLog},
    ImportFormat{
        "gpt-oss-fingerprinting",
        "request,position,layer0.. beside a requests.csv (GPT-OSS-MoE-ExpertFingerprinting)",
        sniff_fingerprinting, import_fingerprinting, TakesOptions::kTokens},
    ImportFormat{
        "tokens-csv",
        "step,source_rank or request,position, then layerN columns of space-separated ids; "
        "optional token_id, tag, round",
        sniff_tokens_csv, import_tokens_csv, TakesOptions::kTokens},
    ImportFormat{
        "events-jsonl",
        "one object per token and layer: request, position, layer, experts; optional step, "
        "source_rank, phase, weights, token_id, tag, round (also vLLM's moe_routes.jsonl)",
        sniff_events_jsonl, import_events_jsonl, TakesOptions::kRequestsOrSteps},
    ImportFormat{"routed-experts-jsonl",
                 "one object per request: request_id, routed_experts[token][layer][k] (vLLM)",
                 sniff_routed_experts_jsonl, import_routed_experts_jsonl, TakesOptions::kTokens},
    ImportFormat{
        "tokens-jsonl",
        "one object per token: step, source_rank or request, position; experts: a list per "
        "layer; optional weights, token_id, tag, round",
        sniff_tokens_jsonl, import_tokens_jsonl, TakesOptions::kTokens},
    ImportFormat{"flame-moe", "moe_layer,token,experts,router_scores (DynaNDE, FLAME-MoE)",
                 sniff_flame_moe, import_flame_moe, TakesOptions::kTokens},
    ImportFormat{"vllm-route-log",
                 "source_record,token_idx,layer,experts,weights (vLLM route logs)",
                 sniff_vllm_route_log, import_vllm_route_log, TakesOptions::kTokens},
    ImportFormat{"olmoe-counts",
                 "counts: kind,domain,layer_slot,expert,count (OLMoE router analysis)",
                 sniff_olmoe_counts, import_olmoe_counts},
    ImportFormat{"expert-usage", "counts: layer,expert,count (cuda-norm)", sniff_expert_usage,
                 import_expert_usage},
    ImportFormat{"sglang-counts", "counts: layer_id,expert_id,count (SGLang's recorder as text)",
                 sniff_sglang_counts, import_expert_usage},
    ImportFormat{"hotness-npy",
                 "counts: a NumPy array [iteration, layer, expert] or [layer, expert]",
                 sniff_hotness_npy, import_hotness_npy},
    ImportFormat{"expert-load-json",
                 "counts: objects of step, logical_load[layer][expert] or layer, counts[expert], "
                 "one per line or in load_history (vLLM EPLB)",
                 sniff_expert_load_json, import_expert_load_json},
    ImportFormat{"fiddler-popularity",
                 "counts: JSON with total_input_tokens and expert_popularity (Fiddler)",
                 sniff_fiddler, import_fiddler},
    ImportFormat{"expert-fractions",
                 "fractions: [subject,question(s),]layer,expert0.. (mixtral-vis-moe, "
                 "mixtral-offloading)",
                 sniff_expert_fractions, import_expert_fractions},
};

std::string format_names() {
  std::string names;
  for (const ImportFormat& f : kFormats) names += (names.empty() ? "" : ", ") + std::string(f.name);
  return names;
}

const ImportFormat& find_format(const std::string& path, const std::string& name) {
  if (!name.empty()) {
    std::vector<std::string> names;
    for (const ImportFormat& f : kFormats) {
      if (f.name == name) return f;
      names.emplace_back(f.name);
    }
    throw Error(fmt::format("unknown trace format '{}'", name), suggest(name, names));
  }
  const std::string head = read_head(path, 4096);
  for (const ImportFormat& f : kFormats) {
    if (f.sniff(path, head)) return f;
  }
  throw Error(Place{path}, "this is no trace format that we know",
              fmt::format("--format names one: {}", format_names()));
}

void check_options(const ImportOptions& options) {
  const auto check = [](std::optional<int> value, const char* name, int most) {
    if (value && (*value < 1 || *value > most)) {
      throw Error(fmt::format("{} is 1 to {}, not {}", name, most, *value));
    }
  };
  check(options.experts, "--experts", kMostExperts);
  check(options.top_k, "--top-k", kMostChoices);
  if (!options.keep.empty() && options.keep != "requests" && options.keep != "steps") {
    throw Error(fmt::format("--keep is requests or steps, not '{}'", options.keep));
  }
}

void check_format_options(const ImportFormat& format, const ImportOptions& options) {
  const auto refuse = [&](std::string_view option, TakesOptions least, std::string_view of) {
    if (format.takes >= least) return;
    throw Error(
        fmt::format("{}: only of {}, and this file is read as {}", option, of, format.name));
  };
  if (options.counts) refuse("--counts", TakesOptions::kTokens, "files of tokens");
  if (options.steps) refuse("--steps", TakesOptions::kTokens, "files of tokens");
  if (options.without_token_ids)
    refuse("--without-token-ids", TakesOptions::kTokens, "files of tokens");
  if (!options.keep.empty()) {
    refuse("--keep", TakesOptions::kRequestsOrSteps, "files with requests and steps");
  }
  if (options.salvage) refuse("--salvage", TakesOptions::kCaptureLog, "capture logs");
  if (!options.more_files.empty()) {
    refuse("several files", TakesOptions::kCaptureLog, "capture logs");
  }
}

// --experts and --top-k are for files that do not say them; where one does, its own word holds.
void note_unused_shape(const std::string& out, const ImportOptions& options, ImportReport& report) {
  if (!options.experts && !options.top_k) return;
  const TraceHeader header = TraceReader(out).header();
  const auto other = [&](int experts) { return experts != *options.experts; };
  if (options.experts && std::any_of(header.experts.begin(), header.experts.end(), other)) {
    report.notes.push_back(fmt::format("--experts {} does not hold: the file itself has {}",
                                       *options.experts, header.experts.front()));
  }
  if (options.top_k && *options.top_k != header.top_k) {
    report.notes.push_back(fmt::format("--top-k {} does not hold: the file itself has {}",
                                       *options.top_k, header.top_k));
  }
}

}  // namespace

std::span<const ImportFormat> import_formats() { return kFormats; }

ImportReport import_trace(const std::string& path, const std::string& out,
                          const ImportOptions& options) {
  std::error_code code;
  const auto is_out = [&](const std::string& file) {
    return std::filesystem::equivalent(file, out, code);
  };
  if (is_out(path) || std::any_of(options.more_files.begin(), options.more_files.end(), is_out)) {
    throw Error(Place{out}, "this is the file to import itself",
                "write to another one: -o NAME.moetrace");
  }
  check_options(options);
  const ImportFormat& format = find_format(path, options.format);
  check_format_options(format, options);
  ImportReport report = format.run({path, out, options});
  report.format = format.name;
  note_unused_shape(out, options, report);
  return report;
}

}  // namespace sim
