// A body put together, and the lookups that a running collective needs on top of it.
#include "sim/core/collective_body.h"

#include <algorithm>
#include <limits>

#include "sim/core/error.h"
#include "sim/core/task_graph.h"

namespace sim {
namespace {

// Bytes per resource, and the longest time that one of them takes.
class LoadSum {
 public:
  // `scratch`: all zero, and left so.
  LoadSum(const FluidNetwork& network, std::vector<double>& scratch)
      : network_(network), load_(scratch) {
    load_.resize(network.resource_count(), 0);
  }
  void add(std::span<const ResourceUse> uses, Bytes bytes) {
    for (const ResourceUse& use : uses) {
      double& load = load_[use.resource.index()];
      if (load == 0) touched_.push_back(use.resource);
      load += use.multiplier * static_cast<double>(bytes.count());
    }
  }
  // And which resource that is. One without capacity counts for nothing: what it carries never ends
  // anyway.
  double take_seconds(ResourceId& tightest) {
    double seconds = 0;
    tightest = ResourceId();
    for (const ResourceId r : touched_) {
      const double capacity = network_.capacity(r).count();
      const double here = capacity > 0 ? load_[r.index()] / capacity : 0;
      if (here > seconds) {
        seconds = here;
        tightest = r;
      }
      load_[r.index()] = 0;
    }
    touched_.clear();
    return seconds;
  }

 private:
  const FluidNetwork& network_;
  std::vector<double>& load_;
  std::vector<ResourceId> touched_;
};

}  // namespace

void CollectiveBody::add(std::span<const std::int32_t> senders,
                         std::span<const std::int32_t> receivers, Bytes bytes, Duration latency,
                         std::span<const ResourceUse> path, StageId stage, double weight) {
  Transfer transfer;
  transfer.parties_begin = static_cast<std::uint32_t>(parties.size());
  parties.insert(parties.end(), senders.begin(), senders.end());
  transfer.senders_end = static_cast<std::uint32_t>(parties.size());
  parties.insert(parties.end(), receivers.begin(), receivers.end());
  transfer.parties_end = static_cast<std::uint32_t>(parties.size());
  transfer.uses_begin = static_cast<std::uint32_t>(uses.size());
  uses.insert(uses.end(), path.begin(), path.end());
  transfer.uses_end = static_cast<std::uint32_t>(uses.size());
  transfer.bytes = bytes;
  transfer.latency = latency;
  transfer.stage = stage;
  transfer.weight = weight;
  transfers.push_back(transfer);
}

StageId CollectiveBody::add_stage(const Stage& stage) {
  SIM_CHECK(stages.size() < static_cast<std::size_t>(std::numeric_limits<StageId>::max()),
            "a stage has a small number");
  for (const StageId before : stage.after) {
    SIM_CHECK(before < static_cast<StageId>(stages.size()), "a stage comes after earlier ones");
  }
  stages.push_back(stage);
  return static_cast<StageId>(stages.size() - 1);
}

void TaskGraph::fill_body(Collective& collective) {
  collective.make_body(collective.body);
  collective.make_body = nullptr;
  collective.filled = true;
  const CollectiveBody& body = collective.body;
  const std::size_t parts = collective.parts.size();
  const std::size_t stages = body.stage_count();
  bound(collective);
  collective.capacity_changes = network_.capacity_changes();
  SIM_CHECK(body.startup.size() == parts, "a collective's body has a start-up per part");
  SIM_CHECK(parts * stages < std::size_t{1} << 30, "stages of parts can be counted");
  collective.stage_count = static_cast<std::int32_t>(stages);
  collective.stages.assign(parts * stages, {});
  for (PartState& part : collective.parts) part.stages_left = collective.stage_count;
  if (body.ports) {
    fill_ports(collective);
    return;
  }
  collective.transfers.resize(body.transfers.size());
  collective.begin.assign(2 * parts * stages + 1, 0);
  // The group of a party: 2 slot for what it sends in this stage, 2 slot + 1 for what it receives.
  const auto each_party = [&](std::size_t t, const auto& visit) {
    const CollectiveBody::Transfer& transfer = body.transfers[t];
    const std::size_t stage = static_cast<std::size_t>(transfer.stage);
    for (std::uint32_t i = transfer.parties_begin; i < transfer.parties_end; ++i) {
      const std::size_t slot = static_cast<std::size_t>(body.parties[i]) * stages + stage;
      visit(slot * 2 + (i < transfer.senders_end ? 0 : 1));
    }
  };
  for (std::size_t t = 0; t < body.transfers.size(); ++t) {
    const CollectiveBody::Transfer& transfer = body.transfers[t];
    SIM_CHECK(transfer.bytes > Bytes(0) && transfer.uses_end > transfer.uses_begin &&
                  transfer.senders_end > transfer.parties_begin,
              "a transfer moves bytes from somewhere over something");
    SIM_CHECK(transfer.stage >= 0 && static_cast<std::size_t>(transfer.stage) < stages,
              "a transfer belongs to a stage of its body");
    const std::uint32_t last =
        body.start == StartRule::kRendezvous ? transfer.parties_end : transfer.senders_end;
    collective.transfers[t].waits = static_cast<std::int32_t>(last - transfer.parties_begin);
    each_party(t, [&](std::size_t group) {
      ++collective.begin[group + 1];
      ++collective.stages[group / 2].outstanding;
    });
  }
  for (std::size_t g = 0; g + 1 < collective.begin.size(); ++g)
    collective.begin[g + 1] += collective.begin[g];
  collective.by_part.resize(collective.begin.back());
  std::vector<std::uint32_t> next(collective.begin.begin(), collective.begin.end() - 1);
  for (std::size_t t = 0; t < body.transfers.size(); ++t) {
    each_party(t, [&](std::size_t group) {
      collective.by_part[next[group]++] = static_cast<std::uint32_t>(t);
    });
  }
  link_stages(collective);
  compute_alone(collective);
}

void TaskGraph::fill_ports(Collective& collective) {
  const CollectiveBody& body = collective.body;
  SIM_CHECK(body.transfers.empty() && body.stages.empty(), "ports stand in place of transfers");
  SIM_CHECK(body.ports->parts() == collective.parts.size(), "a part has its ports");
  const auto slot = static_cast<std::uint64_t>(static_cast<std::uint32_t>(
      tasks_[static_cast<std::size_t>(collective.parts.front().task)].collective));
  collective.port_run =
      std::make_unique<PortRun>(*body.ports, body.start, loop_, network_, slot << 32);
  LoadSum sum(network_, load_scratch_);
  for (std::size_t p = 0; p < collective.parts.size(); ++p) {
    for (std::size_t q = 4 * p; q < 4 * p + 4; ++q) {
      const PortBody::Port& port = body.ports->ports[q];
      sum.add(std::span(body.ports->uses).subspan(port.uses_begin, port.uses_end - port.uses_begin),
              port.bytes);
    }
    StageState& stage = collective.stages[p];
    stage.alone = body.ports->latency[p] + duration_from_seconds(sum.take_seconds(stage.tightest));
  }
}

// No network can be faster: the longest time that one resource needs for all that the body puts on
// it.
void TaskGraph::bound(Collective& collective) {
  const CollectiveBody& body = collective.body;
  LoadSum sum(network_, load_scratch_);
  for (const CollectiveBody::Transfer& transfer : body.transfers) {
    sum.add(
        std::span(body.uses).subspan(transfer.uses_begin, transfer.uses_end - transfer.uses_begin),
        transfer.bytes);
  }
  if (body.ports) {
    for (const PortBody::Port& port : body.ports->ports) {
      sum.add(std::span(body.ports->uses).subspan(port.uses_begin, port.uses_end - port.uses_begin),
              port.bytes);
    }
  }
  collective.bound_s = sum.take_seconds(collective.tightest);
}

// Who waits for which stage: the same for every part.
void TaskGraph::link_stages(Collective& collective) {
  const std::vector<CollectiveBody::Stage>& stages = collective.body.stages;
  collective.followers.assign(stages.size(), {});
  for (std::size_t s = 0; s < stages.size(); ++s) {
    for (const StageId before : stages[s].after) {
      if (before < 0) continue;
      SIM_CHECK(static_cast<std::size_t>(before) < s, "a stage comes after earlier ones");
      collective.followers[static_cast<std::size_t>(before)].push_back(static_cast<StageId>(s));
      for (std::size_t p = 0; p < collective.parts.size(); ++p)
        ++collective.stages[p * stages.size() + s].before;
    }
  }
}

// How long each part's own bytes of a stage, sent and received, would take with the network to
// themselves.
void TaskGraph::compute_alone(Collective& collective) {
  const CollectiveBody& body = collective.body;
  LoadSum sum(network_, load_scratch_);
  for (std::size_t slot = 0; slot < collective.stages.size(); ++slot) {
    Duration latency{0};
    for (std::uint32_t i = collective.begin[2 * slot]; i < collective.begin[2 * slot + 2]; ++i) {
      const CollectiveBody::Transfer& transfer = body.transfers[collective.by_part[i]];
      latency = std::max(latency, transfer.latency);
      sum.add(std::span(body.uses).subspan(transfer.uses_begin,
                                           transfer.uses_end - transfer.uses_begin),
              transfer.bytes);
    }
    StageState& stage = collective.stages[slot];
    stage.alone = latency + duration_from_seconds(sum.take_seconds(stage.tightest));
  }
}

}  // namespace sim
