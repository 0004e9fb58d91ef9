#include "sim/app/scenario_training.h"

#include <algorithm>
#include <string>

#include "sim/core/error.h"
#include "sim/policies/schedules/pipeline_choice.h"

namespace sim {
namespace {

constexpr std::int64_t kLongestSequence = 1 << 24;
constexpr std::int64_t kMostMicroBatches = 1 << 16;

std::vector<std::string> dtype_names(std::initializer_list<DType> types) {
  std::vector<std::string> names;
  for (const DType type : types) names.emplace_back(to_text(type));
  return names;
}

DType read_state_dtype(YamlMap& map, const char* key, DType fallback,
                       const std::vector<std::string>& names) {
  return parse_dtype(map.choice_or(key, std::string(to_text(fallback)), names)).value_or(fallback);
}

Recompute read_recompute(YamlMap& map) {
  Recompute recompute;
  std::vector<std::string> names;
  for (const std::string_view each : recompute_module_names()) names.emplace_back(each);
  const YamlNode node = map.child("recompute");
  if (node.defined() && node.is_list()) {
    for (const std::string& name : map.texts_or_empty("recompute")) {
      const std::optional<RecomputeModule> module = parse_recompute_module(name);
      if (module) {
        recompute.modules.push_back(*module);
      } else {
        std::string known;
        for (const std::string& each : names) known += (known.empty() ? "" : ", ") + each;
        map.mistake("recompute", "'" + name + "' is not a module that can be recomputed",
                    "possible: " + known);
      }
    }
    return recompute;
  }
  static const std::vector<std::string> kWords = {"none", "full"};
  recompute.full = map.choice_or("recompute", "none", kWords) == "full";
  return recompute;
}

}  // namespace

TrainingWorkload read_training_workload(YamlMap& workload, const ParallelLayout* layout) {
  TrainingWorkload training;
  training.sequence_length = workload.count("sequence_length", {1, kLongestSequence});
  training.micro_batch = static_cast<int>(workload.count_or("micro_batch", 1, {1, 1 << 16}));
  training.steps = static_cast<int>(workload.count_or("steps", 1, {1, 1'000'000}));
  if (workload.has("global_batch") && workload.has("micro_batches")) {
    workload.mistake("global_batch", "'global_batch' and 'micro_batches' say the same twice",
                     "keep one of them");
  }
  if (workload.has("global_batch")) {
    const std::int64_t batch = workload.count("global_batch", {1, std::int64_t{1} << 32});
    const std::int64_t each =
        layout == nullptr ? 1 : static_cast<std::int64_t>(layout->dp) * training.micro_batch;
    if (layout != nullptr && batch % each != 0) {
      workload.mistake(
          "global_batch",
          "a global batch of " + std::to_string(batch) +
              " sequences is no multiple of dp x micro_batch = " + std::to_string(layout->dp) +
              " x " + std::to_string(training.micro_batch),
          "change it, or the layout");
    }
    training.micro_batches =
        static_cast<int>(std::clamp<std::int64_t>(batch / each, 1, kMostMicroBatches + 1));
  } else {
    training.micro_batches =
        static_cast<int>(workload.count("micro_batches", {1, kMostMicroBatches}));
  }
  if (training.micro_batches > kMostMicroBatches) {
    workload.mistake("global_batch", "more than " + std::to_string(kMostMicroBatches) +
                                         " micro-batches per step cannot be simulated");
    training.micro_batches = 1;
  }
  if (std::int64_t{training.steps} * training.micro_batches > (1 << 30)) {
    workload.mistake("steps", std::to_string(training.steps) + " steps of " +
                                  std::to_string(training.micro_batches) +
                                  " micro-batches are more than 2^30 in all");
    training.steps = 1;
  }
  if (layout == nullptr) return training;
  const std::int64_t shares = static_cast<std::int64_t>(layout->cp) * layout->tp;
  if (training.micro_batch * training.sequence_length % shares != 0) {
    workload.mistake("sequence_length",
                     "the tokens of a micro-batch, " + std::to_string(training.micro_batch) +
                         " x " + std::to_string(training.sequence_length) +
                         ", cannot be shared evenly by cp x tp = " + std::to_string(layout->cp) +
                         " x " + std::to_string(layout->tp) + " ranks");
  }
  return training;
}

void read_training(YamlMap& root, TrainingWorkload& training, TrainingPrecision& precision,
                   Mistakes& mistakes) {
  YamlMap map(root.child("training"), "training", mistakes);
  static const std::vector<std::string> kPrecisions = {"bf16", "fp8"};
  precision = parse_training_precision(
                  map.choice_or("precision", std::string(to_text(precision)), kPrecisions))
                  .value_or(precision);
  training.zero = static_cast<int>(map.count_or("zero", 1, {0, 3}));
  training.recompute = read_recompute(map);
  static const std::vector<std::string> kStates = dtype_names({DType::kFp32, DType::kBf16});
  YamlMap gradients(map.child("gradients"), "gradients", mistakes);
  training.formats.gradient = read_state_dtype(gradients, "dtype", DType::kFp32, kStates);
  // Megatron-Core's default: 40 million parameters.
  training.gradients.bucket = gradients.bytes_or("bucket", Bytes(160'000'000));
  training.gradients.overlap = gradients.flag_or("overlap", true);
  gradients.finish();
  YamlMap parameters(map.child("parameters"), "parameters", mistakes);
  training.overlap_gathers = parameters.flag_or("overlap", true);
  parameters.finish();
  YamlMap optimizer(map.child("optimizer"), "optimizer", mistakes);
  training.formats.master = read_state_dtype(optimizer, "master", DType::kFp32, kStates);
  training.formats.moment = read_state_dtype(optimizer, "moments", DType::kFp32, kStates);
  optimizer.finish();
  map.finish();
}

std::string read_pipeline(YamlMap& schedule, TrainingWorkload& training,
                          const ParallelLayout& layout, int layers, Mistakes& mistakes) {
  const PipelineChoice choice = read_pipeline_choice(schedule);
  const std::vector<std::int64_t> wish = schedule.counts_or_empty("layers", {1, 1 << 16});
  try {
    training.schedule = make_pipeline_schedule(choice, layout.pp, training.micro_batches);
  } catch (const Error& error) {
    mistakes.add(error);
    return choice.name;
  }
  if (training.zero == 3 && training.schedule.two_copies()) {
    mistakes.add(choice.place.file.empty() ? schedule.place() : choice.place,
                 "ZeRO stage 3 shards one copy of the model; " + choice.name + " keeps two",
                 "use training.zero 0 to 2, or dualpipe-v, which keeps one");
  }
  const int parts = training.schedule.parts();
  if (wish.empty()) {
    if (parts > layers) {
      mistakes.add(choice.place.file.empty() ? schedule.place() : choice.place,
                   "the pipeline cuts the model into " + std::to_string(parts) +
                       " parts, but it has only " + std::to_string(layers) + " layers",
                   "lower parallel.pp or schedule.chunks");
      return choice.name;
    }
    training.parts = spread_layers(layers, parts);
    return choice.name;
  }
  std::int64_t first = 0;
  for (const std::int64_t count : wish) {
    training.parts.emplace_back(static_cast<int>(first), static_cast<int>(first + count));
    first += count;
  }
  if (static_cast<int>(wish.size()) != parts || first != layers) {
    schedule.mistake("layers", "'layers' gives " + std::to_string(first) + " layers to " +
                                   std::to_string(wish.size()) + " parts; the model has " +
                                   std::to_string(layers) + ", the pipeline " +
                                   std::to_string(parts) + " parts");
    training.parts.clear();
  }
  return choice.name;
}

}  // namespace sim
