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
  collective.begin.assign(2 * n + 1, 0);
  // The group of a party: 2p for what part p sends, 2p + 1 for what it receives.
  const auto each_party = [&](std::size_t t, const auto& visit) {
    const CollectiveBody::Transfer& transfer = body.transfers[t];
    for (std::uint32_t i = transfer.parties_begin; i < transfer.parties_end; ++i) {
      visit(static_cast<std::size_t>(body.parties[i]) * 2 + (i < transfer.senders_end ? 0 : 1));
    }
  };
  for (std::size_t t = 0; t < body.transfers.size(); ++t) {
    const CollectiveBody::Transfer& transfer = body.transfers[t];
    SIM_CHECK(transfer.bytes > Bytes(0) && transfer.uses_end > transfer.uses_begin &&
                  transfer.senders_end > transfer.parties_begin,
              "a transfer moves bytes from somewhere over something");
    const std::uint32_t last =
        body.start == StartRule::kRendezvous ? transfer.parties_end : transfer.senders_end;
    collective.transfers[t].waits = static_cast<std::int32_t>(last - transfer.parties_begin);
    each_party(t, [&](std::size_t group) {
      ++collective.begin[group + 1];
      ++collective.parts[group / 2].outstanding;
    });
  }
  for (std::size_t g = 0; g < 2 * n; ++g) collective.begin[g + 1] += collective.begin[g];
  collective.by_part.resize(collective.begin[2 * n]);
  std::vector<std::uint32_t> next(collective.begin.begin(), collective.begin.end() - 1);
  for (std::size_t t = 0; t < body.transfers.size(); ++t) {
    each_party(t, [&](std::size_t group) {
      collective.by_part[next[group]++] = static_cast<std::uint32_t>(t);
    });
  }
  compute_alone(collective);
}

// How long each part's own bytes, sent and received, would take with the network to themselves.
void TaskGraph::compute_alone(Collective& collective) {
  const CollectiveBody& body = collective.body;
  load_scratch_.resize(network_.resource_count(), 0);
  std::vector<std::uint32_t> touched;
  for (std::size_t p = 0; p < collective.parts.size(); ++p) {
    Duration latency{0};
    touched.clear();
    for (std::uint32_t i = collective.begin[2 * p]; i < collective.begin[2 * p + 2]; ++i) {
      const CollectiveBody::Transfer& transfer = body.transfers[collective.by_part[i]];
      latency = std::max(latency, transfer.latency);
      for (std::uint32_t u = transfer.uses_begin; u < transfer.uses_end; ++u) {
        const std::size_t r = body.uses[u].resource.index();
        if (load_scratch_[r] == 0) touched.push_back(static_cast<std::uint32_t>(r));
        load_scratch_[r] += body.uses[u].multiplier * static_cast<double>(transfer.bytes.count());
      }
    }
    double seconds = 0;
    for (const std::uint32_t r : touched) {
      const double capacity = network_.capacity(ResourceId(r)).count();
      if (capacity > 0) seconds = std::max(seconds, load_scratch_[r] / capacity);
      load_scratch_[r] = 0;
    }
    collective.parts[p].alone = latency + duration_from_seconds(seconds);
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
  const std::size_t group = static_cast<std::size_t>(p) * 2;
  const std::uint32_t end =
      collective.begin[group + (collective.body.start == StartRule::kRendezvous ? 2 : 1)];
  for (std::uint32_t i = collective.begin[group]; i < end; ++i)
    reach_transfer(c, collective.by_part[i], p);
  if (part.outstanding == 0) part_served(c, p, p);
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
  for (std::uint32_t i = transfer.parties_begin; i < transfer.parties_end; ++i) {
    if (!collective.live) break;  // the last part of it ended, and with it the list
    const std::int32_t p = collective.body.parties[i];
    PartState& part = collective.parts[static_cast<std::size_t>(p)];
    if (--part.outstanding == 0 && part.ready) part_served(c, p, initiator);
  }
}

void TaskGraph::part_served(std::int32_t c, std::int32_t p, std::int32_t initiator) {
  const Collective& collective = *collectives_[static_cast<std::size_t>(c)];
  const Time least =
      collective.parts[static_cast<std::size_t>(p)].entered_at + collective.body.least;
  if (least > loop_.now()) {
    loop_.at(least, [this, c, p] {
      end_part(c, p, p, EndedBy::kFloor);
    });  // its own floor held it up last
  } else {
    end_part(c, p, initiator, EndedBy::kTransfers);
  }
}

// `initiator`: the part whose arrival started the transfer that ended last, or the part itself.
void TaskGraph::end_part(std::int32_t c, std::int32_t p, std::int32_t initiator, EndedBy by) {
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
  const CauseId rest = by == EndedBy::kFloor ? causes_.startup : causes_.congestion;
  release.causes[rest] += (elapsed - network).count();
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
