#include "sim/policies/schedules/pipeline_choice.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr std::string_view kLetters = "FBIW";  // in the order of PassOf
constexpr const char* kSlotHint =
    "write F0 (forward), B0 (backward), I0 (input gradient), W0 (weight gradient), B0.1 for chunk "
    "1, "
    "F3+B0 for two beside each other";
constexpr CountRange kChunkRange{1, 4096};

// A count at the front of the text, taken off it.
bool take_count(std::string_view& text, int& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

bool take_pass(std::string_view& text, Pass& pass) {
  const std::size_t letter = text.empty() ? std::string_view::npos : kLetters.find(text.front());
  if (letter == std::string_view::npos) return false;
  text.remove_prefix(1);
  pass.kind = static_cast<PassOf>(letter);
  if (!take_count(text, pass.micro_batch)) return false;
  if (text.empty() || text.front() != '.') return true;
  text.remove_prefix(1);
  return take_count(text, pass.chunk);
}

void read_order(YamlMap& schedule, PipelineChoice& choice) {
  for (const YamlNode& stage : schedule.list_or_empty("order")) {
    std::vector<Slot>& slots = choice.order.emplace_back();
    if (!stage.is_list()) {
      schedule.mistakes().add(stage.place(), "a stage's order is a list of passes", kSlotHint);
      continue;
    }
    for (const YamlNode& item : stage.items()) {
      if (!item.is_scalar()) {
        schedule.mistakes().add(item.place(), "this is no pass", kSlotHint);
        continue;
      }
      try {
        slots.push_back(parse_slot(item.text()));
      } catch (const Error& error) {
        const Mistake& mistake = error.mistakes().front();
        schedule.mistakes().add(item.place(), mistake.message, mistake.hint);
      }
    }
  }
}

}  // namespace

Slot parse_slot(const std::string& text) {
  std::string_view rest = text;
  Slot slot;
  bool good = take_pass(rest, slot.first);
  if (good && !rest.empty() && rest.front() == '+') {
    rest.remove_prefix(1);
    slot.beside.emplace();
    good = take_pass(rest, *slot.beside);
  }
  if (!good || !rest.empty()) throw Error(fmt::format("'{}' is no pass", text), kSlotHint);
  return slot;
}

PipelineChoice read_pipeline_choice(YamlMap& schedule) {
  PipelineChoice choice;
  std::vector<std::string> names;
  for (const ScheduleInfo& info : kPipelineSchedules) names.emplace_back(info.name);
  choice.name = schedule.choice_or("pipeline", "1f1b", names);
  choice.place = schedule.place_of("pipeline");
  const bool given = choice.name == "given";
  if (schedule.has("chunks"))
    choice.chunks = static_cast<int>(schedule.count("chunks", kChunkRange));
  if (!given) {
    for (const char* key : {"order", "chunk_layout"}) {
      if (schedule.has(key)) {
        schedule.mistake(key, fmt::format("schedule.{} goes with pipeline: given", key),
                         fmt::format("pipeline schedule {} has its own", choice.name));
      }
    }
    return choice;
  }
  static const std::vector<std::string> kLayouts = {"looped", "v", "two-ways"};
  const std::string layout = schedule.choice_or("chunk_layout", "looped", kLayouts);
  choice.layout = layout == "v"          ? ChunkLayout::kVShape
                  : layout == "two-ways" ? ChunkLayout::kTwoWays
                                         : ChunkLayout::kLooped;
  if (choice.layout != ChunkLayout::kLooped && choice.chunks != 0) {
    schedule.mistake("chunks", fmt::format("chunk_layout {} fixes the chunks of a stage", layout),
                     "leave schedule.chunks out");
  }
  if (!schedule.has("order")) {
    schedule.mistake("order", "pipeline: given needs schedule.order",
                     "a list per stage, such as [[F0, F1, B0, B1], [F0, B0, F1, B1]]");
    return choice;
  }
  read_order(schedule, choice);
  choice.place = schedule.place_of("order");
  return choice;
}

PipelineSchedule make_pipeline_schedule(const PipelineChoice& choice, int stages,
                                        int micro_batches) {
  const ScheduleRequest request{stages, micro_batches, choice.chunks};
  try {
    PipelineSchedule schedule;
    if (choice.name == "given") {
      if (choice.order.size() != static_cast<std::size_t>(stages)) {
        throw Error(fmt::format("the order is of {} stages, the pipeline has {}",
                                choice.order.size(), stages),
                    "schedule.order holds one list per stage (parallel.pp)");
      }
      schedule = empty_schedule(request, choice.layout);
      schedule.order = choice.order;
    } else {
      schedule = make_pipeline_schedule(choice.name, request);
    }
    check_schedule(schedule);
    return schedule;
  } catch (const Error& error) {
    const Mistake& mistake = error.mistakes().front();
    throw Error(choice.place, mistake.message, mistake.hint);
  }
}

}  // namespace sim
