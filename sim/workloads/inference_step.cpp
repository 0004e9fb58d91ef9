#include "sim/workloads/inference_step.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "sim/core/error.h"
#include "sim/policies/collectives/collective.h"

namespace sim {
namespace {

double max_over_mean(std::span<const std::int64_t> values) {
  std::int64_t sum = 0;
  std::int64_t most = 0;
  for (const std::int64_t v : values) {
    sum += v;
    most = std::max(most, v);
  }
  return sum == 0 ? 1.0
                  : static_cast<double>(most) * static_cast<double>(values.size()) /
                        static_cast<double>(sum);
}

}  // namespace

InferenceStep::InferenceStep(const InferenceSetup& setup, TaskGraph& graph, ClusterNetwork& network,
                             RoutingSource& routing, CostLedger& ledger, Traffic traffic)
    : setup_(setup),
      graph_(graph),
      network_(network),
      routing_source_(routing),
      ledger_(ledger),
      traffic_(std::move(traffic)),
      costs_(setup.model, setup.costs, ledger, setup.layout.ep == 1, setup.exchange) {
  for (int r = 0; r < setup.layout.world; ++r) {
    const DeviceId device(r);
    Rank rank;
    rank.compute = graph.add_stream(device, StreamKind::kCompute, setup.host.gap);
    rank.communication = graph.add_stream(device, StreamKind::kCommunication, Duration(0));
    rank.host = graph.add_stream(device, StreamKind::kHost, Duration(0));
    rank.sms = graph.add_held(setup.devices[static_cast<std::size_t>(r)]->sms);
    ranks_.push_back(std::move(rank));
  }
}

StepFacts InferenceStep::build(int step, int routing_step, Phase phase,
                               const std::vector<RankSequences>& sequences, TaskGraph::Done done) {
  begin_step(step);
  const ParallelLayout& layout = setup_.layout;
  StepFacts facts;
  for (const RankSequences& rank : sequences) {
    facts.tokens +=
        std::accumulate(rank.new_tokens.begin(), rank.new_tokens.end(), std::int64_t{0});
  }
  if (setup_.part.ends) {
    for (int r = 0; r < layout.world; ++r) {
      const TokenBatch batch = batch_of(phase, sequences, r, 1);
      const Device& device = *setup_.devices[static_cast<std::size_t>(r)];
      run_kernels(r, costs_.input(batch, 1, device), -1, device.sms);
    }
  }
  const std::vector<BlockId> routed = routed_blocks(setup_.model);
  for (int l = setup_.part.first_layer; l < setup_.part.end_layer; ++l) {
    const Layer& layer = setup_.model.layers[static_cast<std::size_t>(l)];
    if (layer.stack == Stack::kEncoder && phase == Phase::kDecode)
      continue;  // it ran with the prompt
    for (int b = 0; b < static_cast<int>(layer.blocks.size()); ++b) {
      const auto at = std::find(routed.begin(), routed.end(), BlockId{l, b});
      if (at != routed.end()) {
        const auto index = static_cast<std::size_t>(at - routed.begin());
        routing_source_.fill(routing_step, static_cast<int>(index), routing_);
        routed_block(l, b, static_cast<int>(index), phase, sequences, facts);
      } else if (!setup_.part.only_routed_blocks) {
        plain_block(l, b, phase, sequences);
      }
    }
  }
  std::vector<TaskId> last;
  for (int r = 0; r < layout.world; ++r) {
    if (setup_.part.ends) {
      const TokenBatch batch = batch_of(phase, sequences, r, 1);
      const Device& device = *setup_.devices[static_cast<std::size_t>(r)];
      run_kernels(r, costs_.output(batch, 1, device), -1, device.sms);
    }
    const Rank& rank = ranks_[static_cast<std::size_t>(r)];
    last.push_back(rank.last);
    last.insert(last.end(), rank.needs.begin(), rank.needs.end());
    facts.least_compute_s = std::max(facts.least_compute_s, rank.least_s);
  }
  graph_.when_done(last, [this, done = std::move(done)](Time end, const CauseVector& causes) {
    exchanges_.clear();
    done(end, causes);
  });
  return facts;
}

void InferenceStep::begin_step(int step) {
  step_ = step;
  costs_.clear();
  graph_.mark_step_begin();
  for (std::size_t r = 0; r < ranks_.size(); ++r) {
    Rank& rank = ranks_[r];
    rank.least_s = 0;
    rank.needs.clear();
    TaskSpec launch;
    launch.stream = rank.host;
    launch.tag = {static_cast<std::int16_t>(TaskKind::kHostLaunch), -1, step};
    launch.duration = setup_.host.per_step;
    launch.shares[0] = {id_of(Cause::kLaunch), setup_.host.per_step};
    rank.last = graph_.add_task(launch, {});
    rank.needs.push_back(rank.last);
  }
}

void InferenceStep::run_kernel(int r, const PricedKernel& kernel, int layer, int sms,
                               std::span<const CauseShare> shares) {
  Rank& rank = ranks_[static_cast<std::size_t>(r)];
  TaskSpec spec;
  spec.stream = rank.compute;
  spec.tag = {static_cast<std::int16_t>(kind_of(kernel.kind)), static_cast<std::int16_t>(layer),
              step_};
  spec.duration = kernel.time;
  // A start-up is measured between kernels that follow one another, so it holds the gap.
  spec.gap_inside = kernel.fixed;
  std::copy(shares.begin(), shares.end(), spec.shares);
  spec.held = rank.sms;
  spec.held_amount = sms;
  if (setup_.host.launch == LaunchMode::kEager) {
    TaskSpec launch;
    launch.stream = rank.host;
    launch.tag = {static_cast<std::int16_t>(TaskKind::kHostLaunch),
                  static_cast<std::int16_t>(layer), step_};
    launch.duration = setup_.host.per_launch;
    launch.shares[0] = {id_of(Cause::kLaunch), setup_.host.per_launch};
    rank.needs.push_back(graph_.add_task(launch, {}));
  }
  rank.last = graph_.add_task(spec, rank.needs);
  rank.needs.clear();
  rank.least_s += kernel.least_s;
  ledger_.book(kernel.ledger, kernel.time);
}

void InferenceStep::run_kernels(int r, const std::vector<PricedKernel>& kernels, int layer,
                                int sms) {
  for (const PricedKernel& kernel : kernels) {
    const CauseShare share{cause_of(kernel.kind), kernel.time};
    run_kernel(r, kernel, layer, sms, {&share, 1});
  }
}

// Attention or a dense FFN: tensor parallel over the TP group.
void InferenceStep::plain_block(int layer, int block, Phase phase,
                                const std::vector<RankSequences>& sequences) {
  const int tp = setup_.layout.tp;
  if (tp > 1) tp_collective(TaskKind::kAllGather, layer, sequences);
  for (int r = 0; r < setup_.layout.world; ++r) {
    const TokenBatch batch = batch_of(phase, sequences, setup_.layout.tp_group(r) * tp, tp);
    const Device& device = *setup_.devices[static_cast<std::size_t>(r)];
    for (const BlockPart part :
         {BlockPart::kBeforeDispatch, BlockPart::kShared, BlockPart::kAfterCombine}) {
      run_kernels(r, costs_.block(layer, block, part, batch, tp, device, device.sms), layer,
                  device.sms);
    }
  }
  if (tp > 1) tp_collective(TaskKind::kReduceScatter, layer, sequences);
}

void InferenceStep::tp_collective(TaskKind kind, int layer,
                                  const std::vector<RankSequences>& sequences) {
  const int tp = setup_.layout.tp;
  for (int group = 0; group < setup_.layout.world / tp; ++group) {
    std::int64_t tokens = 0;
    std::vector<PartSpec> parts;
    for (int r = group * tp; r < (group + 1) * tp; ++r) {
      const std::vector<std::int64_t>& added = sequences[static_cast<std::size_t>(r)].new_tokens;
      tokens += std::accumulate(added.begin(), added.end(), std::int64_t{0});
      const Rank& rank = ranks_[static_cast<std::size_t>(r)];
      PartSpec part;
      part.stream = rank.communication;
      part.after = rank.needs;
      part.after.push_back(rank.last);
      parts.push_back(std::move(part));
    }
    const double row = static_cast<double>(setup_.model.hidden) *
                       bytes_per_value(setup_.model.formats.activations);
    const Bytes total(static_cast<std::int64_t>(static_cast<double>(tokens) * row));
    const TaskTag tag{static_cast<std::int16_t>(kind), static_cast<std::int16_t>(layer), step_};
    const std::vector<DeviceId> devices = setup_.layout.tp_devices(group);
    const std::vector<TaskId> ids =
        graph_.add_collective(tag, parts, [=, this](CollectiveBody& body) {
          const TrafficSink sink = [&](DeviceId from, DeviceId to, Bytes bytes) {
            traffic_(layer, kind, from, to, bytes);
          };
          const std::string_view operation =
              kind == TaskKind::kAllGather ? "all-gather" : "reduce-scatter";
          find_collective_algorithm(operation, "nccl-ring")
              .make({operation, devices, total}, network_, sink, body);
        });
    for (int i = 0; i < tp; ++i) {
      Rank& rank = ranks_[static_cast<std::size_t>(group * tp + i)];
      rank.needs = {ids[static_cast<std::size_t>(i)]};
      rank.last = ids[static_cast<std::size_t>(i)];
    }
  }
}

// The routing of one EP group's ranks out of routing_.
void InferenceStep::slice_group(int group) {
  const int ep = setup_.layout.ep;
  if (setup_.layout.ep_groups() == 1) {
    std::swap(group_routing_, routing_);
    return;
  }
  const std::size_t first = static_cast<std::size_t>(group) * static_cast<std::size_t>(ep);
  const std::size_t experts = static_cast<std::size_t>(routing_.experts);
  LayerRouting& out = group_routing_;
  out.ranks = ep;
  out.experts = routing_.experts;
  out.per_token = routing_.per_token;
  out.counts.assign(
      routing_.counts.begin() + static_cast<std::ptrdiff_t>(first * experts),
      routing_.counts.begin() +
          static_cast<std::ptrdiff_t>((first + static_cast<std::size_t>(ep)) * experts));
  out.rank_begin.clear();
  out.choice_begin.clear();
  out.choices.clear();
  if (routing_.rank_begin.empty()) return;  // counts without tokens
  const std::int64_t token0 = routing_.rank_begin[first];
  const std::int64_t token1 = routing_.rank_begin[first + static_cast<std::size_t>(ep)];
  for (int r = 0; r <= ep; ++r)
    out.rank_begin.push_back(routing_.rank_begin[first + static_cast<std::size_t>(r)] - token0);
  if (!routing_.per_token) return;
  const std::int64_t choice0 = routing_.choice_begin[static_cast<std::size_t>(token0)];
  const std::int64_t choice1 = routing_.choice_begin[static_cast<std::size_t>(token1)];
  for (std::int64_t t = token0; t <= token1; ++t) {
    out.choice_begin.push_back(routing_.choice_begin[static_cast<std::size_t>(t)] - choice0);
  }
  out.choices.assign(routing_.choices.begin() + choice0, routing_.choices.begin() + choice1);
}

void InferenceStep::routed_block(int layer, int block, int routed_index, Phase phase,
                                 const std::vector<RankSequences>& sequences, StepFacts& facts) {
  const ParallelLayout& layout = setup_.layout;
  const BlockId id{layer, block};
  const ExpertPlacement& placement = setup_.placements[static_cast<std::size_t>(routed_index)];
  std::vector<TokenBatch> batches;
  for (int r = 0; r < layout.world; ++r) {
    batches.push_back(batch_of(phase, sequences, r, 1));
    const Device& device = *setup_.devices[static_cast<std::size_t>(r)];
    run_kernels(r,
                costs_.block(layer, block, BlockPart::kBeforeDispatch, batches.back(), 1, device,
                             device.sms),
                layer, device.sms);
  }
  RoutedBlockFacts block_facts;
  block_facts.layer = layer;
  block_facts.expert_rows.assign(static_cast<std::size_t>(routing_.experts), 0);
  for (std::size_t i = 0; i < routing_.counts.size(); ++i) {
    block_facts.expert_rows[i % block_facts.expert_rows.size()] += routing_.counts[i];
  }
  for (int e = 0; e < routing_.experts; ++e) {
    block_facts.replicas.push_back(static_cast<int>(placement.copies(e).size()));
  }
  block_facts.counts_only = !routing_.per_token;
  block_facts.rows =
      std::accumulate(routing_.counts.begin(), routing_.counts.end(), std::int64_t{0});
  block_facts.tokens = routing_.per_token ? routing_.tokens() : facts.tokens;
  block_facts.expert_imbalance_max_over_mean = max_over_mean(block_facts.expert_rows);
  std::vector<std::int64_t> rank_rows;  // over all EP groups
  const int top_k = static_cast<int>(block_at(setup_.model, id).ffn().routing->top_k);
  const bool overlap = setup_.overlap == Overlap::kSharedExperts;
  for (int group = 0; group < layout.ep_groups(); ++group) {
    slice_group(group);
    auto data = std::make_unique<BlockExchange>();
    data->layer = layer;
    data->group = group;
    data->experts = placement.experts;
    data->ranks = layout.ep_devices(group);
    const int first_node = network_.node_of(data->ranks.front()).value();
    for (const DeviceId device : data->ranks)
      data->node_of_rank.push_back(network_.node_of(device).value() - first_node);
    const int per_node =
        static_cast<int>(setup_.cluster.nodes[static_cast<std::size_t>(first_node)].devices.size());
    assign_slots(*setup_.split, {group_routing_, placement, per_node}, assignment_);
    if (setup_.ports != nullptr) {
      count_port_copies(group_routing_, assignment_, placement, data->node_of_rank, top_k,
                        *port_form(setup_.exchange->name), data->port_copies);
    } else {
      count_copies(group_routing_, assignment_, placement, data->node_of_rank, top_k, data->copies);
    }
    const std::vector<std::int64_t> of_group = assignment_.rows_per_rank(placement.slots_per_rank);
    rank_rows.insert(rank_rows.end(), of_group.begin(), of_group.end());
    const std::vector<std::int64_t> rows_per_slot = assignment_.rows_per_slot();
    exchanges_.push_back(std::move(data));
    const std::size_t index = exchanges_.size() - 1;
    const std::vector<TaskId> dispatched = exchange(index, TaskKind::kDispatch);
    for (int i = 0; i < layout.ep; ++i) {
      const int r = group * layout.ep + i;
      Rank& rank = ranks_[static_cast<std::size_t>(r)];
      const Device& device = *setup_.devices[static_cast<std::size_t>(r)];
      const TaskId part = dispatched[static_cast<std::size_t>(i)];
      // A kernel that communication leaves nearly no SMs waits for all of them.
      const bool beside = overlap && (setup_.receive_hook || !setup_.exchange->receive_hook);
      const int sms = beside ? device.sms - setup_.communication_sms : device.sms;
      if (!overlap) rank.needs.push_back(part);
      run_kernels(r,
                  costs_.block(layer, block, BlockPart::kShared,
                               batches[static_cast<std::size_t>(r)], 1, device, sms),
                  layer, sms);
      if (overlap) rank.needs.push_back(part);
    }
    group_experts(id, group, index, rows_per_slot, placement, batches);
    if (layout.ep_groups() == 1) std::swap(group_routing_, routing_);
  }
  block_facts.imbalance_max_over_mean = max_over_mean(rank_rows);
  for (int r = 0; r < layout.world; ++r) {
    const Device& device = *setup_.devices[static_cast<std::size_t>(r)];
    run_kernels(r,
                costs_.block(layer, block, BlockPart::kAfterCombine,
                             batches[static_cast<std::size_t>(r)], 1, device, device.sms),
                layer, device.sms);
  }
  facts.blocks.push_back(std::move(block_facts));
}

// The experts of one EP group, then combine. Time above the group's mean is a straggler's.
void InferenceStep::group_experts(BlockId block, int group, std::size_t exchange_index,
                                  const std::vector<std::int64_t>& rows_per_slot,
                                  const ExpertPlacement& placement,
                                  const std::vector<TokenBatch>& batches) {
  const int ep = setup_.layout.ep;
  const std::size_t slots = static_cast<std::size_t>(placement.slots_per_rank);
  std::vector<PricedKernel> kernels;
  Duration sum{0};
  std::vector<std::int64_t> totals;
  for (int i = 0; i < ep; ++i) {
    const std::span<const std::int64_t> rows(
        rows_per_slot.data() + static_cast<std::size_t>(i) * slots, slots);
    const std::size_t rank = static_cast<std::size_t>(group * ep + i);
    const Device& device = *setup_.devices[rank];
    kernels.push_back(costs_.experts(block, rows, batches[rank].tokens, device, device.sms));
    sum += kernels.back().time;
    totals.push_back(std::accumulate(rows.begin(), rows.end(), std::int64_t{0}));
  }
  const std::int64_t most_rows = *std::max_element(totals.begin(), totals.end());
  const Duration mean = sum / ep;
  for (int i = 0; i < ep; ++i) {
    const PricedKernel& kernel = kernels[static_cast<std::size_t>(i)];
    if (kernel.time == Duration(0)) continue;  // no row came here: nothing is launched
    const Duration above = std::max(Duration(0), kernel.time - mean);
    const bool most = totals[static_cast<std::size_t>(i)] == most_rows;
    const Cause straggler = most ? Cause::kTokenStraggler : Cause::kGemmStraggler;
    const CauseShare shares[2] = {{id_of(Cause::kExpert), kernel.time - above},
                                  {id_of(straggler), above}};
    const int r = group * ep + i;
    run_kernel(r, kernel, block.layer, setup_.devices[static_cast<std::size_t>(r)]->sms, shares);
  }
  const std::vector<TaskId> combined = exchange(exchange_index, TaskKind::kCombine);
  for (int i = 0; i < ep; ++i) {
    Rank& rank = ranks_[static_cast<std::size_t>(group * ep + i)];
    rank.needs = {combined[static_cast<std::size_t>(i)]};
    rank.last = combined[static_cast<std::size_t>(i)];
  }
}

// Adds dispatch or combine of a block to the communication streams; what it moves is worked out
// when it is reached.
std::vector<TaskId> InferenceStep::exchange(std::size_t index, TaskKind kind) {
  const BlockExchange& data = *exchanges_[index];
  std::vector<PartSpec> parts;
  for (const DeviceId device : data.ranks) {
    const Rank& rank = ranks_[device.index()];
    PartSpec part;
    part.stream = rank.communication;
    part.after = rank.needs;
    part.after.push_back(rank.last);
    part.held = rank.sms;
    part.held_amount = setup_.exchange->receive_hook && !setup_.receive_hook
                           ? sms_of_rows(data.experts, setup_.devices[device.index()]->sms)
                           : setup_.communication_sms;
    parts.push_back(std::move(part));
  }
  const TaskTag tag{static_cast<std::int16_t>(kind), static_cast<std::int16_t>(data.layer), step_};
  return graph_.add_collective(tag, parts, [this, index, kind](CollectiveBody& body) {
    fill_exchange(*exchanges_[index], kind, body);
  });
}

void InferenceStep::fill_exchange(BlockExchange& from, TaskKind kind, CollectiveBody& body) {
  const bool dispatch = kind == TaskKind::kDispatch;
  const StartupCost& cost = dispatch ? setup_.dispatch_cost : setup_.combine_cost;
  Exchange input;
  input.direction = dispatch ? Direction::kDispatch : Direction::kCombine;
  input.copies = &from.copies;
  input.ranks = from.ranks;
  input.node_of_rank = from.node_of_rank;
  input.bytes_per_copy = bytes_per_copy(*setup_.exchange, input.direction, setup_.model.hidden,
                                        dispatch ? setup_.dispatch_dtype : setup_.combine_dtype);
  input.experts = from.experts;
  input.device_sms = setup_.devices[from.ranks.front().index()]->sms;
  input.communication_sms = setup_.communication_sms;
  input.tensor_parallel = setup_.layout.tp;
  body.start = setup_.exchange->start;
  if (setup_.ports != nullptr) {
    const PortSink sink = [&](DeviceId device, Bytes sent, Bytes received) {
      setup_.ports->traffic(from.layer, kind, device, sent, received);
    };
    make_port_body(input, from.port_copies, cost, setup_.ports->network, sink, body);
    if (!dispatch) from.port_copies = PortCopies{};  // combine is the last to ask
    return;
  }
  const TrafficSink sink = [&](DeviceId source, DeviceId destination, Bytes bytes) {
    traffic_(from.layer, kind, source, destination, bytes);
  };
  setup_.exchange->make(input, cost, network_, sink, body);
}

}  // namespace sim
