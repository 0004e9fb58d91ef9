// The formats themselves; import.cpp has the table. Each is one .cpp.
#pragma once

#include <string_view>

#include "traces/import/import.h"

namespace sim {

// capture_log.cpp
bool sniff_capture_log(std::string_view path, std::string_view head);
ImportReport import_capture_log(const ImportJob& job);
// fingerprinting.cpp
bool sniff_fingerprinting(std::string_view path, std::string_view head);
ImportReport import_fingerprinting(const ImportJob& job);
// tokens_csv.cpp
bool sniff_tokens_csv(std::string_view path, std::string_view head);
ImportReport import_tokens_csv(const ImportJob& job);
// tokens_jsonl.cpp
bool sniff_tokens_jsonl(std::string_view path, std::string_view head);
ImportReport import_tokens_jsonl(const ImportJob& job);
// events_jsonl.cpp
bool sniff_events_jsonl(std::string_view path, std::string_view head);
ImportReport import_events_jsonl(const ImportJob& job);
// routed_experts_jsonl.cpp
bool sniff_routed_experts_jsonl(std::string_view path, std::string_view head);
ImportReport import_routed_experts_jsonl(const ImportJob& job);
// expert_load_json.cpp
bool sniff_expert_load_json(std::string_view path, std::string_view head);
ImportReport import_expert_load_json(const ImportJob& job);
// hotness_npy.cpp
bool sniff_hotness_npy(std::string_view path, std::string_view head);
ImportReport import_hotness_npy(const ImportJob& job);
// flame_moe.cpp
bool sniff_flame_moe(std::string_view path, std::string_view head);
ImportReport import_flame_moe(const ImportJob& job);
// vllm_route_log.cpp
bool sniff_vllm_route_log(std::string_view path, std::string_view head);
ImportReport import_vllm_route_log(const ImportJob& job);
// expert_counts.cpp
bool sniff_olmoe_counts(std::string_view path, std::string_view head);
ImportReport import_olmoe_counts(const ImportJob& job);
bool sniff_expert_usage(std::string_view path, std::string_view head);
ImportReport import_expert_usage(const ImportJob& job);
bool sniff_sglang_counts(std::string_view path, std::string_view head);
// fiddler_popularity.cpp
bool sniff_fiddler(std::string_view path, std::string_view head);
ImportReport import_fiddler(const ImportJob& job);
// expert_fractions.cpp
bool sniff_expert_fractions(std::string_view path, std::string_view head);
ImportReport import_expert_fractions(const ImportJob& job);

}  // namespace sim
