// The collective half of TaskGraph: parts, their transfers and what each waited for.
#include <algorithm>
#include <utility>

#include "sim/core/error.h"
#include "sim/core/task_graph.h"

namespace sim {
namespace {

constexpr std::uint64_t pack(std::int32_t collective, std::uint32_t transfer) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(collective)) << 32) | transfer;
}

}  // namespace

std::vector<TaskId> TaskGraph::add_collective(TaskTag tag, std::span<const PartSpec> parts,
                                              BodyMaker make_body) {
  std::int32_t slot = 0;
  if (free_collectives_.empty()) {
    slot = static_cast<std::int32_t>(collectives_.size());
    collectives_.push_back(std::make_unique<Collective>());
  } else {
    slot = free_collectives_.back();
    free_collectives_.pop_back();
    *collectives_[static_cast<std::size_t>(slot)] = Collective{};
  }
  Collective& collective = *collectives_[static_cast<std::size_t>(slot)];
  collective.tag = tag;
  collective.make_body = std::move(make_body);
  collective.parts.resize(parts.size());
  collective.parts_left = static_cast<std::int32_t>(parts.size());
  collective.live = true;
  std::vector<TaskId> ids;
  ids.reserve(parts.size());
  for (std::size_t p = 0; p < parts.size(); ++p) {
    TaskSpec spec;
    spec.stream = parts[p].stream;
    spec.tag = tag;
    spec.held = parts[p].held;
    spec.held_amount = parts[p].held_amount;
    const std::int32_t index = new_task(spec);
    Task& task = tasks_[static_cast<std::size_t>(index)];
    task.collective = slot;
    task.part = static_cast<std::int32_t>(p);
    collective.parts[p].task = index;
    collective.parts[p].device = streams_[parts[p].stream.index()].device;
    connect(index, parts[p].after);
    ids.push_back({index, tasks_[static_cast<std::size_t>(index)].generation});
  }
  // Only now may a part start: a body needs every part to exist.
  for (const TaskId& id : ids) enlist(id.index);
  return ids;
}

void TaskGraph::fill_body(Collective& collective) {
  collective.make_body(collective.body);
  collective.make_body = nullptr;
  collective.filled = true;
  const CollectiveBody& body = collective.body;
  const std::size_t n = collective.parts.size();
  SIM_CHECK(body.startup.size() == n, "a collective's body has a start-up per part");
  collective.transfers.resize(body.transfers.size());
  std::vector<std::uint32_t> sends(n + 1, 0);
  std::vector<std::uint32_t> receives(n + 1, 0);
  for (std::size_t t = 0; t < body.transfers.size(); ++t) {
    const CollectiveBody::Transfer& transfer = body.transfers[t];
    SIM_CHECK(transfer.bytes > Bytes(0) && transfer.uses_end > transfer.uses_begin,
              "a transfer moves bytes over something");
    ++sends[static_cast<std::size_t>(transfer.from) + 1];
    ++collective.parts[static_cast<std::size_t>(transfer.from)].outstanding;
    std::int32_t waits = 1;
    for (std::uint32_t r = transfer.receivers_begin; r < transfer.receivers_end; ++r) {
      const std::size_t part = static_cast<std::size_t>(body.receivers[r]);
      SIM_CHECK(body.receivers[r] != transfer.from,
                "a part does not send to itself over the network");
      ++receives[part + 1];
      ++collective.parts[part].outstanding;
      if (body.start == StartRule::kRendezvous) ++waits;
    }
    collective.transfers[t].waits = waits;
  }
  for (std::size_t p = 0; p < n; ++p) {
    sends[p + 1] += sends[p];
    receives[p + 1] += receives[p];
    collective.parts[p].sends_begin = sends[p];
    collective.parts[p].sends_end = sends[p + 1];
  }
  collective.by_sender.resize(sends[n]);
  collective.by_receiver.resize(receives[n]);
  collective.receives_begin = receives;
  std::vector<std::uint32_t> next_send(sends.begin(), sends.end() - 1);
  std::vector<std::uint32_t> next_receive(receives.begin(), receives.end() - 1);
  for (std::size_t t = 0; t < body.transfers.size(); ++t) {
    const CollectiveBody::Transfer& transfer = body.transfers[t];
    collective.by_sender[next_send[static_cast<std::size_t>(transfer.from)]++] =
        static_cast<std::uint32_t>(t);
    for (std::uint32_t r = transfer.receivers_begin; r < transfer.receivers_end; ++r) {
      collective.by_receiver[next_receive[static_cast<std::size_t>(body.receivers[r])]++] =
          static_cast<std::uint32_t>(t);
    }
  }
  compute_alone(collective);
}

// How long each part's own bytes, sent and received, would take with the network to themselves.
void TaskGraph::compute_alone(Collective& collective) {
  const CollectiveBody& body = collective.body;
  load_scratch_.resize(network_.resource_count(), 0);
  std::vector<std::uint32_t> touched;
  for (std::size_t p = 0; p < collective.parts.size(); ++p) {
    PartState& part = collective.parts[p];
    Duration latency{0};
    touched.clear();
    const auto add = [&](std::uint32_t t) {
      const CollectiveBody::Transfer& transfer = body.transfers[t];
      latency = std::max(latency, transfer.latency);
      for (std::uint32_t u = transfer.uses_begin; u < transfer.uses_end; ++u) {
        const std::size_t r = body.uses[u].resource.index();
        if (load_scratch_[r] == 0) touched.push_back(static_cast<std::uint32_t>(r));
        load_scratch_[r] += body.uses[u].multiplier * static_cast<double>(transfer.bytes.count());
      }
    };
    for (std::uint32_t i = part.sends_begin; i < part.sends_end; ++i) add(collective.by_sender[i]);
    for (std::uint32_t i = collective.receives_begin[p]; i < collective.receives_begin[p + 1];
         ++i) {
      add(collective.by_receiver[i]);
    }
    double seconds = 0;
    for (const std::uint32_t r : touched) {
      const double capacity = network_.capacity(ResourceId(r)).count();
      if (capacity > 0) seconds = std::max(seconds, load_scratch_[r] / capacity);
      load_scratch_[r] = 0;
    }
    part.alone = latency + duration_from_seconds(seconds);
  }
}

void TaskGraph::enter_part(std::int32_t index) {
  const Task& task = tasks_[static_cast<std::size_t>(index)];
  const std::int32_t c = task.collective;
  const std::int32_t p = task.part;
  Collective& collective = *collectives_[static_cast<std::size_t>(c)];
  if (!collective.filled) fill_body(collective);
  PartState& part = collective.parts[static_cast<std::size_t>(p)];
  part.entered = true;
  part.entered_at = loop_.now();
  const Duration startup = collective.body.startup[static_cast<std::size_t>(p)];
  releases_[static_cast<std::size_t>(task.release)].causes[causes_.startup] += startup.count();
  if (startup > Duration(0)) {
    loop_.after(startup, [this, c, p] { part_ready(c, p); });
  } else {
    part_ready(c, p);
  }
}

void TaskGraph::part_ready(std::int32_t c, std::int32_t p) {
  Collective& collective = *collectives_[static_cast<std::size_t>(c)];
  PartState& part = collective.parts[static_cast<std::size_t>(p)];
  part.ready = true;
  part.ready_at = loop_.now();
  part.ready_release = new_release();
  releases_[static_cast<std::size_t>(part.ready_release)] =
      releases_[static_cast<std::size_t>(tasks_[static_cast<std::size_t>(part.task)].release)];
  for (std::uint32_t i = part.sends_begin; i < part.sends_end; ++i)
    reach_transfer(c, collective.by_sender[i], p);
  if (collective.body.start == StartRule::kRendezvous) {
    const std::size_t n = static_cast<std::size_t>(p);
    for (std::uint32_t i = collective.receives_begin[n]; i < collective.receives_begin[n + 1];
         ++i) {
      reach_transfer(c, collective.by_receiver[i], p);
    }
  }
  if (part.outstanding == 0) end_part(c, p, p);
}

void TaskGraph::reach_transfer(std::int32_t c, std::uint32_t t, std::int32_t part) {
  Collective& collective = *collectives_[static_cast<std::size_t>(c)];
  TransferState& state = collective.transfers[t];
  state.initiator = part;
  if (--state.waits > 0) return;
  const Duration latency = collective.body.transfers[t].latency;
  if (latency > Duration(0)) {
    loop_.after(latency, [this, c, t] { launch_transfer(c, t); });
  } else {
    launch_transfer(c, t);
  }
}

void TaskGraph::launch_transfer(std::int32_t c, std::uint32_t t) {
  const CollectiveBody& body = collectives_[static_cast<std::size_t>(c)]->body;
  const CollectiveBody::Transfer& transfer = body.transfers[t];
  network_.start(
      std::span(body.uses).subspan(transfer.uses_begin, transfer.uses_end - transfer.uses_begin),
      transfer.bytes, pack(c, t));
}

void TaskGraph::transfer_ended(std::uint64_t tag) {
  const std::int32_t c = static_cast<std::int32_t>(tag >> 32);
  const std::uint32_t t = static_cast<std::uint32_t>(tag);
  Collective& collective = *collectives_[static_cast<std::size_t>(c)];
  const CollectiveBody::Transfer transfer = collective.body.transfers[t];
  const std::int32_t initiator = collective.transfers[t].initiator;
  std::vector<std::int32_t> parties(collective.body.receivers.begin() + transfer.receivers_begin,
                                    collective.body.receivers.begin() + transfer.receivers_end);
  parties.push_back(transfer.from);
  for (const std::int32_t p : parties) {
    PartState& part = collective.parts[static_cast<std::size_t>(p)];
    if (--part.outstanding == 0 && part.ready) end_part(c, p, initiator);
  }
}

// `initiator`: the part whose arrival started the transfer that ended last, or the part itself.
void TaskGraph::end_part(std::int32_t c, std::int32_t p, std::int32_t initiator) {
  Collective& collective = *collectives_[static_cast<std::size_t>(c)];
  PartState& part = collective.parts[static_cast<std::size_t>(p)];
  SIM_CHECK(!part.done, "a part ends once");
  part.done = true;
  const PartState& first = collective.parts[static_cast<std::size_t>(initiator)];
  Task& task = tasks_[static_cast<std::size_t>(part.task)];
  Release& release = releases_[static_cast<std::size_t>(task.release)];
  const Duration elapsed = loop_.now() - first.ready_at;
  release.causes = releases_[static_cast<std::size_t>(first.ready_release)].causes;
  const Duration network = std::min(elapsed, part.alone);
  release.causes[causes_.network] += network.count();
  release.causes[causes_.congestion] += (elapsed - network).count();
  const DeviceId device = part.device;
  const DeviceId peer = first.device;
  const Time since = part.entered_at;
  const Duration waited = std::clamp(first.entered_at - since, Duration(0), loop_.now() - since);
  observer_.on_part(
      {task.spec.tag, device, since, loop_.now(), peer, initiator == p ? Duration(0) : waited});
  const Time peer_ready = initiator == p ? since : first.entered_at;
  const std::int32_t index = part.task;
  const bool last = --collective.parts_left == 0;
  if (last) {
    for (const PartState& each : collective.parts) free_release(each.ready_release);
    collective.live = false;
    collective.body = CollectiveBody{};
    free_collectives_.push_back(c);
  }
  finish(index, ReleaseKind::kPart, peer, peer_ready);
}

}  // namespace sim
