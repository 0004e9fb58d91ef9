#include "sim/app/scenario_device_disturbances.h"

#include <algorithm>
#include <cmath>

#include "sim/input/quantity.h"
#include "sim/input/suggestion.h"
#include "sim/workloads/kinds.h"

namespace sim {
namespace {

constexpr double kMostFactor = 1000;
constexpr int kDefaultTimeoutSeconds = 600;  // of NCCL's process group in PyTorch

std::optional<DeviceId> device_of(YamlMap& map, const Cluster& cluster, double number,
                                  const std::string& text) {
  const std::size_t count = cluster.devices.size();
  if (number >= 0 && number < static_cast<double>(count) && std::floor(number) == number)
    return DeviceId(static_cast<std::int64_t>(number));
  map.mistake("device", "there is no gpu " + text + ": the cluster has gpu 0 to " +
                            std::to_string(count - 1));
  return std::nullopt;
}

void read_window(YamlMap& map, Time& from, std::optional<Time>& until) {
  from = Time(map.duration_or("from", Duration(0)));
  if (!map.has("until")) return;
  until = Time(map.duration("until"));
  if (*until <= from) map.mistake("until", "'until' must be later than 'from'");
}

KernelJitter read_jitter(YamlMap& map) {
  static const std::vector<std::string> kNames = {"lognormal", "exponential", "uniform"};
  KernelJitter jitter;
  read_window(map, jitter.from, jitter.until);
  YamlMap spec = map.map("jitter");
  const std::size_t before = map.mistakes().list().size();
  const std::string name = spec.choice("distribution", kNames);
  if (map.mistakes().list().size() > before) return jitter;  // its other keys depend on the name
  FactorModel& factor = jitter.factor;
  if (name == "lognormal") {
    factor = {FactorDistribution::kLognormal, 1, spec.number("sigma", {0, 2})};
  } else if (name == "exponential") {
    factor = {FactorDistribution::kExponential, 1, spec.number("mean", {0, kMostFactor})};
  } else {
    factor = {FactorDistribution::kUniform,
              spec.number("least", {FactorModel::kLeast, FactorModel::kMost}),
              spec.number("most", {FactorModel::kLeast, FactorModel::kMost})};
    if (factor.spread < factor.least)
      spec.mistake("most", "'most' of jitter must not be below 'least'");
  }
  std::vector<std::string> names;
  for (int kind = 0; kind <= static_cast<int>(TaskKind::kOptimizer); ++kind)
    names.emplace_back(kTaskKindNames[static_cast<std::size_t>(kind)]);
  for (const std::string& kernel : spec.texts_or_empty("kernels")) {
    const auto at = std::find(names.begin(), names.end(), kernel);
    if (at == names.end()) {
      spec.mistake("kernels", "there are no kernels called '" + kernel + "'",
                   suggest(kernel, names));
      continue;
    }
    jitter.kinds.push_back(static_cast<std::int16_t>(at - names.begin()));
    jitter.kernels.push_back(kernel);
  }
  spec.finish();
  return jitter;
}

DeviceDrift read_drift(YamlMap& map) {
  DeviceDrift drift;
  read_window(map, drift.from, drift.until);
  YamlMap spec = map.map("drift");
  drift.per_second = spec.number("per_second", {1e-9, 1e6});
  drift.most = spec.number("most", {1, kMostFactor});
  spec.finish();
  return drift;
}

}  // namespace

std::vector<DeviceId> read_devices(YamlMap& map, const Cluster& cluster, std::string& who) {
  std::vector<DeviceId> devices;
  const YamlNode node = map.child("device");
  if (node.is_list()) {
    for (const std::int64_t index : map.counts_or_empty("device")) {
      const auto device =
          device_of(map, cluster, static_cast<double>(index), std::to_string(index));
      if (!device) return {};
      if (std::find(devices.begin(), devices.end(), *device) != devices.end()) {
        map.mistake("device", "gpu " + std::to_string(index) + " stands twice in 'device'");
        return {};
      }
      devices.push_back(*device);
    }
    if (devices.empty()) map.mistake("device", "'device' names no GPU");
    who = devices.empty() ? "" : "gpu " + std::to_string(devices[0].value());
    if (devices.size() > 1) who += " and others";
    return devices;
  }
  const std::string text = map.text("device");
  if (text.empty()) return devices;
  if (const std::optional<double> number = parse_number(text)) {
    const auto device = device_of(map, cluster, *number, text);
    if (device) devices.push_back(*device);
    who = "gpu " + text;
    return devices;
  }
  who = text;
  if (text == "all") {
    for (std::size_t d = 0; d < cluster.devices.size(); ++d)
      devices.emplace_back(static_cast<std::int64_t>(d));
    return devices;
  }
  std::vector<std::string> names;
  for (const ClusterNode& each : cluster.nodes) {
    if (each.name == text) return each.devices;
    names.push_back(each.name);
  }
  const std::string like = suggest(text, names);
  map.mistake(
      "device", "'device' is no GPU and no node: '" + text + "'",
      "a number, a list of numbers, all, or a node's name" + (like.empty() ? "" : "; " + like));
  return devices;
}

std::vector<LinkId> nic_links(YamlMap& map, const Cluster& cluster,
                              const std::vector<DeviceId>& devices) {
  std::vector<LinkId> links;
  std::vector<bool> wanted(cluster.devices.size());
  std::vector<bool> found(cluster.devices.size());
  for (const DeviceId device : devices) wanted[device.index()] = true;
  for (std::size_t l = 0; l < cluster.links.size(); ++l) {
    const Link& link = cluster.links[l];
    if (link.kind != LinkKind::kNic) continue;
    for (const VertexId end : {link.from, link.to}) {
      const std::size_t vertex = end.index();
      if (vertex >= wanted.size() || !wanted[vertex]) continue;
      found[vertex] = true;
      links.emplace_back(static_cast<std::int64_t>(l));
      break;
    }
  }
  for (const DeviceId device : devices) {
    if (found[device.index()]) continue;
    map.mistake("nic", "gpu " + std::to_string(device.value()) + " has no NIC of its own",
                "name the links with 'link' instead; `simulate cluster show --json` lists them");
    return {};
  }
  return links;
}

void read_device_effect(YamlMap& map, DeviceDisturbance& disturbance) {
  if (map.has("slowdown")) {
    DeviceSlowdown slow;
    slow.factor = map.number("slowdown", {1, kMostFactor});
    read_window(map, slow.from, slow.until);
    disturbance.effect = slow;
  } else if (map.has("drift")) {
    disturbance.effect = read_drift(map);
  } else if (map.has("jitter")) {
    disturbance.effect = read_jitter(map);
  } else {
    DeviceStop stop;
    stop.at = Time(map.duration("stops"));
    stop.timeout = map.duration_or("timeout", std::chrono::seconds(kDefaultTimeoutSeconds));
    disturbance.effect = stop;
  }
}

}  // namespace sim
