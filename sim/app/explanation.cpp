#include "sim/app/explanation.h"

#include <algorithm>
#include <set>
#include <utility>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr std::size_t kKept = 16;  // places, links and experts told of each kind

bool is_kernel(Cause cause) {
  return cause <= Cause::kGemmStraggler || cause == Cause::kSlowDevice || cause == Cause::kJitter;
}
bool is_network(Cause cause) { return cause == Cause::kNetwork || cause == Cause::kCongestion; }
bool is_slow(Cause cause) { return cause == Cause::kSlowDevice || cause == Cause::kJitter; }

template <class Key, class Name>
std::vector<CausePlace> sorted_places(const std::map<Key, Duration>& places, const Name& name) {
  std::vector<CausePlace> result;
  for (const auto& [key, time] : places) result.push_back({name(key), time});
  std::stable_sort(result.begin(), result.end(),
                   [](const CausePlace& a, const CausePlace& b) { return a.time > b.time; });
  if (result.size() > kKept) result.resize(kKept);
  return result;
}

// "node0/gpu3/nvlink-up" -> "node#/gpu#/nvlink-up": links of one name like it are of one kind.
std::string kind_of_link(const std::string& name) {
  std::string kind;
  for (const char c : name) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit) kind += c;
    if (digit && (kind.empty() || kind.back() != '#')) kind += '#';
  }
  return kind;
}

}  // namespace

Explainer::Explainer(const Scenario& scenario, std::optional<int> step)
    : scenario_(scenario), step_(step) {}

void Explainer::add(const StepEvidence& evidence) {
  if (step_ && evidence.batch.step.step != *step_) return;
  ++steps_;
  time_ += evidence.batch.step.duration;
  Duration booked{0};
  for (const PathSegment& segment : evidence.path) {
    add_segment(segment, evidence);
    for (const std::int64_t ps : segment.own) booked += Duration(ps);
  }
  SIM_CHECK(booked == evidence.batch.step.duration, "the critical path covers the step");
  add_records(evidence);
}

void Explainer::add_segment(const PathSegment& segment, const StepEvidence& evidence) {
  const PathRecord& record = segment.record;
  const int device = record.device.value();
  Duration kernels{0};
  Duration slow{0};
  Duration whole{0};
  std::string link;
  for (std::size_t c = 0; c < kCauseNames.size(); ++c) {
    const Duration time(segment.own[c]);
    if (time == Duration(0)) continue;
    const Cause cause = static_cast<Cause>(c);
    whole += time;
    if (is_kernel(cause)) kernels += time;
    if (is_slow(cause)) slow += time;
    Places& places = causes_[c];
    places.time += time;
    places.devices[device] += time;
    if (record.tag.layer >= 0) places.layers[record.tag.layer] += time;
    if (is_network(cause) && record.is_part && record.tightest.valid()) {
      if (link.empty()) link = evidence.resource_name(record.tightest);
      if (!link.empty()) places.links[link] += time;
    }
    if (cause == Cause::kTokenStraggler || cause == Cause::kGemmStraggler)
      stragglers_[{device, record.tag.layer}] += time;
  }
  if (scenario_.layout.pp > 1) stages_[scenario_.layout.stage(device)] += whole;
  if (kernels == Duration(0)) return;
  const auto [at, added] = device_spans_.try_emplace(device, record.start, record.end);
  if (!added) at->second.second = record.end;
  if (slow <= Duration(0)) return;
  Slow& sum = slow_[device];
  sum.cost += slow;
  sum.kernels += kernels;
  if (!sum.from) sum.from = record.start;
  sum.until = record.end;
}

void Explainer::add_records(const StepEvidence& evidence) {
  const StepBatch& batch = evidence.batch;
  const std::int64_t ranks =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(batch.devices.size()));
  Duration bubble{0};
  Duration exposed{0};
  for (const DeviceRecord& each : batch.devices) {
    bubble += each.pipeline_bubble;
    exposed += each.wait_peer + each.network;
  }
  bubble_ += bubble / ranks;
  exposed_ += exposed / ranks;
  for (const LinkRecord& each : batch.links) {
    LinkSum& sum = links_[each.link];
    sum.bytes += static_cast<double>(each.bytes.count());
    sum.busy += each.busy;
    sum.capacity = each.capacity.count();
  }
  for (const ExpertRecord& each : batch.experts) {
    ExpertSum& sum = experts_[{each.layer, each.expert.value()}];
    sum.rows += each.rows;
    sum.copies = each.replicas;
  }
  if (placements_.empty()) placements_ = evidence.placements;
}

std::vector<BusyExpert> Explainer::busy_experts() const {
  const std::vector<BlockId> routed = routed_blocks(scenario_.model);
  std::map<int, std::pair<double, int>> layer_rows;  // sum and experts
  for (const auto& [key, sum] : experts_) {
    layer_rows[key.first].first += static_cast<double>(sum.rows);
    ++layer_rows[key.first].second;
  }
  // Where stragglers cost most.
  std::vector<std::pair<std::pair<int, int>, Duration>> worst(stragglers_.begin(),
                                                              stragglers_.end());
  std::stable_sort(worst.begin(), worst.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  if (worst.size() > kKept) worst.resize(kKept);
  std::vector<BusyExpert> result;
  std::set<std::pair<int, int>> told;  // (layer, expert)
  for (const auto& [place, time] : worst) {
    const auto [device, layer] = place;
    const auto block = std::find_if(routed.begin(), routed.end(),
                                    [l = layer](const BlockId& b) { return b.layer == l; });
    if (block == routed.end()) continue;
    const std::size_t index = static_cast<std::size_t>(block - routed.begin());
    if (index >= placements_.size() || placements_[index].slots.empty()) continue;
    const ExpertPlacement& placement = placements_[index];
    const int position = scenario_.layout.ep_position(device);
    const BusyExpert* most = nullptr;
    BusyExpert best;
    for (int s = 0; s < placement.slots_per_rank; ++s) {
      const ExpertId expert =
          placement.slots[static_cast<std::size_t>(position * placement.slots_per_rank + s)];
      if (!expert.valid()) continue;
      const auto at = experts_.find({layer, expert.value()});
      if (at == experts_.end()) continue;
      const auto& [rows, count] = layer_rows.at(layer);
      const BusyExpert here{DeviceId(device), layer,        expert,
                            at->second.rows,  rows / count, at->second.copies};
      const auto per_copy = [](const BusyExpert& e) {
        return static_cast<double>(e.rows) / std::max(1, e.copies);
      };
      if (most != nullptr && per_copy(here) <= per_copy(best)) continue;
      best = here;
      most = &best;
    }
    if (most != nullptr && told.emplace(best.layer, best.expert.value()).second)
      result.push_back(best);
  }
  return result;
}

std::vector<BoundingLink> Explainer::bounding_links() const {
  std::map<std::string, Duration> times;
  for (const Cause cause : {Cause::kNetwork, Cause::kCongestion}) {
    for (const auto& [name, time] : causes_[static_cast<std::size_t>(cause)].links)
      times[name] += time;
  }
  std::map<std::string, double> greatest;  // capacity by kind
  for (const auto& [name, sum] : links_) {
    double& most = greatest[kind_of_link(name)];
    most = std::max(most, sum.capacity);
  }
  std::vector<BoundingLink> result;
  for (const CausePlace& place : sorted_places(times, [](const std::string& n) { return n; })) {
    BoundingLink link;
    link.name = place.name;
    link.time = place.time;
    const auto at = links_.find(place.name);
    if (at != links_.end() && at->second.capacity > 0 && time_ > Duration(0)) {
      const LinkSum& sum = at->second;
      link.known = true;
      link.busy = to_seconds(sum.busy) / to_seconds(time_);
      const double busy_s = to_seconds(sum.busy);
      link.used = busy_s > 0 ? std::min(1.0, sum.bytes / sum.capacity / busy_s) : 0;
      link.capacity_share = sum.capacity / greatest.at(kind_of_link(place.name));
    }
    result.push_back(std::move(link));
  }
  return result;
}

std::vector<SlowDevice> Explainer::slow_devices() const {
  std::vector<SlowDevice> result;
  for (const auto& [device, sum] : slow_) {
    SlowDevice slow;
    slow.device = DeviceId(device);
    slow.cost = sum.cost;
    const Duration should = sum.kernels - sum.cost;
    slow.factor = should > Duration(0) ? to_seconds(sum.kernels) / to_seconds(should) : 1;
    slow.from = *sum.from;
    slow.until = sum.until;
    const auto& [first, last] = device_spans_.at(device);
    slow.throughout = slow.from <= first && slow.until >= last;
    result.push_back(slow);
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const SlowDevice& a, const SlowDevice& b) { return a.cost > b.cost; });
  if (result.size() > kKept) result.resize(kKept);
  return result;
}

Explanation Explainer::result() const {
  SIM_CHECK(steps_ > 0, "a step was added");
  Explanation result;
  result.step = step_;
  result.steps = steps_;
  result.time = time_;
  for (std::size_t c = 0; c < kCauseNames.size(); ++c) {
    const Places& places = causes_[c];
    if (places.time == Duration(0)) continue;
    ExplainedCause cause;
    cause.cause = static_cast<Cause>(c);
    cause.time = places.time;
    cause.devices = sorted_places(places.devices, [](int d) { return "gpu " + std::to_string(d); });
    cause.layers = sorted_places(places.layers, [](int l) { return "layer " + std::to_string(l); });
    cause.links = sorted_places(places.links, [](const std::string& name) { return name; });
    result.causes.push_back(std::move(cause));
  }
  std::stable_sort(
      result.causes.begin(), result.causes.end(),
      [](const ExplainedCause& a, const ExplainedCause& b) { return a.time > b.time; });
  result.slow = slow_devices();
  result.experts = busy_experts();
  result.links = bounding_links();
  result.stages = sorted_places(stages_, [](int s) { return "stage " + std::to_string(s); });
  result.pipeline_bubble = bubble_;
  result.exposed = exposed_;
  result.verdict = verdict_of(result, scenario_);
  return result;
}

}  // namespace sim
