#include "sim/app/scenario.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "models/model_reader.h"
#include "sim/app/device_choice.h"
#include "sim/app/key_effects.h"
#include "sim/app/scenario_capacity.h"
#include "sim/app/scenario_disturbances.h"
#include "sim/app/scenario_document.h"
#include "sim/app/scenario_kernels.h"
#include "sim/app/scenario_training.h"
#include "sim/app/scenario_workload.h"
#include "sim/input/quantity.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace {

constexpr std::int64_t kMostTokensPerGpu = 1 << 20;
constexpr std::int64_t kLargestSeed = 9'000'000'000'000'000;
constexpr std::int64_t kMostSequences = 1 << 24;  // over all ranks

template <class Table>
std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> names;
  for (const auto& entry : table) names.emplace_back(entry.name);
  return names;
}

// Reads one scenario file; every mistake is collected, and reading goes on as long as it makes
// sense.
class ScenarioReader {
 public:
  ScenarioReader(YamlDocument& document, const Catalog& catalog)
      : document_(document), catalog_(catalog), root_(document.root(), "the scenario", mistakes_) {}

  Scenario read() {
    mistakes_.throw_if_any();  // empty, or not a mapping: no use to go on
    scenario_.file = document_.name();
    scenario_.name = root_.text_or("name", std::filesystem::path(document_.name()).stem().string());
    scenario_.seed = static_cast<std::uint64_t>(root_.count_or("seed", 1, {0, kLargestSeed}));
    read_model_key();
    read_cluster_key();
    read_parallel();
    read_workload();
    read_routing();
    read_placement();
    read_communication();
    scenario_.network.wish = read_network(root_, mistakes_);
    read_schedule();
    read_host();
    read_memory();
    read_kernels();
    if (cluster_read_) {
      DisturbanceList list = read_disturbances(root_, scenario_.cluster, scenario_.warnings);
      scenario_.disturbances = std::move(list.links);
      scenario_.device_disturbances = std::move(list.devices);
    } else {
      root_.has("disturbances");  // known, though their links are not
    }
    root_.finish();
    mistakes_.throw_if_any();
    cross_check();
    mistakes_.throw_if_any();
    scenario_.text = document_.to_text();
    scenario_.keys = document_.read_keys();
    scenario_.asked_keys = document_.asked_paths();
    for (std::string& warning : keys_without_effect(scenario_))
      scenario_.warnings.push_back(std::move(warning));
    return std::move(scenario_);
  }

 private:
  void read_model_key();
  void read_cluster_key();
  void read_parallel();
  void read_workload();
  void read_layer_part(YamlMap& map);
  void read_training_step(YamlMap& map);
  LengthSpec read_length(YamlMap& map, std::string_view key);
  void read_routing();
  void read_synthetic(YamlMap& map);
  void read_workload_routing(YamlMap& map);
  void read_placement();
  void read_communication();
  DType read_dtype(YamlMap& map, std::string_view key, DType fallback);
  void read_schedule();
  void read_host();
  void read_memory();
  void read_kernels();
  void cross_check();
  const Routing* first_routing() const;

  YamlDocument& document_;
  const Catalog& catalog_;
  Mistakes mistakes_;
  YamlMap root_;
  Scenario scenario_;
  bool model_read_ = false;
  bool cluster_read_ = false;
};

void ScenarioReader::read_model_key() {
  const std::string name = root_.text("model");
  if (name.empty()) return;
  try {
    scenario_.model = read_model_or_config(catalog_.model_file(name, scenario_.file));
    model_read_ = true;
  } catch (const Error& error) {
    if (error.mistakes().front().place.file.empty()) {
      mistakes_.add(root_.place_of("model"), error.mistakes().front().message,
                    error.mistakes().front().hint);
    } else {
      mistakes_.add(error);
    }
  }
}

void ScenarioReader::read_cluster_key() {
  const YamlNode node = root_.child("cluster");
  if (!node.defined()) {
    mistakes_.add(root_.place(), "the scenario needs the key 'cluster'");
    return;
  }
  const std::size_t before = mistakes_.list().size();
  scenario_.cluster = read_cluster(node, catalog_.cluster_lookup(), mistakes_);
  cluster_read_ = mistakes_.list().size() == before;
  if (!cluster_read_) return;
  for (const ClusterDevice& device : scenario_.cluster.devices) {
    if (scenario_.device_types.count(device.device_type) != 0) continue;
    try {
      scenario_.device_types[device.device_type] = load_device(catalog_, device.device_type);
    } catch (const Error& error) {
      if (error.mistakes().front().place.file.empty()) {
        mistakes_.add(root_.place_of("cluster"), error.mistakes().front().message,
                      error.mistakes().front().hint);
      } else {
        mistakes_.add(error);  // of the device's own file
      }
      cluster_read_ = false;
      scenario_.device_types[device.device_type] = Device{};
    }
  }
}

void ScenarioReader::read_parallel() {
  ParallelRequest request;
  if (auto map = root_.map_if("parallel")) {
    const auto degree = [&](const char* key) -> std::optional<int> {
      if (!map->has(key)) return std::nullopt;
      return static_cast<int>(map->count(key, {1, 1 << 20}));
    };
    request = {degree("tp"), degree("dp"), degree("ep"), degree("edp"),
               degree("cp"), degree("pp"), degree("etp")};
    map->finish();
  }
  if (!cluster_read_) return;
  try {
    scenario_.layout = derive_layout(request, scenario_.cluster.device_count());
  } catch (const Error& error) {
    mistakes_.add(root_.place_of("parallel"), error.mistakes().front().message,
                  error.mistakes().front().hint);
  }
}

LengthSpec ScenarioReader::read_length(YamlMap& map, std::string_view key) {
  constexpr std::int64_t kLongest = 1 << 24;
  const YamlNode node = map.child(key);
  if (node.defined() && node.is_map()) {
    YamlMap spec(node, "'" + std::string(key) + "'", mistakes_);
    const std::vector<std::int64_t> bounds = spec.counts_or_empty("uniform", {1, kLongest});
    if (bounds.size() != 2 || bounds[0] > bounds[1]) {
      spec.mistake("uniform", "'uniform' in '" + std::string(key) +
                                  "' needs [least, most] with least <= most");
      spec.finish();
      return {1, 1};
    }
    spec.finish();
    return {bounds[0], bounds[1]};
  }
  const std::int64_t value = map.count(key, {1, kLongest});
  return {value, value};
}

void ScenarioReader::read_layer_part(YamlMap& map) {
  static const std::vector<std::string> kParts = {"moe", "full"};
  static const std::vector<std::string> kPhases = {"decode", "prefill"};
  const bool moe = map.choice_or("parts", "full", kParts) == "moe";
  scenario_.workload.phase =
      map.choice_or("phase", "decode", kPhases) == "decode" ? Phase::kDecode : Phase::kPrefill;
  const int last = model_read_ ? static_cast<int>(scenario_.model.layers.size()) - 1 : 0;
  int first_routed = 0;
  if (model_read_) {
    const std::vector<BlockId> routed = routed_blocks(scenario_.model);
    if (!routed.empty()) first_routed = routed.front().layer;
  }
  const int layer = static_cast<int>(map.count_or("layer", first_routed, {0, last}));
  scenario_.part = {layer, layer + 1, moe, false};
}

void ScenarioReader::read_workload() {
  if (!root_.has("workload")) {
    mistakes_.add(root_.place(), "the scenario needs the key 'workload'",
                  "for example workload: {kind: decode, tokens_per_gpu: 128, context: 4000}");
    return;
  }
  static const std::vector<std::string> kKinds = {"layer", "prefill", "decode", "training"};
  scenario_.workload_place = root_.place_of("workload");
  YamlMap map = root_.map("workload");
  InferenceWorkload& workload = scenario_.workload;
  const std::string kind = map.choice("kind", kKinds);
  scenario_.part = {0, model_read_ ? static_cast<int>(scenario_.model.layers.size()) : 0, false,
                    true};
  if (kind == "training") {
    read_training_step(map);
    return;
  }
  if (kind == "layer") {
    scenario_.kind = WorkloadKind::kLayer;
    read_layer_part(map);
  } else {
    scenario_.kind = kind == "prefill" ? WorkloadKind::kPrefill : WorkloadKind::kDecode;
    workload.phase = kind == "prefill" ? Phase::kPrefill : Phase::kDecode;
  }
  workload.tokens_per_gpu = map.count("tokens_per_gpu", {1, kMostTokensPerGpu});
  workload.steps = static_cast<int>(map.count_or("steps", 1, {1, 1'000'000}));
  workload.seed = scenario_.seed;
  const bool decode = workload.phase == Phase::kDecode;
  if (scenario_.part.only_routed_blocks) {
    workload.length = {1, 1};
    if (!decode) workload.length = {workload.tokens_per_gpu, workload.tokens_per_gpu};
  } else {
    workload.length = read_length(map, decode ? "context" : "prompt_tokens");
  }
  for (const char* other : {"context", "prompt_tokens"}) {
    const bool used = !scenario_.part.only_routed_blocks &&
                      std::string(other) == (decode ? "context" : "prompt_tokens");
    if (!used && map.has(other)) {
      scenario_.warnings.push_back("workload." + std::string(other) +
                                   " has no effect in this workload");
    }
  }
  map.finish();
}

// A micro-batch on one rank is what a prefill of as many tokens is, for the routing and the
// exchanges.
void ScenarioReader::read_training_step(YamlMap& map) {
  scenario_.kind = WorkloadKind::kTraining;
  scenario_.training = read_training_workload(map, cluster_read_ ? &scenario_.layout : nullptr);
  map.finish();
  TrainingWorkload& training = *scenario_.training;
  InferenceWorkload& workload = scenario_.workload;
  workload.phase = Phase::kPrefill;
  workload.tokens_per_gpu = std::max<std::int64_t>(1, tokens_per_rank(training, scenario_.layout));
  workload.length = {training.sequence_length, training.sequence_length};
  workload.steps = training.steps;
  workload.seed = scenario_.seed;
  TrainingPrecision precision =
      model_read_ ? usual_training_precision(scenario_.model) : TrainingPrecision::kBf16;
  read_training(root_, training, precision, mistakes_);
  if (model_read_) scenario_.model = training_model(scenario_.model, precision);
}

void ScenarioReader::read_synthetic(YamlMap& map) {
  SyntheticSpec& spec = scenario_.routing.synthetic;
  const bool zipf = map.has("zipf");
  const bool uniform = map.flag_or("uniform", !zipf);
  if (zipf == uniform)
    map.mistake("zipf", "synthetic routing is either zipf: EXPONENT or uniform: true");
  spec.kind = zipf ? SyntheticKind::kZipf : SyntheticKind::kUniform;
  if (zipf) spec.exponent = map.number("zipf", {0, 20});
  spec.token_budget = map.count_or("token_budget", spec.token_budget, {0, 1LL << 40});
  const Routing* routing = first_routing();
  const bool grouped = routing != nullptr && routing->groups > 1;
  if (map.flag_or("group_limited", grouped)) {
    if (grouped) {
      spec.groups =
          GroupLimit{static_cast<int>(routing->groups), static_cast<int>(routing->top_groups)};
    } else if (model_read_) {
      map.mistake("group_limited", "the model has no expert groups to limit the routing to");
    }
  }
  map.finish();
}

void ScenarioReader::read_workload_routing(YamlMap& map) {
  const Routing* routing = model_read_ && cluster_read_ ? first_routing() : nullptr;
  scenario_.routing.workload = read_named_workload(map, routing, scenario_.layout);
  if (routing != nullptr && routing->groups > 1) {
    scenario_.warnings.push_back("routing.workload does not keep to the model's " +
                                 std::to_string(routing->top_groups) + " of " +
                                 std::to_string(routing->groups) + " expert groups per token");
  }
}

void ScenarioReader::read_routing() {
  const bool needed = model_read_ && first_routing() != nullptr;
  std::optional<YamlMap> map = root_.map_if("routing");
  if (!map) {
    if (needed) {
      mistakes_.add(
          root_.place(), "the scenario needs the key 'routing'",
          "for example routing: {synthetic: {zipf: 0.8}} or routing: {trace: FILE.moetrace}");
    }
    return;
  }
  RoutingChoice& routing = scenario_.routing;
  if (model_read_ && !needed)
    scenario_.warnings.push_back("routing has no effect: the model has no routed experts here");
  const bool trace = map->has("trace");
  const bool workload = map->has("workload");
  const int sources = int{trace} + int{workload} + int{map->has("synthetic")};
  if (sources != 1) {
    mistakes_.add(map->place(), sources > 1
                                    ? "routing has two of 'trace', 'synthetic' and 'workload'; "
                                      "keep one of them"
                                    : "routing needs one of 'trace', 'synthetic' and 'workload'");
  }
  if (trace) {
    try {
      routing.trace = catalog_.trace_file(map->text("trace"), scenario_.file);
    } catch (const Error& error) {
      map->mistake("trace", error.mistakes().front().message,
                   "make one with `simulate trace import` or `simulate trace synth`");
    }
    std::vector<std::string> rules;
    for (const ReplayRuleName& rule : replay_rules()) rules.emplace_back(rule.name);
    const std::string rule = map->choice_or("rule", "auto", rules);
    routing.rule = parse_replay_rule(rule).value_or(ReplayRule::kAuto);
    std::vector<std::string> adapts;
    for (const AdaptRuleName& adapt : adapt_rules()) adapts.emplace_back(adapt.name);
    routing.adapt =
        parse_adapt_rule(map->choice_or("adapt", "none", adapts)).value_or(AdaptRule::kNone);
    routing.tag = map->text_or("tag", "");
  } else if (workload) {
    read_workload_routing(*map);
  } else if (std::optional<YamlMap> synthetic = map->map_if("synthetic")) {
    read_synthetic(*synthetic);
  }
  routing.capacity = read_capacity(*map, trace);
  map->finish();
}

void ScenarioReader::read_placement() {
  PlacementChoice& placement = scenario_.placement;
  YamlMap map(root_.child("placement"), "placement", mistakes_);
  placement.policy =
      &find_placement_policy(map.choice_or("policy", "contiguous", names_of(kPlacementPolicies)));
  placement.split =
      &find_replica_split(map.choice_or("replica_split", "modulo", names_of(kReplicaSplits)));
  placement.redundant_experts =
      static_cast<int>(map.count_or("redundant_experts", 0, {0, 1 << 20}));
  // The run begins after the steps that the estimate looks at; uniform and oracle, and policies
  // that look at no loads, begin where the default would, so that they see the same steps.
  constexpr int kDefaultSteps = 64;
  placement.steps = kDefaultSteps;
  const std::string estimate = map.text_or("estimate", "64 steps before");
  if (estimate == "uniform") {
    placement.from = EstimateFrom::kUniform;
  } else if (estimate == "oracle") {
    placement.from = EstimateFrom::kOracle;
  } else {
    const std::string suffix = " steps before";
    const std::size_t at = estimate.rfind(suffix);
    const auto steps = at != std::string::npos && at + suffix.size() == estimate.size()
                           ? parse_count(estimate.substr(0, at))
                           : std::nullopt;
    if (!steps || *steps < 1 || *steps > 100'000) {
      map.mistake("estimate", "'" + estimate + "' is not an 'estimate' of placement",
                  "possible: N steps before (N from 1 to 100000), uniform, oracle");
    } else {
      placement.steps = static_cast<int>(*steps);
    }
  }
  scenario_.workload.routing_step_offset = placement.steps;
  if (scenario_.training) scenario_.training->routing_step_offset = placement.steps;
  map.finish();
}

DType ScenarioReader::read_dtype(YamlMap& map, std::string_view key, DType fallback) {
  static const std::vector<std::string> kWire = {"bf16", "fp16", "fp8", "nvfp4", "fp32"};
  return parse_dtype(map.choice_or(key, std::string(to_text(fallback)), kWire)).value_or(fallback);
}

void ScenarioReader::read_communication() {
  YamlMap map(root_.child("communication"), "communication", mistakes_);
  scenario_.exchange =
      &find_exchange_algorithm(map.choice_or("dispatch", "nccl", names_of(kExchangeAlgorithms)));
  YamlMap precision(map.child("precision"), "precision", mistakes_);
  scenario_.dispatch_dtype = read_dtype(precision, "dispatch", DType::kBf16);
  scenario_.combine_dtype = read_dtype(precision, "combine", DType::kBf16);
  precision.finish();
  scenario_.communication_sms =
      static_cast<int>(map.count_or("sms", scenario_.exchange->communication_sms, {0, 1024}));
  scenario_.receive_hook = map.flag_or("receive_hook", true);
  // Training without a capacity learns its sizes; where the algorithm's kernels do not tell, as
  // Megatron-Core does.
  static const std::vector<std::string> kSizes = {"none", "device", "host"};
  const bool learns = scenario_.training && !scenario_.routing.capacity &&
                      scenario_.exchange->start == StartRule::kRendezvous;
  const std::string sizes = map.choice_or("size_exchange", learns ? "host" : "none", kSizes);
  scenario_.size_exchange = sizes == "none"     ? SizeExchange::kNone
                            : sizes == "device" ? SizeExchange::kDevice
                                                : SizeExchange::kHost;
  map.finish();
}

void ScenarioReader::read_schedule() {
  static const std::vector<std::string> kOverlaps = {"none", "shared-experts"};
  YamlMap map(root_.child("schedule"), "schedule", mistakes_);
  scenario_.overlap = map.choice_or("overlap", "none", kOverlaps) == "none"
                          ? Overlap::kNone
                          : Overlap::kSharedExperts;
  if (scenario_.training && cluster_read_ && model_read_) {
    scenario_.pipeline = read_pipeline(map, *scenario_.training, scenario_.layout,
                                       static_cast<int>(scenario_.model.layers.size()), mistakes_);
  }
  map.finish();
}

void ScenarioReader::read_host() {
  static const std::vector<std::string> kModes = {"graph", "eager"};
  YamlMap map(root_.child("host"), "host", mistakes_);
  HostSpec& host = scenario_.host;
  host.launch =
      map.choice_or("launch", "graph", kModes) == "graph" ? LaunchMode::kGraph : LaunchMode::kEager;
  const bool graph = host.launch == LaunchMode::kGraph;
  // Assumed: a copy of some hundred bytes, a synchronisation, and the launch of what waits for it.
  host.per_sync = map.duration_or("per_sync", Duration(20'000'000));
  // Assumed: about a microsecond between dependent kernels of a CUDA graph, some tens to launch
  // one, 5 per eager launch.
  host.gap = map.duration_or("gap", Duration(1'000'000));
  host.per_step = map.duration_or("per_step", Duration(20'000'000));
  if (graph && map.has("per_launch"))
    scenario_.warnings.push_back("host.per_launch has no effect with launch: graph");
  host.per_launch = graph ? Duration(0) : map.duration_or("per_launch", Duration(5'000'000));
  map.finish();
}

void ScenarioReader::read_memory() {
  YamlMap map(root_.child("memory"), "memory", mistakes_);
  scenario_.framework_reserve = map.bytes_or("framework_reserve", Bytes(4LL << 30));
  static const std::vector<std::string> kWords = {"refuse", "warn"};
  scenario_.run_without_fit = map.choice_or("does_not_fit", "refuse", kWords) == "warn";
  map.finish();
}

void ScenarioReader::read_kernels() {
  const bool known = model_read_ && cluster_read_;
  scenario_.kernels = read_kernel_choice(root_, known ? &scenario_.model : nullptr,
                                         scenario_.device_types, mistakes_);
}

const Routing* ScenarioReader::first_routing() const {
  const std::vector<BlockId> routed = routed_blocks(scenario_.model);
  return routed.empty() ? nullptr : &*block_at(scenario_.model, routed.front()).ffn().routing;
}

// What only shows when the parts are seen together.
void ScenarioReader::cross_check() {
  const ParallelLayout& layout = scenario_.layout;
  if (!scenario_.training && cluster_read_ && (layout.pp > 1 || layout.cp > 1 || layout.etp > 1)) {
    mistakes_.add(root_.place_of("parallel"),
                  "pp, cp and etp above 1 are for training: inference runs on tp x dp ranks",
                  "leave them out, or use workload.kind: training");
  }
  const std::int64_t sequences = scenario_.workload.tokens_per_gpu * layout.world;
  if (scenario_.workload.phase == Phase::kDecode && sequences > kMostSequences) {
    mistakes_.add(root_.place_of("workload"),
                  "this asks for " + std::to_string(sequences) + " sequences at once over " +
                      std::to_string(layout.world) + " GPUs; the most is " +
                      std::to_string(kMostSequences),
                  "lower tokens_per_gpu");
  }
  const Routing* routing = first_routing();
  if (routing == nullptr) return;
  if (cluster_read_) {
    const Place place = root_.has("network") ? root_.place_of("network") : root_.place();
    scenario_.network =
        choose_fidelity(scenario_.network.wish, scenario_.cluster, *scenario_.exchange,
                        !scenario_.disturbances.empty(),
                        scenario_.training ? layout.world : layout.ep, place, mistakes_);
    const std::int64_t copies = routing->experts + scenario_.placement.redundant_experts;
    const std::int64_t slots = (copies + layout.ep - 1) / layout.ep * layout.ep;
    check_exchange_size(scenario_.network, layout.ep, slots, place, mistakes_);
  }
  const std::string experts = std::to_string(routing->experts);
  if (scenario_.training && scenario_.placement.redundant_experts > 0) {
    mistakes_.add(root_.place_of("placement"),
                  "redundant experts are for inference: in training copies of an expert inside a "
                  "group would need their gradients summed",
                  "leave placement.redundant_experts out; more sets of experts are parallel.edp");
  }
  if (scenario_.placement.redundant_experts > routing->experts * (layout.ep - 1)) {
    mistakes_.add(root_.place_of("placement"),
                  std::to_string(scenario_.placement.redundant_experts) +
                      " redundant experts are more than every expert on every rank: " + experts +
                      " experts, ep " + std::to_string(layout.ep));
  }
  if (layout.ep > routing->experts + scenario_.placement.redundant_experts) {
    scenario_.warnings.push_back("ep " + std::to_string(layout.ep) + " is more than the " +
                                 experts + " experts and their copies: some ranks hold none");
  }
  for (const auto& [type, device] : scenario_.device_types) {
    if (scenario_.communication_sms >= device.sms) {
      mistakes_.add(root_.place_of("communication"),
                    "communication cannot hold " + std::to_string(scenario_.communication_sms) +
                        " SMs: " + type + " has " + std::to_string(device.sms));
    }
  }
}

}  // namespace

bool PlacementChoice::needs_load() const {
  return redundant_experts > 0 || policy->name == "balanced" || policy->name.substr(0, 4) == "eplb";
}

RoutingShape Scenario::routing_shape() const {
  RoutingShape shape;
  for (const BlockId id : routed_blocks(model)) {
    const Routing& gate = *block_at(model, id).ffn().routing;
    shape.experts.push_back(static_cast<int>(gate.experts));
    shape.top_k = static_cast<int>(gate.top_k);
  }
  return shape;
}

Scenario read_scenario(YamlDocument& document, const Catalog& catalog) {
  return ScenarioReader(document, catalog).read();
}

std::unique_ptr<YamlDocument> load_scenario(const std::string& file,
                                            const ScenarioOverrides& overrides,
                                            const Catalog& catalog) {
  std::unique_ptr<YamlDocument> document = YamlDocument::load(catalog.scenario_file(file));
  for (const std::string& assignment : overrides.assignments) document->set(assignment);
  if (overrides.seed) {
    const std::optional<std::int64_t> seed = parse_count(*overrides.seed);
    if (!seed || *seed < 0 || *seed > kLargestSeed) {
      throw Error(Place{"--seed"}, "'" + *overrides.seed + "' is not a whole number from 0 to " +
                                       std::to_string(kLargestSeed));
    }
    document->set("seed=" + std::to_string(*seed));
  }
  return document;
}

Scenario read_scenario(const std::string& file, const ScenarioOverrides& overrides,
                       const Catalog& catalog) {
  return read_scenario(*load_scenario(file, overrides, catalog), catalog);
}

}  // namespace sim
