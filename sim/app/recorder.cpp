#include "sim/app/recorder.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>

#include "sim/core/error.h"
#include "sim/core/kernel_chain.h"
#include "sim/workloads/kinds.h"

namespace sim {
namespace {

constexpr std::size_t kKinds = static_cast<std::size_t>(TaskKind::kHostLaunch) + 1;
constexpr std::size_t kWaitCauses = static_cast<std::size_t>(WaitCause::kIdleEnd) + 1;
// After the causes of the core: a wait for a peer that a pipeline stage's send ended.
constexpr std::size_t kBubble = kWaitCauses;
constexpr std::array<std::string_view, kWaitCauses + 1> kWaitNames = {
    "wait_peer", "network", "launch", "other", "idle_end", "pipeline_bubble"};

std::size_t index_of(TaskKind kind) { return static_cast<std::size_t>(kind); }
std::size_t index_of(WaitCause cause) { return static_cast<std::size_t>(cause); }
Duration mean(Duration sum, int count) { return sum / count; }

}  // namespace

Recorder::Recorder(int devices, int ranks_per_layer, int layers, bool traffic_per_pair)
    : devices_(devices),
      ranks_per_layer_(ranks_per_layer),
      traffic_(devices, layers, traffic_per_pair),
      layer_sums_(static_cast<std::size_t>(layers) + 1),
      busy_(static_cast<std::size_t>(devices), std::vector<Duration>(kKinds)),
      waits_(static_cast<std::size_t>(devices), std::vector<Duration>(kWaitCauses + 1)) {
  totals_.busy.resize(kKinds);
  totals_.wait.resize(kWaitCauses + 1);
  totals_.expert.resize(static_cast<std::size_t>(devices));
}

void Recorder::on_task(const TaskSpan& span) {
  for_each_kernel(span, [this](const TaskSpan& kernel, Duration gap) {
    fingerprint_.add(kernel.end, sequence_++,
                     static_cast<std::uint32_t>(kernel.tag.kind) * 65536u +
                         static_cast<std::uint32_t>(kernel.device.value()));
    if (kernel.stream != StreamKind::kCompute) return;
    const Duration duration = kernel.end - kernel.start;
    disturbed_ = disturbed_ || kernel.slow != Duration(0) || kernel.jitter != Duration(0);
    slow_ += kernel.slow;
    jitter_ += kernel.jitter;
    busy_[kernel.device.index()][static_cast<std::size_t>(kernel.tag.kind)] += duration;
    layer_sums_[static_cast<std::size_t>(kernel.tag.layer + 1)].by_kind[kernel.tag.kind] +=
        duration;
    if (gap > Duration(0)) {
      on_wait({kernel.tag, kernel.device, DeviceId(), WaitCause::kLaunch, kernel.start - gap, gap,
               kernel.tag});
    }
  });
}

void Recorder::on_part(const PartSpan& span) {
  const TaskKind kind = static_cast<TaskKind>(span.tag.kind);
  const Duration duration = span.end - span.entered;
  const Duration network = duration - span.wait_peer;
  LayerSums& sums = layer_sums_[static_cast<std::size_t>(span.tag.layer + 1)];
  sums.by_kind[index_of(kind)] += duration;
  if (kind == TaskKind::kDispatch) sums.dispatch_network += network;
  if (kind == TaskKind::kCombine) sums.combine_network += network;
  communication_[index_of(kind)] += network;
}

void Recorder::on_collective(const CollectiveSpan& span) {
  const TaskKind kind = static_cast<TaskKind>(span.tag.kind);
  if (kind != TaskKind::kDispatch && kind != TaskKind::kCombine) return;
  exchange_s_ += to_seconds(span.elapsed);
  exchange_bound_s_ += span.bound_s;
}

void Recorder::on_wait(const StreamWait& wait) {
  const bool bubble = wait.cause == WaitCause::kPeer &&
                      wait.released_by.kind == static_cast<int>(TaskKind::kPipelineSend);
  const std::size_t cause = bubble ? kBubble : index_of(wait.cause);
  waits_[wait.device.index()][cause] += wait.duration;
  wait_rows_[{wait.tag.layer, wait.device.value(), wait.waited_for.value(),
              static_cast<int>(cause)}] += wait.duration;
}

void Recorder::add_experts(StepBatch& batch, const RoutedBlockFacts& facts) {
  for (std::size_t e = 0; e < facts.expert_rows.size(); ++e) {
    batch.experts.push_back({facts.layer, ExpertId(static_cast<std::int64_t>(e)),
                             facts.expert_rows[e], facts.replicas[e]});
  }
}

LinkRecord Recorder::link_record(const std::string& name, double payload, Bandwidth capacity,
                                 double busy_seconds, double& busy_before, double step_s) {
  LinkRecord record;
  record.link = name;
  record.bytes = Bytes(static_cast<std::int64_t>(std::llround(payload)));
  record.capacity = capacity;
  record.utilisation = step_s > 0 ? payload / capacity.count() / step_s : 0;
  record.busy = duration_from_seconds(busy_seconds - busy_before);
  busy_before = busy_seconds;
  return record;
}

StepBatch Recorder::take_step(const StepResult& result, ClusterNetwork& network,
                              LinkDisturbances& disturbances, PortNetwork* ports,
                              const std::vector<Bytes>& peak_memory) {
  StepBatch batch;
  const Duration duration = result.end - result.start;
  batch.step = {result.step, result.start, duration, result.facts.tokens, 0, 0};
  // Devices: what is neither busy nor waiting for something named is the gap between kernels.
  Duration exposed{0};
  for (int d = 0; d < devices_; ++d) {
    const std::vector<Duration>& busy = busy_[static_cast<std::size_t>(d)];
    const std::vector<Duration>& wait = waits_[static_cast<std::size_t>(d)];
    DeviceRecord record;
    record.device = DeviceId(d);
    record.attention = busy[index_of(TaskKind::kAttention)];
    record.expert = busy[index_of(TaskKind::kExperts)];
    record.dense = busy[index_of(TaskKind::kDenseFfn)] + busy[index_of(TaskKind::kSharedExpert)] +
                   busy[index_of(TaskKind::kLmHead)];
    record.other = busy[index_of(TaskKind::kEmbedding)] + busy[index_of(TaskKind::kNorm)] +
                   busy[index_of(TaskKind::kGate)] + busy[index_of(TaskKind::kPermute)] +
                   busy[index_of(TaskKind::kSampling)] + busy[index_of(TaskKind::kOptimizer)];
    record.wait_peer = wait[index_of(WaitCause::kPeer)];
    record.network = wait[index_of(WaitCause::kNetwork)];
    record.launch = wait[index_of(WaitCause::kLaunch)] + wait[index_of(WaitCause::kOther)];
    record.pipeline_bubble = wait[kBubble];
    record.idle_end = wait[index_of(WaitCause::kIdleEnd)];
    const Duration accounted = record.attention + record.expert + record.dense + record.other +
                               record.wait_peer + record.network + record.launch +
                               record.pipeline_bubble + record.idle_end;
    SIM_CHECK(accounted == duration,
              "a compute stream is busy or waits at every instant of a step");
    record.memory = peak_memory[static_cast<std::size_t>(d)];
    peak_memory_ = std::max(peak_memory_, record.memory.count());
    exposed += record.wait_peer + record.network;
    launch_ += record.launch;
    totals_.launch += record.launch / devices_;
    totals_.expert[static_cast<std::size_t>(d)] += record.expert;
    for (std::size_t k = 0; k < kKinds; ++k) totals_.busy[k] += busy[k] / devices_;
    for (std::size_t c = 0; c <= kBubble; ++c) totals_.wait[c] += wait[c] / devices_;
    batch.devices.push_back(record);
  }
  const double step_s = to_seconds(duration);
  batch.step.exposed_communication_fraction =
      step_s > 0 ? to_seconds(exposed) / devices_ / step_s : 0;

  for (std::size_t b = 0; b < result.facts.blocks.size(); ++b) {
    const RoutedBlockFacts& facts = result.facts.blocks[b];
    const LayerSums& sums = layer_sums_[static_cast<std::size_t>(facts.layer + 1)];
    imbalance_ += facts.imbalance_max_over_mean;
    expert_imbalance_ += facts.expert_imbalance_max_over_mean;
    rows_ += facts.rows;
    dropped_ += facts.dropped;
    batch.step.dropped_choices += facts.dropped;
    ++routed_;
    add_experts(batch, facts);
    if (!batch.layers.empty() && batch.layers.back().layer == facts.layer) {
      // A second routed block of the same layer: its times are in the layer's sums already.
      LayerRecord& same = batch.layers.back();
      same.rows += facts.rows;
      same.dropped += facts.dropped;
      same.imbalance_max_over_mean =
          std::max(same.imbalance_max_over_mean, facts.imbalance_max_over_mean);
      same.expert_imbalance_max_over_mean =
          std::max(same.expert_imbalance_max_over_mean, facts.expert_imbalance_max_over_mean);
      continue;
    }
    LayerRecord record;
    record.layer = facts.layer;
    record.attention = mean(sums.by_kind[index_of(TaskKind::kAttention)], ranks_per_layer_);
    record.gate = mean(sums.by_kind[index_of(TaskKind::kGate)], ranks_per_layer_);
    record.dispatch = mean(sums.by_kind[index_of(TaskKind::kDispatch)], ranks_per_layer_);
    record.dispatch_network = mean(sums.dispatch_network, ranks_per_layer_);
    record.expert = mean(sums.by_kind[index_of(TaskKind::kExperts)], ranks_per_layer_);
    record.shared_expert = mean(sums.by_kind[index_of(TaskKind::kSharedExpert)], ranks_per_layer_);
    record.combine = mean(sums.by_kind[index_of(TaskKind::kCombine)], ranks_per_layer_);
    record.combine_network = mean(sums.combine_network, ranks_per_layer_);
    record.imbalance_max_over_mean = facts.imbalance_max_over_mean;
    record.expert_imbalance_max_over_mean = facts.expert_imbalance_max_over_mean;
    record.tokens = facts.tokens;
    record.rows = facts.rows;
    record.dropped = facts.dropped;
    batch.layers.push_back(record);
    // Over all ranks: those of other stages do nothing here.
    const double share = static_cast<double>(ranks_per_layer_) / devices_;
    dispatch_s_ += share * to_seconds(record.dispatch);
    dispatch_network_s_ += share * to_seconds(record.dispatch_network);
    combine_s_ += share * to_seconds(record.combine);
    expert_s_ += share * to_seconds(record.expert);
  }
  for (const LayerSums& sums : layer_sums_)
    attention_s_ += to_seconds(mean(sums.by_kind[index_of(TaskKind::kAttention)], devices_));

  // Links that carried something, and the tightest of them as a bound.
  std::vector<double>& payload = network.link_payload();
  double network_bound = 0;
  busy_seconds_before_.resize(payload.size());
  for (std::size_t l = 0; l < payload.size(); ++l) {
    const LinkId id(static_cast<std::int64_t>(l));
    const double busy = network.busy_seconds(id);
    if (payload[l] > 0) {
      const Link& link = network.cluster().links[l];
      const Bandwidth capacity(link.capacity.count() * disturbances.mean_share(id));
      network_bound = std::max(network_bound, payload[l] / capacity.count());
      batch.links.push_back(
          link_record(link.name, payload[l], capacity, busy, busy_seconds_before_[l], step_s));
    }
    busy_seconds_before_[l] = busy;
    payload[l] = 0;
  }
  disturbances.mark();
  if (ports != nullptr) {
    cut_busy_before_.resize(ports->cuts().size());
    for (std::size_t c = 0; c < ports->cuts().size(); ++c) {
      PortNetwork::Cut& cut = ports->cuts()[c];
      const double busy = network.fluid().busy_seconds(cut.resource);
      if (cut.payload > 0) {
        network_bound = std::max(network_bound, cut.payload / cut.capacity.count());
        batch.links.push_back(
            link_record(cut.name, cut.payload, cut.capacity, busy, cut_busy_before_[c], step_s));
      }
      cut_busy_before_[c] = busy;
      cut.payload = 0;
    }
  }
  SIM_CHECK(step_s * (1 + 1e-9) + 1e-12 >= network_bound,
            "a step is not faster than its bytes over the tightest link");
  SIM_CHECK(step_s * (1 + 1e-9) + 1e-12 >= result.facts.least_compute_s,
            "a step is not faster than its flops at peak");

  std::int64_t booked = 0;
  for (std::size_t c = 0; c < kCauseNames.size(); ++c) {
    booked += result.causes[c];
    totals_.causes[c] += result.causes[c];
    if (result.causes[c] != 0)
      batch.causes.push_back({std::string(kCauseNames[c]), Duration(result.causes[c])});
  }
  SIM_CHECK(booked == duration.count(), "the causes of a step add up to it");
  for (const auto& [key, waited] : wait_rows_) {
    const auto& [layer, device, waited_for, cause] = key;
    WaitRecord record;
    if (layer >= 0) record.layer = layer;
    record.device = DeviceId(device);
    if (waited_for >= 0) record.waited_for = DeviceId(waited_for);
    record.cause = kWaitNames[static_cast<std::size_t>(cause)];
    record.duration = waited;
    batch.waits.push_back(record);
    if (waited_for >= 0) totals_.waited[{device, waited_for}] += waited;
  }

  ++steps_;
  slow_s_ += to_seconds(slow_);
  jitter_s_ += to_seconds(jitter_);
  slow_ = jitter_ = Duration(0);
  step_s_ += step_s;
  tokens_ += static_cast<double>(result.facts.tokens);
  exposed_ += batch.step.exposed_communication_fraction;
  compute_bound_s_ += result.facts.least_compute_s;
  network_bound_s_ += network_bound;
  totals_.steps += duration;
  for (LayerSums& sums : layer_sums_) sums = LayerSums{};
  for (auto& device : busy_) std::fill(device.begin(), device.end(), Duration(0));
  for (auto& device : waits_) std::fill(device.begin(), device.end(), Duration(0));
  wait_rows_.clear();
  return batch;
}

std::vector<MetricRecord> Recorder::metrics() const {
  SIM_CHECK(steps_ > 0, "metrics are asked after a step");
  const double steps = static_cast<double>(steps_);
  const double routed = static_cast<double>(std::max<std::int64_t>(1, routed_));
  // Of (token, expert) choices: those that found their expert full.
  const double choices = static_cast<double>(std::max<std::int64_t>(1, rows_ + dropped_));
  std::vector<MetricRecord> metrics = {
      {"step_time_s", step_s_ / steps, "s"},
      {"tokens_per_s", tokens_ / step_s_, "tokens/s"},
      {"tokens_per_s_per_gpu", tokens_ / step_s_ / devices_, "tokens/s"},
      {"dispatch_time_s", dispatch_s_ / steps, "s"},
      {"dispatch_network_time_s", dispatch_network_s_ / steps, "s"},
      {"combine_time_s", combine_s_ / steps, "s"},
      {"expert_time_s", expert_s_ / steps, "s"},
      {"attention_time_s", attention_s_ / steps, "s"},
      {"exposed_communication_fraction", exposed_ / steps, ""},
      {"imbalance_max_over_mean", routed_ > 0 ? imbalance_ / routed : 1, ""},
      {"expert_imbalance_max_over_mean", routed_ > 0 ? expert_imbalance_ / routed : 1, ""},
      {"dropped_token_fraction", static_cast<double>(dropped_) / choices, ""},
      {"peak_memory_bytes", static_cast<double>(peak_memory_), "bytes"},
      {"bound_compute_s", compute_bound_s_ / steps, "s"},
      {"bound_network_s", network_bound_s_ / steps, "s"},
      {"exchange_bound_s", exchange_bound_s_ / steps, "s"},
      {"exchange_over_bound", exchange_bound_s_ > 0 ? exchange_s_ / exchange_bound_s_ : 1, ""},
  };
  if (disturbed_) {  // what it added to kernels, mean over ranks, per step
    metrics.push_back({"slow_device_time_s", slow_s_ / devices_ / steps, "s"});
    metrics.push_back({"kernel_jitter_time_s", jitter_s_ / devices_ / steps, "s"});
  }
  return metrics;
}

}  // namespace sim
