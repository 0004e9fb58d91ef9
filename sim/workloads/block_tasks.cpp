#include "sim/workloads/block_tasks.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "sim/core/error.h"
#include "sim/policies/collectives/collective.h"

namespace sim {

BlockTasks::BlockTasks(const StepSetup& setup, TaskGraph& graph, ClusterNetwork& network,
                       CostLedger& ledger, Traffic traffic)
    : setup_(setup),
      graph_(graph),
      network_(network),
      ledger_(ledger),
      traffic_(std::move(traffic)) {
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

void BlockTasks::launch_step(Lane& lane, const Stamp& stamp) {
  for (int r = lane.first; r < lane.end(); ++r) {
    Rank& rank = ranks_[static_cast<std::size_t>(r)];
    rank.least_s = 0;
    Cursor& cursor = lane.of(r);
    TaskSpec launch;
    launch.stream = rank.host;
    launch.tag = stamp.tag(TaskKind::kHostLaunch);
    launch.duration = setup_.host.per_step;
    launch.shares[0] = {id_of(Cause::kLaunch), setup_.host.per_step};
    cursor.last = graph_.add_task(launch, {});
    cursor.needs = {cursor.last};
  }
}

void BlockTasks::kernel(int r, Cursor& cursor, const PricedKernel& kernel, const Stamp& stamp,
                        int sms, std::span<const CauseShare> shares) {
  Rank& rank = ranks_[static_cast<std::size_t>(r)];
  TaskSpec spec;
  spec.stream = rank.compute;
  spec.tag = stamp.tag(kind_of(kernel.kind));
  spec.duration = kernel.time;
  // A start-up is measured between kernels that follow one another, so it holds the gap.
  spec.gap_inside = kernel.fixed;
  std::copy(shares.begin(), shares.end(), spec.shares);
  spec.held = rank.sms;
  spec.held_amount = sms;
  if (setup_.host.launch == LaunchMode::kEager) {
    TaskSpec launch;
    launch.stream = rank.host;
    launch.tag = stamp.tag(TaskKind::kHostLaunch);
    launch.duration = setup_.host.per_launch;
    launch.shares[0] = {id_of(Cause::kLaunch), setup_.host.per_launch};
    cursor.needs.push_back(graph_.add_task(launch, {}));
  }
  cursor.last = graph_.add_task(spec, cursor.needs);
  cursor.needs.clear();
  rank.least_s += kernel.least_s;
  ledger_.book(kernel.ledger, kernel.time);
}

void BlockTasks::kernels(int r, Cursor& cursor, const PricedBlock& block, const Stamp& stamp,
                         int sms) {
  const bool chained = setup_.chain_kernels && setup_.host.launch == LaunchMode::kGraph;
  if (!chained || !block.chain) {
    for (const PricedKernel& each : block.kernels) {
      const CauseShare share{cause_of(each.kind), each.time};
      kernel(r, cursor, each, stamp, sms, {&share, 1});
    }
    return;
  }
  Rank& rank = ranks_[static_cast<std::size_t>(r)];
  TaskSpec spec;
  spec.stream = rank.compute;
  spec.tag = stamp.tag(kind_of(block.kernels.front().kind));
  spec.chain = &*block.chain;
  spec.held = rank.sms;
  spec.held_amount = sms;
  cursor.last = graph_.add_task(spec, cursor.needs);
  cursor.needs.clear();
  rank.least_s += block.least_s;
  for (const PricedKernel& each : block.kernels) ledger_.book(each.ledger, each.time);
}

void BlockTasks::experts(std::span<const DeviceId> ranks, Lane& lane,
                         std::span<const PricedKernel> kernels, std::span<const std::int64_t> rows,
                         const Stamp& stamp, std::span<const int> sms) {
  Duration sum{0};
  for (const PricedKernel& each : kernels) sum += each.time;
  const Duration mean = sum / static_cast<std::int64_t>(kernels.size());
  const std::int64_t most_rows = *std::max_element(rows.begin(), rows.end());
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    const PricedKernel& each = kernels[i];
    if (each.time == Duration(0)) continue;  // no row came here: nothing is launched
    const Duration above = std::max(Duration(0), each.time - mean);
    const Cause straggler = rows[i] == most_rows ? Cause::kTokenStraggler : Cause::kGemmStraggler;
    const CauseShare shares[2] = {{id_of(Cause::kExpert), each.time - above},
                                  {id_of(straggler), above}};
    const int r = static_cast<int>(ranks[i].index());
    kernel(r, lane.of(r), each, stamp, sms[i], shares);
  }
}

void BlockTasks::wait(Cursor& cursor, TaskId part) {
  if (setup_.communication_waits) {
    cursor.needs.push_back(part);
  } else {
    loose_.push_back(part);
  }
}

std::vector<TaskId> BlockTasks::add_collective(TaskTag tag, std::span<const PartSpec> parts,
                                               TaskGraph::BodyMaker make) {
  if (setup_.collectives_have_startup) return graph_.add_collective(tag, parts, std::move(make));
  return graph_.add_collective(tag, parts, [make = std::move(make)](CollectiveBody& body) {
    make(body);
    body.startup.assign(body.startup.size(), Duration(0));
    body.beside = Duration(0);
    for (CollectiveBody::Stage& stage : body.stages) stage.delay = Duration(0);
  });
}

void BlockTasks::note(TaskKind kind, const CollectiveConstants* constants) {
  ledger_.note_collective(static_cast<std::int16_t>(kind),
                          constants != nullptr ? constants->label : "assumed",
                          constants != nullptr ? constants->source : assumed_startup().source);
}

TaskGraph::BodyMaker BlockTasks::body_of(const GroupCollective& call, int layer) {
  return [this, call, layer](CollectiveBody& body) {
    const TrafficSink sink = [&](DeviceId from, DeviceId to, Bytes bytes) {
      traffic_(layer, call.kind, from, to, bytes);
    };
    note(call.kind, find_collective_algorithm(call.operation, "nccl-ring")
                        .make({call.operation, call.devices, call.bytes}, network_, sink, body));
  };
}

std::vector<TaskId> BlockTasks::beside(const GroupCollective& call, Lane& lane,
                                       const Stamp& stamp) {
  std::vector<PartSpec> parts;
  for (const DeviceId device : call.devices) {
    const Cursor& cursor = lane.of(static_cast<int>(device.index()));
    PartSpec part;
    part.stream = ranks_[device.index()].communication;
    part.after = cursor.needs;
    part.after.push_back(cursor.last);
    parts.push_back(std::move(part));
  }
  return add_collective(stamp.tag(call.kind), parts, body_of(call, stamp.layer));
}

void BlockTasks::collective(const GroupCollective& call, Lane& lane, const Stamp& stamp) {
  const std::vector<TaskId> ids = beside(call, lane, stamp);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    Cursor& cursor = lane.of(static_cast<int>(call.devices[i].index()));
    if (setup_.communication_waits) cursor.needs.clear();
    wait(cursor, ids[i]);
  }
}

std::vector<TaskId> BlockTasks::reduction(const GroupCollective& call,
                                          std::span<const std::vector<TaskId>> after,
                                          const Stamp& stamp) {
  std::vector<PartSpec> parts;
  for (std::size_t i = 0; i < call.devices.size(); ++i) {
    Rank& rank = ranks_[call.devices[i].index()];
    if (!rank.gradients.valid()) {
      rank.gradients = graph_.add_stream(call.devices[i], StreamKind::kCommunication, Duration(0));
    }
    PartSpec part;
    part.stream = rank.gradients;
    part.after = after[i];
    parts.push_back(std::move(part));
  }
  return add_collective(stamp.tag(call.kind), parts, body_of(call, stamp.layer));
}

std::vector<TaskId> BlockTasks::exchange(const std::shared_ptr<BlockExchange>& data, TaskKind kind,
                                         Lane& lane, const Stamp& stamp) {
  // A backward pass knows the sizes of its forward.
  const bool unknown = setup_.size_exchange != SizeExchange::kNone && kind == TaskKind::kDispatch &&
                       stamp.pass == PassKind::kForward && data->ranks.size() > 1;
  std::vector<std::vector<TaskId>> sizes;
  if (unknown) sizes = exchange_sizes(*data, lane, stamp);
  std::vector<PartSpec> parts;
  for (std::size_t i = 0; i < data->ranks.size(); ++i) {
    const DeviceId device = data->ranks[i];
    const Rank& rank = ranks_[device.index()];
    const Cursor& cursor = lane.of(static_cast<int>(device.index()));
    PartSpec part;
    part.stream = rank.communication;
    part.after = cursor.needs;
    part.after.push_back(cursor.last);
    if (unknown) part.after.insert(part.after.end(), sizes[i].begin(), sizes[i].end());
    part.held = rank.sms;
    part.held_amount = setup_.exchange->receive_hook && !setup_.receive_hook
                           ? sms_of_rows(data->experts, setup_.devices[device.index()]->sms)
                           : setup_.communication_sms;
    if (!setup_.communication_waits) part.held_amount = 0;
    parts.push_back(std::move(part));
  }
  return add_collective(stamp.tag(kind), parts, [this, data, kind](CollectiveBody& body) {
    fill_exchange(*data, kind, body);
  });
}

std::vector<std::vector<TaskId>> BlockTasks::exchange_sizes(const BlockExchange& data, Lane& lane,
                                                            const Stamp& stamp) {
  constexpr std::int64_t kCountBytes = 4;
  const Bytes gathered(kCountBytes * data.experts * static_cast<std::int64_t>(data.ranks.size()));
  const std::vector<TaskId> ids =
      beside({TaskKind::kDispatch, "all-gather", data.ranks, gathered}, lane, stamp);
  std::vector<std::vector<TaskId>> result;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    result.push_back({ids[i]});
    if (setup_.size_exchange != SizeExchange::kHost) continue;
    TaskSpec sync;
    sync.stream = ranks_[data.ranks[i].index()].host;
    sync.tag = stamp.tag(TaskKind::kHostLaunch);
    sync.duration = setup_.host.per_sync;
    sync.shares[0] = {id_of(Cause::kLaunch), setup_.host.per_sync};
    result.back() = {graph_.add_task(sync, {&ids[i], 1})};
  }
  return result;
}

void BlockTasks::fill_exchange(BlockExchange& from, TaskKind kind, CollectiveBody& body) {
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
    return;
  }
  const TrafficSink sink = [&](DeviceId source, DeviceId destination, Bytes bytes) {
    traffic_(from.layer, kind, source, destination, bytes);
  };
  setup_.exchange->make(input, cost, network_, sink, body);
}

StreamId BlockTasks::pipeline_stream(DeviceId rank, DeviceId other, bool sends, PassKind pass) {
  const std::int64_t key =
      other.value() * 4LL + (sends ? 2 : 0) + (pass == PassKind::kForward ? 1 : 0);
  auto& streams = ranks_[rank.index()].pipeline;
  for (const auto& [known, stream] : streams) {
    if (known == key) return stream;
  }
  streams.emplace_back(key, graph_.add_stream(rank, StreamKind::kCommunication, Duration(0)));
  return streams.back().second;
}

BlockTasks::Send BlockTasks::send(DeviceId from, DeviceId to, Bytes bytes,
                                  std::span<const TaskId> after, const Stamp& stamp) {
  PartSpec parts[2];
  parts[0].stream = pipeline_stream(from, to, true, stamp.pass);
  parts[0].after.assign(after.begin(), after.end());
  parts[1].stream = pipeline_stream(to, from, false, stamp.pass);
  const int layer = stamp.layer;
  const std::vector<TaskId> ids = add_collective(
      stamp.tag(TaskKind::kPipelineSend), parts,
      [this, from, to, bytes, layer](CollectiveBody& body) {
        const TrafficSink sink = [&](DeviceId source, DeviceId destination, Bytes payload) {
          traffic_(layer, TaskKind::kPipelineSend, source, destination, payload);
        };
        note(TaskKind::kPipelineSend, make_send(from, to, bytes, network_, sink, body));
      });
  return {ids[0], ids[1]};
}

}  // namespace sim
