#include "traces/import/json_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace sim {
namespace {

struct FieldNames {
  JsonField field;
  std::array<std::string_view, 8> names;  // the first is ours; then what others write
};

// Sources: vLLM (RequestOutput.request_id, CompletionOutput.routed_experts and
// prompt_routed_experts, EPLB's load dumps: logical_load, and the histories of EPLB benchmarks:
// logical_expert_load), SGLang (rid, forward_pass_id, logical_count, global_physical_count), the
// published vLLM route logs (req_id, token_idx, topk_ids, topk_weights), Megatron-LM
// (tokens_per_expert).
constexpr std::array kNames = {
    FieldNames{JsonField::kRequest, {"request", "request_id", "req_id", "rid"}},
    FieldNames{JsonField::kPosition, {"position", "pos", "token_idx", "token_index"}},
    FieldNames{JsonField::kFirstPosition,
               {"first_position", "routed_experts_start_len", "routed_experts_prompt_start"}},
    FieldNames{JsonField::kStep, {"step", "iteration", "step_id", "forward_pass_id"}},
    FieldNames{JsonField::kSourceRank, {"source_rank", "rank", "dp_rank", "ep_rank"}},
    FieldNames{JsonField::kLayer, {"layer", "layer_id", "layer_idx", "layer_number"}},
    FieldNames{
        JsonField::kExperts,
        {"experts", "expert_ids", "topk_ids", "topk_idx", "topk_indices", "selected_experts"}},
    FieldNames{JsonField::kWeights,
               {"weights", "topk_weights", "expert_weights", "router_scores", "scores"}},
    FieldNames{JsonField::kRoutedExperts, {"routed_experts"}},
    FieldNames{JsonField::kPromptRoutedExperts, {"prompt_routed_experts"}},
    FieldNames{JsonField::kCounts,
               {"counts", "expert_counts", "expert_load", "logical_load", "logical_expert_load",
                "logical_count", "tokens_per_expert"}},
    FieldNames{
        JsonField::kPhysicalCounts,
        {"physical_counts", "physical_load", "physical_expert_load", "global_physical_count"}},
    FieldNames{JsonField::kLoadHistory, {"load_history"}},
    FieldNames{JsonField::kTokenId, {"token_id"}},
    FieldNames{JsonField::kTag, {"tag", "domain", "task"}},
    FieldNames{JsonField::kPhase, {"phase", "stage"}},
    FieldNames{JsonField::kRound, {"round"}},
    FieldNames{JsonField::kModel, {"model", "model_id", "model_name"}},
};

}  // namespace

std::span<const std::string_view> names_of(JsonField field) {
  const auto found = std::find_if(kNames.begin(), kNames.end(),
                                  [&](const FieldNames& f) { return f.field == field; });
  SIM_CHECK(found != kNames.end(), "every field has a name");
  const auto end = std::find(found->names.begin(), found->names.end(), std::string_view{});
  return {found->names.begin(), end};
}

bool mentions(std::string_view text, JsonField field) {
  for (const std::string_view name : names_of(field)) {
    if (text.find(fmt::format("\"{}\"", name)) != text.npos) return true;
  }
  return false;
}

JsonRecord::JsonRecord(const TextFile& file, std::string_view line)
    : place_(file.place(line)), line_(line), value_(line_->root()) {
  if (!value_.is_object()) fail("this line is not a JSON object");
}

JsonRecord::JsonRecord(Place place, std::string where, JsonValue value)
    : place_(std::move(place)), where_(std::move(where)), value_(value) {
  if (!value_.is_object()) fail("this is not a JSON object");
}

JsonValue JsonRecord::find(JsonField field) const {
  JsonValue found;
  std::string_view under;
  for (const std::string_view name : names_of(field)) {
    const JsonValue value = value_.find(name);
    if (!value || value.is_null()) continue;
    if (found) fail(fmt::format("'{}' and '{}' mean the same", under, name));
    found = value;
    under = name;
  }
  return found;
}

std::string_view JsonRecord::name(JsonField field) const {
  for (const std::string_view name : names_of(field)) {
    if (value_.find(name)) return name;
  }
  return names_of(field)[0];
}

JsonValue JsonRecord::at(JsonField field) const {
  const JsonValue found = find(field);
  if (found) return found;
  const auto names = names_of(field);
  if (names.size() == 1) fail(fmt::format("there is no '{}'", names[0]));
  std::string others;
  for (const std::string_view name : names.subspan(1)) {
    others += (others.empty() ? "" : ", ") + std::string(name);
  }
  fail(fmt::format("there is no '{}'", names[0]),
       fmt::format("or, with the same meaning: {}", others));
}

std::int64_t JsonRecord::count(JsonField field, std::int64_t most) const {
  const auto value = at(field).integer();
  if (!value || *value < 0 || *value > most) {
    fail(fmt::format("'{}' is not a whole number from 0 to {}", name(field), most));
  }
  return *value;
}

std::string JsonRecord::text(JsonField field) const {
  const JsonValue value = at(field);
  if (const auto text = value.text()) return std::string(*text);
  if (const auto whole = value.whole()) return std::to_string(*whole);
  if (const auto integer = value.integer()) return std::to_string(*integer);
  fail(fmt::format("'{}' is not text: {}", name(field), value.shown()));
}

bool JsonRecord::is_meta() const { return value_.find("type").text() == "meta"; }

void JsonRecord::fail(const std::string& message, const std::string& hint) const {
  throw Error(place_, where_ + message, hint);
}

}  // namespace sim
