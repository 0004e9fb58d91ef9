// The collective half of TaskGraph: parts, their transfers and what each waited for.
#include <algorithm>
#include <cmath>
#include <utility>

#include "sim/core/error.h"
#include "sim/core/task_graph.h"

namespace sim {
namespace {

// (a^4 + b^4)^(1/4); b when there is no a.
Duration beside_each_other(Duration a, Duration b) {
  if (a == Duration(0)) return b;
  const double x = to_seconds(a) * to_seconds(a);
  const double y = to_seconds(b) * to_seconds(b);
  return std::max({a, b, duration_from_seconds(std::sqrt(std::sqrt(x * x + y * y)))});
}

constexpr std::uint64_t pack(std::int32_t collective, std::uint32_t transfer) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(collective)) << 32) | transfer;
}

bool opens_first(const CollectiveBody& body, std::int32_t stage) {
  if (body.stages.empty()) return true;
  const auto& after = body.stages[static_cast<std::size_t>(stage)].after;
  return after[0] < 0 && after[1] < 0;
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

void TaskGraph::enter_part(std::int32_t index) {
  Task& task = tasks_[static_cast<std::size_t>(index)];
  const std::int32_t c = task.collective;
  const std::int32_t p = task.part;
  Collective& collective = *collectives_[static_cast<std::size_t>(c)];
  if (!collective.filled) fill_body(collective);
  PartState& part = collective.parts[static_cast<std::size_t>(p)];
  part.entered = true;
  part.entered_at = loop_.now();
  const Duration startup = collective.body.startup[static_cast<std::size_t>(p)];
  if (startup > Duration(0)) {
    own_causes(task)[causes_.startup] += startup.count();
    loop_.after(startup, [this, c, p] { part_ready(c, p); });
  } else {
    part_ready(c, p);
  }
}

void TaskGraph::part_ready(std::int32_t c, std::int32_t p) {
  Collective& collective = *collectives_[static_cast<std::size_t>(c)];
  PartState& part = collective.parts[static_cast<std::size_t>(p)];
  part.release = tasks_[static_cast<std::size_t>(part.task)].release;
  ++releases_[static_cast<std::size_t>(part.release)].users;
  const std::int32_t stages = collective.stage_count;
  // All are released before one is opened: that may end the part.
  std::int32_t left = 0;
  for (std::int32_t s = 0; s < stages; ++s) {
    const std::size_t slot = static_cast<std::size_t>(p * stages + s);
    if (collective.stages[slot].before > 0) continue;
    ++left;
    collective.stages[slot].root = p;
  }
  for (std::int32_t s = 0; left > 0; ++s) {
    if (!opens_first(collective.body, s)) continue;
    --left;
    delay_stage(c, p * stages + s);
  }
}

// Opens a stage after its own delay. REQUIRES: its path and root are set.
void TaskGraph::delay_stage(std::int32_t c, std::int32_t slot) {
  Collective& collective = *collectives_[static_cast<std::size_t>(c)];
  const std::vector<CollectiveBody::Stage>& stages = collective.body.stages;
  const Duration delay =
      stages.empty() ? Duration(0)
                     : stages[static_cast<std::size_t>(slot % collective.stage_count)].delay;
  if (delay == Duration(0)) {
    open_stage(c, slot);
    return;
  }
  collective.stages[static_cast<std::size_t>(slot)].path.startup += delay;
  loop_.after(delay, [this, c, slot] { open_stage(c, slot); });
}

void TaskGraph::open_stage(std::int32_t c, std::int32_t slot) {
  Collective& collective = *collectives_[static_cast<std::size_t>(c)];
  StageState& state = collective.stages[static_cast<std::size_t>(slot)];
  state.open = true;
  state.opened_at = loop_.now();
  if (!collective.first_open) collective.first_open = loop_.now();
  if (collective.port_run) {
    collective.port_run->reach(slot);
    ports_served(c);
    return;
  }
  const std::size_t group = static_cast<std::size_t>(slot) * 2;
  const std::uint32_t end =
      collective.begin[group + (collective.body.start == StartRule::kRendezvous ? 2 : 1)];
  for (std::uint32_t i = collective.begin[group]; i < end; ++i)
    reach_transfer(c, collective.by_part[i], slot);
  if (state.outstanding == 0) stage_served(c, slot, slot);
}

void TaskGraph::reach_transfer(std::int32_t c, std::uint32_t t, std::int32_t slot) {
  Collective& collective = *collectives_[static_cast<std::size_t>(c)];
  TransferState& state = collective.transfers[t];
  state.initiator = slot;
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
      transfer.bytes, pack(c, t), {.weight = transfer.weight});
}

void TaskGraph::transfer_ended(std::uint64_t tag) {
  const std::int32_t c = static_cast<std::int32_t>(tag >> 32);
  const std::uint32_t t = static_cast<std::uint32_t>(tag);
  Collective& collective = *collectives_[static_cast<std::size_t>(c)];
  if (collective.port_run) {
    collective.port_run->transfer_ended(t);
    ports_served(c);
    return;
  }
  const CollectiveBody::Transfer transfer = collective.body.transfers[t];
  const std::int32_t initiator = collective.transfers[t].initiator;
  for (std::uint32_t i = transfer.parties_begin; i < transfer.parties_end; ++i) {
    if (!collective.live) break;  // the last part of it ended, and with it the list
    const std::int32_t slot = collective.body.parties[i] * collective.stage_count + transfer.stage;
    StageState& state = collective.stages[static_cast<std::size_t>(slot)];
    if (--state.outstanding == 0 && state.open) stage_served(c, slot, initiator);
  }
}

// The last of them ends the collective, and with it the run they were taken from.
void TaskGraph::ports_served(std::int32_t c) {
  const std::vector<PortRun::Served> parts =
      collectives_[static_cast<std::size_t>(c)]->port_run->take_served();
  for (const PortRun::Served& each : parts) stage_served(c, each.part, each.initiator);
}

// A part is done with a stage: the ones after it may open. `initiator`: slot of the stage whose
// opening started the transfer that ended last, or the stage itself.
void TaskGraph::stage_served(std::int32_t c, std::int32_t slot, std::int32_t initiator) {
  Collective& collective = *collectives_[static_cast<std::size_t>(c)];
  const std::int32_t stage = slot % collective.stage_count;
  const std::int32_t p = slot / collective.stage_count;
  const bool last = --collective.parts[static_cast<std::size_t>(p)].stages_left == 0;
  if (!last && !collective.followers.empty()) {
    const std::vector<StageId>& followers = collective.followers[static_cast<std::size_t>(stage)];
    for (const StageId next : followers) {
      const std::int32_t follower = slot - stage + next;
      StageState& state = collective.stages[static_cast<std::size_t>(follower)];
      if (--state.before > 0) continue;
      const StageState& first = collective.stages[static_cast<std::size_t>(initiator)];
      state.path = path_to_now(first, collective.stages[static_cast<std::size_t>(slot)]);
      state.root = first.root;
      delay_stage(c, follower);
    }
  }
  if (last) part_served(c, slot, initiator);
}

void TaskGraph::part_served(std::int32_t c, std::int32_t slot, std::int32_t initiator) {
  const Collective& collective = *collectives_[static_cast<std::size_t>(c)];
  const std::size_t p = static_cast<std::size_t>(slot / collective.stage_count);
  const Duration elapsed = loop_.now() - collective.parts[p].entered_at;
  const Duration whole = beside_each_other(collective.body.beside, elapsed);
  if (whole > elapsed) {
    loop_.after(whole - elapsed, [this, c, slot] {
      end_part(c, slot, slot, EndedBy::kFloor);
    });  // its own latency held it up last
  } else {
    end_part(c, slot, initiator, EndedBy::kTransfers);
  }
}

// The path through `initiator`'s opening to now, where `served` was done: its own bytes on idle
// links, the rest is congestion.
TaskGraph::PathInside TaskGraph::path_to_now(const StageState& initiator,
                                             const StageState& served) const {
  PathInside path = initiator.path;
  const Duration elapsed = loop_.now() - initiator.opened_at;
  const Duration network = std::min(elapsed, served.alone);
  path.network += network;
  path.congestion += elapsed - network;
  return path;
}

// Called when the last part ends: the exchange was not faster than its bytes over the tightest
// resource.
void TaskGraph::certify(const Collective& collective) {
  const Duration elapsed = loop_.now() - *collective.first_open;
  SIM_CHECK(collective.capacity_changes != network_.capacity_changes() ||
                to_seconds(elapsed) >= collective.bound_s * (1 - 1e-9) - 2e-12,
            "a collective is not faster than its bytes over the tightest resource");
  observer_.on_collective({collective.tag, elapsed, collective.bound_s});
}

// `initiator`: the stage whose opening started the transfer that ended last, or `slot` itself.
void TaskGraph::end_part(std::int32_t c, std::int32_t slot, std::int32_t initiator, EndedBy by) {
  Collective& collective = *collectives_[static_cast<std::size_t>(c)];
  const std::int32_t p = slot / collective.stage_count;
  PartState& part = collective.parts[static_cast<std::size_t>(p)];
  SIM_CHECK(!part.done, "a part ends once");
  part.done = true;
  const StageState& last_stage = collective.stages[static_cast<std::size_t>(initiator)];
  const std::int32_t root = last_stage.root;
  const PartState& first = collective.parts[static_cast<std::size_t>(root)];
  Task& task = tasks_[static_cast<std::size_t>(part.task)];
  PathInside path = path_to_now(last_stage, collective.stages[static_cast<std::size_t>(slot)]);
  if (by == EndedBy::kFloor) {
    path.startup += path.congestion - last_stage.path.congestion;
    path.congestion = last_stage.path.congestion;
  }
  share_release(part.task, first.release);
  CauseVector& causes = own_causes(task);
  causes[causes_.startup] += path.startup.count();
  causes[causes_.network] += path.network.count();
  causes[causes_.congestion] += path.congestion.count();
  const Releaser before = releases_[static_cast<std::size_t>(first.release)].by;
  const DeviceId device = part.device;
  const DeviceId peer = first.device;
  const Time since = part.entered_at;
  const Duration waited = std::clamp(first.entered_at - since, Duration(0), loop_.now() - since);
  PartSpan span{task.spec.tag, device, since, loop_.now(), peer, root == p ? Duration(0) : waited};
  if (count_bytes_) add_bytes(collective, p, span);
  observer_.on_part(span);
  const Time peer_ready = root == p ? since : first.entered_at;
  const std::int32_t index = part.task;
  const bool last = --collective.parts_left == 0;
  if (last) {
    certify(collective);
    for (const PartState& each : collective.parts) drop_release(each.release);
    collective.live = false;
    collective.port_run = nullptr;
    collective.body = CollectiveBody{};
    free_collectives_.push_back(c);
  }
  PathRecord record;
  record.is_part = true;
  record.start = since;
  record.from = peer;
  record.from_entered = first.entered_at;
  record.tightest = collective.stages[static_cast<std::size_t>(slot)].tightest;
  record.tightest_of_all = collective.tightest;
  const TaskTag tag = collective.tag;
  finish(index, {ReleaseKind::kPart, peer, peer_ready, tag},
         before.kind == ReleaseKind::kPart ? before : Releaser{}, &record);
}

}  // namespace sim
