#include "traces/import/json_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace sim {
namespace {

using nlohmann::json;

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

std::string shown(const json& value) {
  if (value.is_array()) return "a list";
  if (value.is_object()) return "an object";
  const std::string text = value.dump();
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

json read_json_file(const std::string& path) {
  TextFile file(path);
  std::string text;
  std::string_view line;
  while (file.next(line)) {
    text.append(line).push_back('\n');
    if (text.size() > (64U << 20)) throw Error(Place{path}, "this JSON file is above 64 MiB");
  }
  try {
    return json::parse(text);
  } catch (const json::parse_error& error) {
    const std::size_t byte = std::min<std::size_t>(error.byte, text.size());
    int row = 1;
    int column = 1;
    for (std::size_t i = 0; i + 1 < byte; ++i) {
      column = text[i] == '\n' ? 1 : column + 1;
      row += text[i] == '\n' ? 1 : 0;
    }
    throw Error(Place{path, row, column}, "this is not JSON", "is the file cut short?");
  } catch (const json::out_of_range& error) {
    throw Error(Place{path}, "this JSON has a number that no double holds");
  }
}

JsonRecord::JsonRecord(const TextFile& file, std::string_view line) : place_(file.place(line)) {
  value_ = json::parse(line, nullptr, false);
  if (!value_.is_object()) fail("this line is not a JSON object");
}

JsonRecord::JsonRecord(Place place, std::string where, json value)
    : place_(std::move(place)), where_(std::move(where)), value_(std::move(value)) {
  if (!value_.is_object()) fail("this is not a JSON object");
}

const json* JsonRecord::find(JsonField field) const {
  const json* found = nullptr;
  std::string_view under;
  for (const std::string_view name : names_of(field)) {
    const auto at = value_.find(name);
    if (at == value_.end() || at->is_null()) continue;
    if (found != nullptr) fail(fmt::format("'{}' and '{}' mean the same", under, name));
    found = &*at;
    under = name;
  }
  return found;
}

std::string_view JsonRecord::name(JsonField field) const {
  for (const std::string_view name : names_of(field)) {
    if (value_.contains(name)) return name;
  }
  return names_of(field)[0];
}

const json& JsonRecord::at(JsonField field) const {
  const json* found = find(field);
  if (found != nullptr) return *found;
  const auto names = names_of(field);
  if (names.size() == 1) fail(fmt::format("there is no '{}'", names[0]));
  std::string others;
  for (const std::string_view name : names.subspan(1)) {
    others += (others.empty() ? "" : ", ") + std::string(name);
  }
  fail(fmt::format("there is no '{}'", names[0]),
       fmt::format("or, with the same meaning: {}", others));
}

json JsonRecord::take(JsonField field) {
  at(field);
  return std::move(value_[std::string(name(field))]);
}

std::int64_t JsonRecord::count(JsonField field, std::int64_t most) const {
  const json& value = at(field);
  if (!value.is_number_unsigned() ||
      value.get<std::uint64_t>() > static_cast<std::uint64_t>(most)) {
    fail(fmt::format("'{}' is not a whole number from 0 to {}", name(field), most));
  }
  return value.get<std::int64_t>();
}

std::string JsonRecord::text(JsonField field) const {
  const json& value = at(field);
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_number_integer()) {
    fail(fmt::format("'{}' is not text: {}", name(field), shown(value)));
  }
  return value.dump();
}

bool JsonRecord::is_meta() const {
  const auto type = value_.find("type");
  return type != value_.end() && type->is_string() && type->get_ref<const std::string&>() == "meta";
}

void JsonRecord::fail(const std::string& message, const std::string& hint) const {
  throw Error(place_, where_ + message, hint);
}

}  // namespace sim
