#include "sim/app/summary_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "analysis/summary.h"

namespace sim {
namespace {

constexpr std::size_t kShownDisturbances = 8;

double share_of(Duration part, Duration whole) {
  return whole > Duration(0) ? to_seconds(part) / to_seconds(whole) : 0;
}

struct Share {
  std::string name;
  Duration time;
};

void add_shares(std::string& text, std::vector<Share> shares, Duration whole, int steps) {
  std::stable_sort(shares.begin(), shares.end(),
                   [](const Share& a, const Share& b) { return a.time > b.time; });
  TextTable table;
  table.add_column("");
  table.add_column("", Align::kRight);
  table.add_column("", Align::kRight);
  table.add_column("");
  for (const Share& share : shares) {
    if (share.time == Duration(0)) continue;
    table.add_row({"  " + share.name, format_duration(share.time / steps),
                   percent(share_of(share.time, whole)),
                   share_bar(share_of(share.time, whole), 30)});
  }
  text += table.text();
}

std::string device_list(const Scenario& scenario) {
  std::map<std::string, int> counts;
  for (const ClusterDevice& device : scenario.cluster.devices) ++counts[device.device_type];
  std::string text;
  for (const auto& [type, count] : counts)
    text += (text.empty() ? "" : " + ") + std::to_string(count) + " x " + type;
  return text;
}

// Where a rank's time goes: busy by kind of kernel, then waiting.
std::vector<Share> rank_shares(const Recorder::Totals& totals) {
  const auto busy = [&](TaskKind kind) { return totals.busy[static_cast<std::size_t>(kind)]; };
  const auto wait = [&](WaitCause cause) { return totals.wait[static_cast<std::size_t>(cause)]; };
  return {{"attention", busy(TaskKind::kAttention)},
          {"experts", busy(TaskKind::kExperts)},
          {"shared experts", busy(TaskKind::kSharedExpert)},
          {"dense FFN", busy(TaskKind::kDenseFfn)},
          {"gate and permute", busy(TaskKind::kGate) + busy(TaskKind::kPermute)},
          {"norms", busy(TaskKind::kNorm)},
          {"embedding, LM head, sampling",
           busy(TaskKind::kEmbedding) + busy(TaskKind::kLmHead) + busy(TaskKind::kSampling)},
          {"optimizer", busy(TaskKind::kOptimizer)},
          {"waiting for a peer", wait(WaitCause::kPeer)},
          {"waiting for the network", wait(WaitCause::kNetwork)},
          {"pipeline bubble", totals.wait.back()},
          {"launch gaps", totals.launch},
          {"idle at the end", wait(WaitCause::kIdleEnd)}};
}

std::string worst_rank(const Recorder::Totals& totals, int steps) {
  std::map<int, Duration> blamed;
  for (const auto& [pair, duration] : totals.waited) blamed[pair.second] += duration;
  if (blamed.empty()) return "  no rank waited for another one's late start\n";
  const auto worst =
      std::max_element(blamed.begin(), blamed.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  const std::size_t rank = static_cast<std::size_t>(worst->first);
  Duration mean_expert{0};
  for (const Duration each : totals.expert)
    mean_expert += each / static_cast<std::int64_t>(totals.expert.size());
  const double ratio =
      mean_expert > Duration(0) ? to_seconds(totals.expert[rank]) / to_seconds(mean_expert) : 1;
  Duration all{0};
  for (const auto& each : blamed) all += each.second;
  return fmt::format(
      "  gpu {} is waited for most: {} of {} rank-time per step; its experts run {:.2f}x the mean "
      "({} per step)\n",
      worst->first, format_duration(worst->second / steps), format_duration(all / steps), ratio,
      format_duration(totals.expert[rank] / steps));
}

std::string memory_text(const Scenario& scenario, const RunOutcome& outcome) {
  std::size_t fullest = 0;
  for (std::size_t r = 0; r < outcome.memory.size(); ++r) {
    if (total(outcome.memory[r]) > total(outcome.memory[fullest])) fullest = r;
  }
  const Device& device = scenario.device_types.at(scenario.cluster.devices[fullest].device_type);
  std::string text =
      fmt::format("  {} of {} on gpu {}:", format_bytes(total(outcome.memory[fullest])),
                  format_bytes(device.memory_capacity), fullest);
  std::vector<MemoryItem> items = outcome.memory[fullest];
  std::stable_sort(items.begin(), items.end(),
                   [](const MemoryItem& a, const MemoryItem& b) { return a.bytes > b.bytes; });
  std::size_t column = text.size();
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string item =
        (i == 0 ? " " : ", ") + items[i].name + " " + format_bytes(items[i].bytes);
    if (column + item.size() > 118) {
      text += ",\n   ";
      column = 4;
      text += item.substr(1);
    } else {
      text += item;
    }
    column += item.size();
  }
  return text + "\n";
}

// The names with the most time, longest first: "experts, o_proj and 3 more".
std::string longest_names(const std::map<std::string, Duration>& times, std::size_t shown) {
  std::vector<std::pair<std::string, Duration>> sorted(times.begin(), times.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (std::size_t i = 0; i < std::min(shown, sorted.size()); ++i) {
    text += (i == 0 ? "" : ", ") + sorted[i].first;
  }
  if (sorted.size() > shown) text += fmt::format(" and {} more", sorted.size() - shown);
  return text;
}

std::string label_text(const RunOutcome& outcome) {
  std::map<std::string, Duration> by_label;
  Duration all{0};
  for (const CostRecord& cost : outcome.costs) {
    by_label[cost.label] += cost.duration;
    all += cost.duration;
  }
  std::string text;
  for (const auto& [label, duration] : by_label) {
    text += (text.empty() ? "  " : ", ") + percent(share_of(duration, all)) + " " + label;
  }
  text += "\n";
  if (outcome.out_of_range_share > 0) {
    std::map<std::string, Duration> outside;
    for (const CostRecord& cost : outcome.costs) {
      if (!cost.in_range) outside[cost.kernel] += cost.duration;
    }
    text += "  " + percent(outcome.out_of_range_share) + " lies outside the calibrated range (" +
            longest_names(outside, 4) + ")\n";
  }
  return text;
}

std::string groups_text(const ParallelLayout& layout) {
  std::string text = fmt::format("  groups         tp {}", layout.tp);
  if (layout.cp > 1) text += fmt::format(" x cp {}", layout.cp);
  text += fmt::format(" x dp {} for attention, ", layout.dp);
  if (layout.etp > 1) text += fmt::format("etp {} x ", layout.etp);
  text += fmt::format("ep {} x edp {} for experts", layout.ep, layout.edp);
  if (layout.pp > 1) text += fmt::format(", pp {}", layout.pp);
  return text + "\n";
}

std::string timeline_text(const TimelineReport& timeline) {
  std::string text = fmt::format("timeline: {} events in {}; open it at ui.perfetto.dev\n",
                                 timeline.events, timeline.file);
  if (timeline.left_out > 0) {
    text += fmt::format(
        "timeline: {} later events are left out; choose with --timeline-ranks, --timeline-layers, "
        "--timeline-steps, or raise --timeline-limit\n",
        timeline.left_out);
  }
  return text;
}

std::string batch_text(const Scenario& scenario) {
  const InferenceWorkload& workload = scenario.workload;
  std::string text =
      fmt::format("  batch          {} tokens per GPU, {} step{}", workload.tokens_per_gpu,
                  workload.steps, workload.steps == 1 ? "" : "s");
  if (!scenario.part.only_routed_blocks) {
    const char* what = workload.phase == Phase::kDecode ? "context" : "prompts of";
    text += workload.length.least == workload.length.most
                ? fmt::format(", {} {}", what, workload.length.least)
                : fmt::format(", {} {} to {}", what, workload.length.least, workload.length.most);
  }
  return text + "\n";
}

std::string recompute_text(const Recompute& recompute) {
  if (recompute.full) return "full";
  if (recompute.modules.empty()) return "none";
  std::string text;
  for (const RecomputeModule module : recompute.modules) {
    text += (text.empty() ? "" : ", ");
    text += recompute_module_names()[static_cast<std::size_t>(module)];
  }
  return text;
}

std::string training_text(const Scenario& scenario) {
  const TrainingWorkload& training = *scenario.training;
  std::string text = fmt::format(
      "  batch          {} sequences of {} tokens: {} micro-batch{} of {} per replica, {} step{}\n",
      training.sequences(scenario.layout), training.sequence_length, training.micro_batches,
      training.micro_batches == 1 ? "" : "es", training.micro_batch, training.steps,
      training.steps == 1 ? "" : "s");
  text += fmt::format("  training       ZeRO {}, gradients in {}, recompute {}, pipeline {}\n",
                      training.zero, to_text(training.formats.gradient),
                      recompute_text(training.recompute), scenario.pipeline);
  return text;
}

// Warnings, and what the run was.
std::string end_text(const Scenario& scenario, const RunOutcome& outcome,
                     const std::string& results) {
  std::string text;
  for (const std::string& warning : outcome.warnings) text += "warning: " + warning + "\n";
  text += fmt::format("\nseed {}, version {}, fingerprint {}\n", scenario.seed, kVersion,
                      outcome.fingerprint);
  text +=
      fmt::format("{} events, {} tasks, {} transfers in {:.2f} CPU s, {} at peak\n",
                  outcome.effort.events, outcome.effort.tasks, outcome.effort.transfers,
                  outcome.effort.cpu_s, format_bytes(Bytes(outcome.effort.peak_resident_bytes)));
  if (outcome.timeline) text += timeline_text(*outcome.timeline);
  if (!results.empty())
    text += fmt::format("results: run {} in {}; ask `simulate query {} summary`\n", outcome.run_id,
                        results, results);
  return text;
}

}  // namespace

std::string scenario_text(const Scenario& scenario) {
  static constexpr const char* kKinds[] = {"one layer", "prefill", "decode", "training"};
  const ParallelLayout& layout = scenario.layout;
  std::string text = fmt::format("{}, {} on {} ({}, {} node{})\n", scenario.model.name,
                                 kKinds[static_cast<int>(scenario.kind)], device_list(scenario),
                                 scenario.cluster.name, scenario.cluster.node_count(),
                                 scenario.cluster.node_count() == 1 ? "" : "s");
  text += groups_text(layout);
  if (scenario.training) {
    text += training_text(scenario);
  } else {
    text += batch_text(scenario);
  }
  const RoutingShape shape = scenario.routing_shape();
  if (!shape.experts.empty()) {
    const int slots =
        (shape.experts.front() + scenario.placement.redundant_experts + layout.ep - 1) / layout.ep;
    text += fmt::format("  experts        {} + {} redundant, placed {}, {} slot{} per rank\n",
                        shape.experts.front(), scenario.placement.redundant_experts,
                        scenario.placement.policy->name, slots, slots == 1 ? "" : "s");
    text += fmt::format("  communication  {}, {} dispatch, {} combine\n", scenario.exchange->name,
                        to_text(scenario.dispatch_dtype), to_text(scenario.combine_dtype));
    text += "  network        " + fidelity_text(scenario.network) + "\n";
  }
  std::vector<std::string> disturbances;
  for (const LinkDisturbance& each : scenario.disturbances) disturbances.push_back(each.text());
  for (const DeviceDisturbance& each : scenario.device_disturbances)
    disturbances.push_back(each.text());
  for (std::size_t i = 0; i < disturbances.size(); ++i) {
    if (i == kShownDisturbances) {
      text += fmt::format("                 and {} more\n", disturbances.size() - i);
      break;
    }
    text += (i == 0 ? "  disturbances   " : "                 ") + disturbances[i] + "\n";
  }
  return text;
}

std::string summary_text(const Scenario& scenario, const RunOutcome& outcome,
                         const std::string& results) {
  const int steps = outcome.failure ? outcome.failure->steps_ended : scenario.steps();
  std::string text = scenario_text(scenario);
  if (!outcome.routing_description.empty())
    text += "  routing        " + outcome.routing_description + "\n";
  if (outcome.failure) text += "\n" + failure_text(*outcome.failure);
  if (steps == 0) return text + end_text(scenario, outcome, results);
  text += fmt::format("\nstep time   {}\nthroughput  {:.0f} tokens/s, {:.0f} per GPU\n",
                      format_duration(duration_from_seconds(outcome.metric("step_time_s"))),
                      outcome.metric("tokens_per_s"), outcome.metric("tokens_per_s_per_gpu"));
  if (scenario.training) {
    text += fmt::format("model flops {:.0f} TFLOP/s per GPU, MFU {}\n",
                        outcome.metric("model_flops_per_s_per_gpu") / 1e12,
                        percent(outcome.metric("mfu")));
  }
  text += fmt::format("imbalance   {:.2f} max/mean over ranks, {:.2f} over experts\n",
                      outcome.metric("imbalance_max_over_mean"),
                      outcome.metric("expert_imbalance_max_over_mean"));
  if (scenario.routing.capacity) {
    text += fmt::format("dropped     {} of the tokens' choices found their expert full\n",
                        percent(outcome.metric("dropped_token_fraction")));
    if (scenario.routing.capacity->kind == CapacityKind::kAdaptive) {
      text += fmt::format("capacity    factor {:.2f} in the mean, {:.2f} at most\n",
                          outcome.metric("capacity_factor_mean"),
                          outcome.metric("capacity_factor_max"));
    }
  }
  text += fmt::format("exposed     {} of the step is waiting for peers and the network\n",
                      percent(outcome.metric("exposed_communication_fraction")));
  if (outcome.metric("exchange_bound_s") > 0) {
    text += fmt::format(
        "exchanges   take {:.2f} x what their bytes need over the tightest link or cut\n",
        outcome.metric("exchange_over_bound"));
  }
  text += "\nWhere a rank's time goes, per step (mean over ranks)\n";
  add_shares(text, rank_shares(outcome.totals), outcome.totals.steps, steps);
  text += "\nThe critical path by cause, per step\n";
  std::vector<Share> causes;
  for (std::size_t c = 0; c < kCauseNames.size(); ++c)
    causes.push_back({std::string(kCauseNames[c]), Duration(outcome.totals.causes[c])});
  add_shares(text, causes, outcome.totals.steps, steps);
  text += "\nWorst rank\n" + worst_rank(outcome.totals, steps);
  text += "\nMemory\n" + memory_text(scenario, outcome);
  text +=
      "\nOn whose word (share of kernel and communication time, all ranks)\n" + label_text(outcome);
  if (outcome.reuse.distinct_tokens_available > 0) {
    text += fmt::format(
        "\nReuse of the trace\n  {} tokens replayed, {} distinct of {} recorded; {} slots, {} "
        "requests\n",
        outcome.reuse.tokens_used, outcome.reuse.distinct_tokens_used,
        outcome.reuse.distinct_tokens_available, outcome.reuse.concurrent_slots,
        outcome.reuse.requests_available);
  }
  return text + end_text(scenario, outcome, results);
}

std::string summary_json(const Scenario& scenario, const RunOutcome& outcome) {
  nlohmann::ordered_json json;
  json["name"] = scenario.name;
  json["model"] = scenario.model.name;
  json["cluster"] = scenario.cluster.name;
  json["gpus"] = scenario.layout.world;
  json["seed"] = scenario.seed;
  json["version"] = kVersion;
  json["fingerprint"] = outcome.fingerprint;
  if (outcome.run_id > 0) json["run_id"] = outcome.run_id;
  if (outcome.failure) json["status"] = "failed";
  for (const MetricRecord& metric : outcome.metrics) json["metrics"][metric.name] = metric.value;
  for (std::size_t c = 0; c < kCauseNames.size(); ++c) {
    if (outcome.totals.causes[c] != 0)
      json["causes_ps"][std::string(kCauseNames[c])] = outcome.totals.causes[c];
  }
  std::map<std::string, double> labels;
  for (const CostRecord& cost : outcome.costs) labels[cost.label] += to_seconds(cost.duration);
  json["rank_seconds_by_label"] = labels;
  json["outside_calibrated_range_share"] = outcome.out_of_range_share;
  json["warnings"] = outcome.warnings;
  if (outcome.timeline) {
    json["timeline"] = {{"file", outcome.timeline->file},
                        {"events", outcome.timeline->events},
                        {"left_out", outcome.timeline->left_out}};
  }
  json["effort"] = {{"events", outcome.effort.events},
                    {"tasks", outcome.effort.tasks},
                    {"transfers", outcome.effort.transfers},
                    {"level_changes", outcome.effort.level_changes},
                    {"cpu_s", outcome.effort.cpu_s},
                    {"peak_resident_bytes", outcome.effort.peak_resident_bytes}};
  return json.dump(2) + "\n";
}

}  // namespace sim
