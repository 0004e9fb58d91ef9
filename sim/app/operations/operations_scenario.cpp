#include "sim/app/operations/operations_scenario.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "sim/core/error.h"
#include "sim/input/quantity.h"
#include "sim/workloads/layer_search.h"

namespace sim {
namespace {

constexpr CountRange kLayers{1, 1000};
constexpr std::int64_t kMostSize = 1 << 20;           // of a batch, a sequence, a hidden size
constexpr std::size_t kMostConfigurations = 100'000;  // combinations of sizes

class OperationsReader {
 public:
  explicit OperationsReader(YamlDocument& document)
      : document_(document), root_(document.root(), "the scenario", mistakes_) {}
  OperationsScenario read();

 private:
  void read_workload();
  void read_operations();
  void read_schedule();
  void read_sizes(YamlMap& map);
  void read_times(YamlMap& map);
  std::vector<double> counts(YamlMap& map, std::string_view key, CountRange range = {1, kMostSize});
  std::vector<double> numbers(YamlMap& map, std::string_view key);
  std::vector<bool> feed_forwards(YamlMap& map);
  void read_pass(YamlMap& map, bool backward, int gemms, LayerOperations& operations);

  YamlDocument& document_;
  Mistakes mistakes_;
  YamlMap root_;
  OperationsScenario scenario_;
};

template <class Table>
std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> names;
  for (const auto& entry : table) names.emplace_back(entry.name);
  return names;
}

OperationsScenario OperationsReader::read() {
  mistakes_.throw_if_any();
  scenario_.name = root_.text_or("name", std::filesystem::path(document_.name()).stem().string());
  read_workload();
  read_operations();
  read_schedule();
  root_.finish();
  mistakes_.throw_if_any();
  scenario_.text = document_.to_text();
  scenario_.keys = document_.read_keys();
  return std::move(scenario_);
}

void OperationsReader::read_workload() {
  YamlMap map = root_.map("workload");
  map.text("kind");
  scenario_.layers = static_cast<int>(map.count_or("layers", 1, kLayers));
  map.finish();
}

void OperationsReader::read_operations() {
  YamlMap map = root_.map("operations");
  const std::vector<std::string> names = names_of(kPublishedCosts);
  const std::string name = map.choice("published", names);
  const auto found = std::find_if(kPublishedCosts.begin(), kPublishedCosts.end(),
                                  [&name](const LinearCosts& costs) { return costs.name == name; });
  scenario_.costs = found != kPublishedCosts.end() ? &*found : &kPublishedCosts.front();
  scenario_.given_times = map.has("forward") || map.has("backward");
  if (scenario_.given_times) {
    read_times(map);
  } else {
    read_sizes(map);
  }
  map.finish();
}

// A number or a list of numbers; every combination of the lists is run.
std::vector<double> OperationsReader::counts(YamlMap& map, std::string_view key, CountRange range) {
  const YamlNode node = map.child(key);
  if (!node.defined() || !node.is_list()) return {static_cast<double>(map.count(key, range))};
  std::vector<double> values;
  for (const std::int64_t value : map.counts_or_empty(key, range))
    values.push_back(static_cast<double>(value));
  if (values.empty()) map.mistake(key, fmt::format("the list '{}' is empty", key));
  return values;
}

std::vector<double> OperationsReader::numbers(YamlMap& map, std::string_view key) {
  constexpr NumberRange kRange{0.01, 1000};
  const YamlNode node = map.child(key);
  if (!node.defined() || !node.is_list()) return {map.number(key, kRange)};
  std::vector<double> values;
  for (const YamlNode& item : node.items()) {
    const std::optional<double> value = item.is_scalar() ? parse_number(item.text()) : std::nullopt;
    if (value && *value >= kRange.least && *value <= kRange.most) {
      values.push_back(*value);
    } else {
      mistakes_.add(item.place(), fmt::format("'{}' holds numbers from {} to {}", key, kRange.least,
                                              kRange.most));
    }
  }
  if (node.items().empty()) map.mistake(key, fmt::format("the list '{}' is empty", key));
  return values;
}

// simple: two matrices per expert; gated: three.
std::vector<bool> OperationsReader::feed_forwards(YamlMap& map) {
  static const std::vector<std::string> kKinds = {"simple", "gated"};
  const YamlNode node = map.child("feed_forward");
  if (!node.defined() || !node.is_list())
    return {map.choice_or("feed_forward", "simple", kKinds) == "gated"};
  std::vector<bool> values;
  for (const YamlNode& item : node.items()) {
    const std::string text = item.is_scalar() ? item.text() : "";
    if (text != "simple" && text != "gated")
      mistakes_.add(item.place(), "'feed_forward' holds simple and gated");
    values.push_back(text == "gated");
  }
  if (values.empty()) map.mistake("feed_forward", "the list 'feed_forward' is empty");
  return values;
}

void OperationsReader::read_sizes(YamlMap& map) {
  const std::vector<double> batches = counts(map, "batch");
  const std::vector<double> lengths = counts(map, "sequence_length");
  const std::vector<double> hiddens = counts(map, "hidden");
  const std::vector<double> ratios = numbers(map, "ffn_ratio");
  const std::vector<double> factors = numbers(map, "capacity_factor");
  const std::vector<bool> gates = feed_forwards(map);
  const int top_k = static_cast<int>(map.count_or("top_k", 2, {1, 1024}));
  double count = 1;
  for (const std::size_t size : {batches.size(), lengths.size(), hiddens.size(), ratios.size(),
                                 factors.size(), gates.size()})
    count *= static_cast<double>(size);
  if (count > static_cast<double>(kMostConfigurations)) {
    map.mistake("batch", fmt::format("the lists make {:.0f} combinations, more than {}", count,
                                     kMostConfigurations));
    return;
  }
  for (const double batch : batches) {
    for (const double length : lengths) {
      for (const double hidden : hiddens) {
        for (const double ratio : ratios) {
          for (const double factor : factors) {
            for (const bool gated : gates) {
              const LayerShape shape{static_cast<int>(batch),
                                     static_cast<int>(length),
                                     static_cast<int>(hidden),
                                     ratio,
                                     factor,
                                     top_k,
                                     gated};
              scenario_.configurations.push_back(
                  {fmt::format("batch {} length {} hidden {} ffn {} x capacity {} {}", batch,
                               length, hidden, ratio, factor, gated ? "gated" : "simple"),
                   operations_of(*scenario_.costs, shape)});
            }
          }
        }
      }
    }
  }
}

// Times of whole operations, as tables of papers have them. What chunks repeat is the published
// start-up, as long as the time holds it.
void OperationsReader::read_pass(YamlMap& map, bool backward, int gemms,
                                 LayerOperations& operations) {
  using enum LayerOperation;
  const LinearCosts& costs = *scenario_.costs;
  constexpr double kSecondsPerMs = 1e-3;
  auto& pass = backward ? operations.backward : operations.forward;
  const auto set = [&](LayerOperation operation, double seconds, double start_ms) {
    const double start = std::min(seconds, start_ms * kSecondsPerMs);
    pass[static_cast<std::size_t>(operation)] = {start, seconds - start};
  };
  const auto time = [&](const char* key) { return to_seconds(map.duration(key)); };
  const double exchange = time("all_to_all") / 2;  // dispatch and combine together
  set(kDispatch, exchange, costs.all_to_all.start_ms);
  set(kCombine, exchange, costs.all_to_all.start_ms);
  set(kGather, time("all_gather"), costs.all_gather.start_ms);
  set(kScatter, time("reduce_scatter"), costs.reduce_scatter.start_ms);
  set(kExperts, time("experts"), (backward ? 2 : 1) * gemms * costs.gemm.start_ms);
  set(kRouting, time("routing"), 0);
  set(kOrder, time("order"), 0);
  set(kAttention, time("attention"), 0);
  if (backward) set(kGradient, time("all_reduce"), costs.all_reduce.start_ms);
  map.finish();
}

void OperationsReader::read_times(YamlMap& map) {
  LayerConfiguration configuration;
  static const std::vector<std::string> kKinds = {"simple", "gated"};
  const int gemms = map.choice_or("feed_forward", "simple", kKinds) == "gated" ? 3 : 2;
  YamlMap forward = map.map("forward");
  read_pass(forward, false, gemms, configuration.operations);
  YamlMap backward = map.map("backward");
  read_pass(backward, true, gemms, configuration.operations);
  scenario_.configurations.push_back(std::move(configuration));
}

void OperationsReader::read_schedule() {
  YamlMap map = root_.map("schedule");
  const std::vector<std::string> names = names_of(kLayerPolicies);
  const auto policy = [&names](const std::string& name) -> const LayerPolicy* {
    const bool known = std::find(names.begin(), names.end(), name) != names.end();
    return known ? &find_layer_policy(name) : nullptr;
  };
  scenario_.policy = policy(map.choice("layer", names));
  if (map.has("baseline")) scenario_.baseline = policy(map.choice("baseline", names));
  if (map.text_or("degree", "auto") != "auto") {
    scenario_.degree = static_cast<int>(map.count("degree", {1, kMostDegree}));
    if (scenario_.policy != nullptr && !scenario_.policy->overlapped && *scenario_.degree > 1)
      map.mistake("degree",
                  fmt::format("{} overlaps nothing: its degree is 1", scenario_.policy->name));
  }
  map.finish();
}

}  // namespace

bool is_operations_scenario(YamlDocument& document) {
  const YamlNode root = document.root();
  if (!root.defined() || !root.is_map()) return false;
  for (const auto& [key, value] : root.entries()) {
    if (key != "workload" || !value.is_map()) continue;
    for (const auto& [inner, kind] : value.entries())
      if (inner == "kind") return kind.is_scalar() && kind.text() == "operations";
  }
  return false;
}

OperationsScenario read_operations_scenario(YamlDocument& document) {
  return OperationsReader(document).read();
}

}  // namespace sim
