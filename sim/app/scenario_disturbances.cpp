#include "sim/app/scenario_disturbances.h"

#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <utility>

#include "sim/app/scenario_device_disturbances.h"
#include "sim/input/quantity.h"
#include "sim/input/suggestion.h"
#include "sim/policies/disturbances/speed_profile.h"

namespace sim {
namespace {

constexpr std::size_t kMostDisturbances = 1000;
constexpr std::size_t kMostSteps = 10'000;     // of one schedule
constexpr std::size_t kMostMatches = 1 << 20;  // links, over all disturbances
constexpr std::ptrdiff_t kMostStars = 6;       // of one pattern: matching takes long with many
constexpr std::size_t kMostCompared = 20'000;  // names that a suggestion looks at
constexpr Duration kShortestPhase{1'000'000};  // 1 us: shorter phases are what `cap` is for

// Of an entry whose mistake leaves them unread.
constexpr const char* kAllKeys[] = {"from",       "until",      "reroute", "capacity",
                                    "capacities", "background", "jitter",  "slowdown",
                                    "drift",      "nic",        "stops",   "timeout"};

Time at_time(Duration since_start) { return Time(since_start); }

class DisturbanceReader {
 public:
  DisturbanceReader(YamlNode node, const Cluster& cluster, Mistakes& mistakes,
                    std::vector<std::string>& warnings)
      : map_(std::move(node), "a disturbance", mistakes), cluster_(cluster), warnings_(warnings) {}

  void read(DisturbanceList& list);

 private:
  LinkDisturbance read_of_links();
  void read_of_devices(DisturbanceList& list);
  LinkDisturbance read_nic(const std::string& who, const std::vector<DeviceId>& devices);
  std::vector<LinkId> read_links(std::string& pattern);
  std::string no_match_hint(const std::string& pattern) const;
  void read_window(Time& from, std::optional<Time>& until);
  CapacityStep read_capacity(YamlMap& map, const std::vector<LinkId>& links);
  CapacitySchedule read_schedule(const std::vector<LinkId>& links);
  void read_reroute(CapacitySchedule& schedule);
  BackgroundTraffic read_background();
  LatencyJitter read_jitter();
  double seconds(YamlMap& map, std::string_view key);

  YamlMap map_;
  const Cluster& cluster_;
  std::vector<std::string>& warnings_;
};

void DisturbanceReader::read(DisturbanceList& list) {
  if (map_.has("device") && map_.has("link")) {
    for (const char* key : kAllKeys) map_.has(key);  // known all the same
    map_.mistake("link", "a disturbance is of links or of devices, not of both");
  } else if (map_.has("device")) {
    read_of_devices(list);
  } else {
    list.links.push_back(read_of_links());
  }
  map_.finish();
}

void DisturbanceReader::read_of_devices(DisturbanceList& list) {
  std::string who;
  const std::vector<DeviceId> devices = read_devices(map_, cluster_, who);
  std::vector<std::string> found;
  for (const char* effect : {"slowdown", "drift", "jitter", "nic", "stops"}) {
    if (map_.has(effect)) found.emplace_back(effect);
  }
  if (found.size() != 1 || devices.empty()) {
    for (const char* key : kAllKeys) map_.has(key);  // known all the same
    if (found.size() == 1) return;
    map_.mistake("device",
                 found.empty()
                     ? "a disturbance says what happens to its devices"
                     : "a disturbance is one thing: '" + found[0] + "' or '" + found[1] + "'",
                 "one of slowdown, drift, jitter, nic, stops");
  } else if (found[0] == "nic") {
    list.links.push_back(read_nic(who, devices));
  } else {
    DeviceDisturbance disturbance;
    disturbance.who = who;
    disturbance.devices = devices;
    read_device_effect(map_, disturbance);
    list.devices.push_back(std::move(disturbance));
  }
}

// A capacity schedule of the links between the devices and their NICs.
LinkDisturbance DisturbanceReader::read_nic(const std::string& who,
                                            const std::vector<DeviceId>& devices) {
  LinkDisturbance result;
  result.pattern = "NIC of " + who;
  result.links = nic_links(map_, cluster_, devices);
  CapacitySchedule schedule;
  CapacityStep step;
  if (map_.child("nic").is_scalar()) {
    const std::string word = map_.text("nic");
    if (word != "failed")
      map_.mistake("nic", "'nic' is 'failed' or a capacity, not '" + word + "'",
                   "like nic: {capacity: 0.25}");
    step.share = 0;
  } else {
    YamlMap nic = map_.map("nic");
    step = read_capacity(nic, result.links);
    nic.finish();
  }
  std::optional<Time> until;
  read_window(step.at, until);
  schedule.steps.push_back(step);
  if (until) schedule.steps.push_back({*until, 1, std::nullopt});
  read_reroute(schedule);
  result.effect = schedule;
  return result;
}

LinkDisturbance DisturbanceReader::read_of_links() {
  LinkDisturbance result;
  result.links = read_links(result.pattern);
  static constexpr const char* kEffects[] = {"capacity", "capacities", "background", "jitter"};
  std::vector<std::string> found;
  for (const char* effect : kEffects) {
    if (map_.has(effect)) found.emplace_back(effect);
  }
  if (found.size() != 1) {
    for (const char* key : {"from", "until", "reroute"}) map_.has(key);  // known all the same
    map_.mistake("link",
                 found.empty()
                     ? "a disturbance says what happens to its links"
                     : "a disturbance is one thing: '" + found[0] + "' or '" + found[1] + "'",
                 "one of capacity, capacities, background, jitter");
  } else if (found[0] == "background") {
    result.effect = read_background();
  } else if (found[0] == "jitter") {
    result.effect = read_jitter();
  } else {
    result.effect = read_schedule(result.links);
  }
  return result;
}

std::vector<LinkId> DisturbanceReader::read_links(std::string& pattern) {
  pattern = map_.text("link");
  std::vector<LinkId> links;
  if (pattern.empty()) return links;
  if (std::count(pattern.begin(), pattern.end(), '*') > kMostStars) {
    map_.mistake("link", "'link' has more than " + std::to_string(kMostStars) + " stars");
    return links;
  }
  for (std::size_t l = 0; l < cluster_.links.size(); ++l) {
    if (fnmatch(pattern.c_str(), cluster_.links[l].name.c_str(), 0) == 0)
      links.emplace_back(static_cast<std::int64_t>(l));
  }
  if (links.empty())
    map_.mistake("link", "no link matches '" + pattern + "'", no_match_hint(pattern));
  return links;
}

// The nearest name for a name, a name of each kind of link for a pattern.
std::string DisturbanceReader::no_match_hint(const std::string& pattern) const {
  const bool glob = pattern.find_first_of("*?[") != std::string::npos;
  if (!glob && cluster_.links.size() <= kMostCompared) {
    std::vector<std::string> names;
    for (const Link& link : cluster_.links) names.push_back(link.name);
    return suggest(pattern, names);
  }
  std::map<LinkKind, std::string> first;
  for (const Link& link : cluster_.links) first.emplace(link.kind, link.name);
  std::string hint = "links are called like";
  for (const auto& [kind, name] : first) hint += (kind == first.begin()->first ? " " : ", ") + name;
  return hint + "; `simulate cluster show --json` lists them";
}

void DisturbanceReader::read_window(Time& from, std::optional<Time>& until) {
  from = at_time(map_.duration_or("from", Duration(0)));
  if (!map_.has("until")) return;
  until = at_time(map_.duration("until"));
  if (*until <= from) map_.mistake("until", "'until' must be later than 'from'");
}

CapacityStep DisturbanceReader::read_capacity(YamlMap& map, const std::vector<LinkId>& links) {
  CapacityStep step;
  const std::string text = map.text("capacity");
  if (text.empty()) return step;
  if (const std::optional<double> share = parse_number(text)) {
    step.share = *share;
    if (!(*share >= 0 && *share <= 1)) {
      map.mistake("capacity", "'capacity' is a share of the link's own, from 0 to 1, not " + text,
                  "or a rate with a unit, like 25 GB/s");
    }
    return step;
  }
  std::string why;
  step.rate = parse_bandwidth(text, why);
  if (!step.rate) {
    map.mistake("capacity", "'capacity' is neither a share from 0 to 1 nor a rate: '" + text + "'",
                "like 0.5 or 25 GB/s");
    return step;
  }
  for (const LinkId id : links) {
    const Link& link = cluster_.links[id.index()];
    if (step.rate->count() <= link.capacity.count()) continue;
    map.mistake("capacity", "a disturbance makes no link faster: " + link.name + " has " +
                                format_bandwidth(link.capacity));
    break;
  }
  return step;
}

CapacitySchedule DisturbanceReader::read_schedule(const std::vector<LinkId>& links) {
  CapacitySchedule schedule;
  if (map_.has("capacity")) {
    CapacityStep step = read_capacity(map_, links);
    std::optional<Time> until;
    read_window(step.at, until);
    schedule.steps.push_back(step);
    if (until) schedule.steps.push_back({*until, 1, std::nullopt});
  } else {
    const std::vector<YamlNode> items = map_.list_or_empty("capacities");
    if (items.empty() || items.size() > kMostSteps) {
      map_.mistake("capacities", "'capacities' has " + std::to_string(items.size()) +
                                     " entries; it needs 1 to " + std::to_string(kMostSteps));
      return {{CapacityStep{}}, std::nullopt};
    }
    for (const YamlNode& item : items) {
      YamlMap entry(item, "an entry of 'capacities'", map_.mistakes());
      CapacityStep step = read_capacity(entry, links);
      step.at = at_time(entry.duration("at"));
      entry.finish();
      if (!schedule.steps.empty() && step.at <= schedule.steps.back().at)
        entry.mistake("at", "the times of 'capacities' must ascend");
      schedule.steps.push_back(step);
    }
  }
  read_reroute(schedule);
  return schedule;
}

void DisturbanceReader::read_reroute(CapacitySchedule& schedule) {
  if (map_.has("reroute")) {
    schedule.reroute = map_.duration("reroute");
    const bool fails = std::any_of(
        schedule.steps.begin(), schedule.steps.end(),
        [](const CapacityStep& s) { return s.rate ? s.rate->count() == 0 : s.share == 0; });
    if (!fails)
      warnings_.push_back("reroute of a disturbance has no effect: its capacity is never 0");
  }
}

BackgroundTraffic DisturbanceReader::read_background() {
  BackgroundTraffic traffic;
  read_window(traffic.from, traffic.until);
  YamlMap load = map_.map("background");
  traffic.weight = load.number_or("weight", 1, {1e-6, 1e6});
  if (load.has("cap")) {
    traffic.cap = load.bandwidth("cap");
    if (traffic.cap->count() <= 0) load.mistake("cap", "'cap' of background must be positive");
  }
  if (load.has("on") != load.has("off")) {
    load.mistake(load.has("on") ? "on" : "off", "'on' and 'off' of background go together",
                 "like on: 1 ms, off: 3 ms");
  } else if (load.has("on")) {
    traffic.on = load.duration("on");
    traffic.off = load.duration("off");
    for (const char* key : {"on", "off"}) {
      if (*(std::string_view(key) == "on" ? traffic.on : traffic.off) < kShortestPhase)
        load.mistake(key, "phases of background are at least " + format_duration(kShortestPhase),
                     "a 'cap' stands for shorter ones");
    }
  }
  load.finish();
  return traffic;
}

double DisturbanceReader::seconds(YamlMap& map, std::string_view key) {
  return to_seconds(map.duration(key));
}

LatencyJitter DisturbanceReader::read_jitter() {
  static const std::vector<std::string> kNames = {"normal", "lognormal", "exponential", "pareto",
                                                  "uniform"};
  LatencyJitter jitter;
  read_window(jitter.from, jitter.until);
  YamlMap map = map_.map("jitter");
  const std::size_t before = map.mistakes().list().size();
  const std::string name = map.choice("distribution", kNames);
  if (map.mistakes().list().size() > before) return jitter;  // its other keys depend on the name
  DelayModel& delay = jitter.delay;
  if (name == "normal") {
    delay = {DelayDistribution::kNormal, seconds(map, "mean"), seconds(map, "deviation")};
  } else if (name == "lognormal") {
    delay = {DelayDistribution::kLognormal, seconds(map, "median"), map.number("sigma", {0, 5})};
  } else if (name == "exponential") {
    delay = {DelayDistribution::kExponential, seconds(map, "mean"), 0};
  } else if (name == "pareto") {
    delay = {DelayDistribution::kPareto, seconds(map, "least"), map.number("shape", {0.1, 100})};
  } else if (name == "uniform") {
    delay = {DelayDistribution::kUniform, seconds(map, "least"), seconds(map, "most")};
    if (delay.spread < delay.middle)
      map.mistake("most", "'most' of jitter must not be below 'least'");
  }
  for (const double each :
       {delay.middle, name == "normal" || name == "uniform" ? delay.spread : 0}) {
    if (each <= DelayModel::kLongestDelay) continue;
    map.mistake("distribution", "jitter is at most 1 s");
    break;
  }
  map.finish();
  return jitter;
}

}  // namespace

DisturbanceList read_disturbances(YamlMap& root, const Cluster& cluster,
                                  std::vector<std::string>& warnings) {
  DisturbanceList result;
  const std::vector<YamlNode> items = root.list_or_empty("disturbances");
  if (items.size() > kMostDisturbances) {
    root.mistake("disturbances",
                 "this scenario has " + std::to_string(items.size()) +
                     " disturbances; the most is " + std::to_string(kMostDisturbances),
                 "one pattern can name many links");
    return result;
  }
  std::size_t matches = 0;
  std::vector<std::size_t> slowed(cluster.devices.size());
  for (const YamlNode& item : items) {
    const std::size_t links_before = result.links.size();
    const std::size_t devices_before = result.devices.size();
    DisturbanceReader(item, cluster, root.mistakes(), warnings).read(result);
    for (std::size_t i = links_before; i < result.links.size(); ++i)
      matches += result.links[i].links.size();
    for (std::size_t i = devices_before; i < result.devices.size(); ++i) {
      const DeviceDisturbance& added = result.devices[i];
      matches += added.devices.size();
      if (!std::holds_alternative<DeviceSlowdown>(added.effect) &&
          !std::holds_alternative<DeviceDrift>(added.effect))
        continue;
      for (const DeviceId device : added.devices) {
        if (++slowed[device.index()] != SpeedProfile::kMostPieces + 1) continue;
        root.mistake("disturbances", "gpu " + std::to_string(device.value()) + " has more than " +
                                         std::to_string(SpeedProfile::kMostPieces) +
                                         " slowdowns and drifts");
        return result;
      }
    }
    if (matches > kMostMatches) {
      root.mistake("disturbances", "the disturbances match more than " +
                                       std::to_string(kMostMatches) +
                                       " links and devices together");
      break;
    }
  }
  return result;
}

}  // namespace sim
