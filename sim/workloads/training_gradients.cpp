#include "sim/workloads/training_gradients.h"

#include <algorithm>

#include "sim/core/error.h"

namespace sim {
namespace {

// What is computed with is kept in bf16; 8-bit copies are made of it after the gather.
constexpr double kGatheredBytes = 2;

std::vector<TaskId> after_of(const Cursor& cursor) {
  std::vector<TaskId> result = cursor.needs;
  result.push_back(cursor.last);
  return result;
}

}  // namespace

TrainingGradients::TrainingGradients(const StepSetup& setup, const TrainingWorkload& workload,
                                     BlockTasks& tasks, BlockCosts& costs)
    : setup_(setup), workload_(workload), tasks_(tasks), costs_(costs) {
  const int layers = static_cast<int>(setup.model.layers.size());
  // A table that is embedding and head at once is held once by a stage that has both ends.
  const std::vector<Position>& path = workload.schedule.paths.front();
  const bool held = setup.model.tied_embeddings && path.front().stage == path.back().stage;
  for (int l = 0; l < layers; ++l) {
    const bool head = l + 1 == layers && (!held || l == 0);
    const StageParameters here =
        stage_parameters(setup.model, stage_share(setup, l, l + 1, l == 0, head));
    counts_.push_back({here.dense, here.expert});
  }
}

std::vector<int> TrainingGradients::stages_of(int part) const {
  std::vector<int> stages;
  for (const std::vector<Position>& path : workload_.schedule.paths) {
    const int stage = path[static_cast<std::size_t>(part)].stage;
    if (std::find(stages.begin(), stages.end(), stage) == stages.end()) stages.push_back(stage);
  }
  return stages;
}

TrainingGradients::Counts TrainingGradients::counts_of_stage(int stage) const {
  Counts sum{};
  for (const std::vector<Position>& path : workload_.schedule.paths) {
    for (std::size_t part = 0; part < path.size(); ++part) {
      if (path[part].stage != stage) continue;
      const auto [first, end] = workload_.parts[part];
      for (int l = first; l < end; ++l) {
        for (const Weights weights : kBoth)
          sum[weights] += counts_[static_cast<std::size_t>(l)][weights];
      }
    }
  }
  return sum;
}

std::vector<std::vector<DeviceId>> TrainingGradients::groups(const std::vector<int>& stages,
                                                             Weights weights) const {
  const ParallelLayout& layout = setup_.layout;
  const int distinct = weights == kDense ? layout.tp : layout.etp * layout.ep;
  std::vector<std::vector<DeviceId>> result;
  for (int i = 0; i < distinct; ++i) {
    std::vector<DeviceId> group;
    for (const int stage : stages) {
      const int rank = layout.first_rank(stage) + i;
      const std::vector<DeviceId> here =
          weights == kDense ? layout.dense_replicas(rank) : layout.expert_replicas(rank);
      group.insert(group.end(), here.begin(), here.end());
    }
    std::sort(group.begin(), group.end());
    if (group.size() > 1) result.push_back(std::move(group));
  }
  return result;
}

void TrainingGradients::gather(const std::vector<int>& stages, const Counts& parameters, int layer,
                               const After& after, const Stamp& stamp) {
  for (const int stage : stages) {
    gathered_[{stage, layer}].resize(static_cast<std::size_t>(setup_.layout.stage_ranks()));
  }
  for (const Weights weights : kBoth) {
    const double bytes = static_cast<double>(parameters[weights]) * kGatheredBytes;
    if (bytes == 0) continue;
    for (const std::vector<DeviceId>& group : groups(stages, weights)) {
      PerRank group_after;
      for (const DeviceId device : group)
        group_after.push_back(after(static_cast<int>(device.index())));
      const std::vector<TaskId> ids =
          tasks_.reduction({TaskKind::kParameterGather, "all-gather", group,
                            Bytes(static_cast<std::int64_t>(bytes))},
                           group_after, stamp);
      for (std::size_t i = 0; i < ids.size(); ++i) {
        const int rank = static_cast<int>(group[i].index());
        const int stage = setup_.layout.stage(rank);
        gathered_[{stage, layer}][static_cast<std::size_t>(rank - setup_.layout.first_rank(stage))]
            .push_back(ids[i]);
      }
    }
  }
}

void TrainingGradients::begin_step(int step, Lane& world) {
  step_ = step;
  filling_.clear();
  flushes_.clear();
  arrivals_.clear();
  gathered_.clear();
  finished_.clear();
  ended_.clear();
  reduced_.assign(static_cast<std::size_t>(setup_.layout.world), {});
  const bool gathers = workload_.zero == 1 || workload_.zero == 2;
  if (!gathers || !workload_.overlap_gathers) return;
  for (int part = 0; part < static_cast<int>(workload_.parts.size()); ++part) {
    // Whole layers until a bucket is full, in the order in which the forward pass needs them.
    const auto [begin, end] = workload_.parts[static_cast<std::size_t>(part)];
    Counts filled{};
    int first = begin;
    for (int l = begin; l < end; ++l) {
      for (const Weights weights : kBoth)
        filled[weights] += counts_[static_cast<std::size_t>(l)][weights];
      const double bytes = static_cast<double>(filled[kDense] + filled[kExperts]) * kGatheredBytes;
      if (bytes < static_cast<double>(workload_.gradients.bucket.count()) && l + 1 < end) continue;
      gather(stages_of(part), filled, first, [&](int rank) { return world.of(rank).needs; },
             {step, first, -1, PassKind::kForward});
      filled = {};
      first = l + 1;
    }
  }
}

void TrainingGradients::gather_layer(const TrainingBlocks::PassPlace& place, int layer,
                                     PassKind pass, Lane& lane) {
  gather({place.stage}, counts_[static_cast<std::size_t>(layer)], layer,
         [&](int rank) { return after_of(lane.of(rank)); },
         {step_, layer, place.micro_batch, pass});
}

void TrainingGradients::before_layer(const TrainingBlocks::PassPlace& place, int layer,
                                     PassKind pass, Lane& lane) {
  const bool ahead = workload_.zero == 3;
  if (ahead && gathered_.count({place.stage, layer}) == 0) gather_layer(place, layer, pass, lane);
  const auto found = gathered_.find({place.stage, layer});
  if (found != gathered_.end()) {
    for (std::size_t i = 0; i < found->second.size(); ++i) {
      for (const TaskId part : found->second[i]) tasks_.wait(lane.cursors[i], part);
    }
    gathered_.erase(found);
  }
  if (!ahead) return;
  const int next = pass == PassKind::kForward ? layer + 1 : layer - 1;
  const auto [first, end] = workload_.parts[static_cast<std::size_t>(place.part)];
  if (next >= first && next < end && gathered_.count({place.stage, next}) == 0)
    gather_layer(place, next, pass, lane);
}

void TrainingGradients::after_layer(const TrainingBlocks::PassPlace& place, int layer, bool last,
                                    Lane& lane) {
  if (!last && workload_.zero < 2) return;
  Counts& filling = filling_[{place.stage, place.part}];
  for (const Weights weights : kBoth)
    filling[weights] += counts_[static_cast<std::size_t>(layer)][weights];
  const double bucket = static_cast<double>(workload_.gradients.bucket.count());
  const bool whole = layer == workload_.parts[static_cast<std::size_t>(place.part)].first;
  for (const Weights weights : kBoth) {
    const double bytes =
        static_cast<double>(filling[weights]) * bytes_per_value(workload_.formats.gradient);
    // Without overlap they wait for the end of the stage; what is kept in shares cannot.
    const bool early = workload_.gradients.overlap || workload_.zero >= 2;
    if (bytes > 0 && early && (whole || (workload_.gradients.overlap && bytes >= bucket)))
      flush(place, layer, weights, lane);
  }
}

void TrainingGradients::flush(const TrainingBlocks::PassPlace& place, int layer, Weights weights,
                              Lane& lane) {
  std::int64_t& parameters = filling_[{place.stage, place.part}][weights];
  const int number = flushes_[{place.stage, place.part, weights}]++;
  const std::tuple<int, int, int> key{place.part, weights, number};
  std::vector<Arrival>& arrived = arrivals_[key];
  arrived.push_back({place.stage, {}});
  for (const Cursor& cursor : lane.cursors) arrived.back().after.push_back(after_of(cursor));
  if (arrived.size() == stages_of(place.part).size()) {
    reduce(parameters, weights, arrived, {step_, layer, -1, PassKind::kWeightGradient});
    arrivals_.erase(key);
  }
  parameters = 0;
}

void TrainingGradients::reduce(std::int64_t parameters, Weights weights,
                               const std::vector<Arrival>& arrivals, const Stamp& stamp) {
  std::vector<int> stages;
  for (const Arrival& arrival : arrivals) stages.push_back(arrival.stage);
  const double bytes =
      static_cast<double>(parameters) * bytes_per_value(workload_.formats.gradient);
  for (const std::vector<DeviceId>& group : groups(stages, weights)) {
    PerRank after;
    for (const DeviceId device : group) {
      const int stage = setup_.layout.stage(static_cast<int>(device.index()));
      const auto from = std::find_if(arrivals.begin(), arrivals.end(),
                                     [&](const Arrival& each) { return each.stage == stage; });
      const std::size_t local =
          device.index() - static_cast<std::size_t>(setup_.layout.first_rank(stage));
      after.push_back(from->after[local]);
    }
    const std::vector<TaskId> ids =
        tasks_.reduction({TaskKind::kGradientReduction, reduce_operation(), group,
                          Bytes(static_cast<std::int64_t>(bytes))},
                         after, stamp);
    for (std::size_t i = 0; i < ids.size(); ++i) reduced_[group[i].index()].push_back(ids[i]);
  }
}

void TrainingGradients::finish_stage(int stage, Lane& lane) {
  for (int part = 0; part < static_cast<int>(workload_.parts.size()); ++part) {
    if (filling_.count({stage, part}) == 0) continue;
    for (const Weights weights : kBoth) {
      if (filling_[{stage, part}][weights] > 0)
        flush({step_, -1, stage, part, false},
              workload_.parts[static_cast<std::size_t>(part)].first, weights, lane);
    }
  }
  finished_.emplace(stage, lane);
  // A stage ends when all that share parts with it have come: their reductions are common.
  const auto ready = [&](int each) {
    for (const std::vector<Position>& path : workload_.schedule.paths) {
      for (std::size_t part = 0; part < path.size(); ++part) {
        if (path[part].stage != each) continue;
        for (const int other : stages_of(static_cast<int>(part))) {
          if (finished_.count(other) == 0) return false;
        }
      }
    }
    return true;
  };
  std::vector<int> ending;
  for (auto& [each, at] : finished_) {
    if (ended_.count(each) > 0 || !ready(each)) continue;
    ended_.insert(each);
    ending.push_back(each);
    end_stage(each, at);
  }
  gather_at_end(ending);
}

// Stages that hold the same parts end together.
void TrainingGradients::gather_at_end(const std::vector<int>& ending) {
  const bool gathers = workload_.zero == 1 || workload_.zero == 2;
  if (!gathers || workload_.overlap_gathers) return;
  for (int part = 0; part < static_cast<int>(workload_.parts.size()); ++part) {
    const std::vector<int> stages = stages_of(part);
    if (std::find(ending.begin(), ending.end(), stages.front()) == ending.end()) continue;
    const auto [first, end] = workload_.parts[static_cast<std::size_t>(part)];
    Counts held{};
    for (int l = first; l < end; ++l) {
      for (const Weights weights : kBoth)
        held[weights] += counts_[static_cast<std::size_t>(l)][weights];
    }
    gather(stages, held, first,
           [&](int rank) { return after_of(finished_.at(setup_.layout.stage(rank)).of(rank)); },
           {step_, first, -1, PassKind::kForward});
    for (const int stage : stages) {
      for (const std::vector<TaskId>& parts : gathered_[{stage, first}])
        finals_.insert(finals_.end(), parts.begin(), parts.end());
    }
  }
}

void TrainingGradients::end_stage(int stage, Lane& lane) {
  const ParallelLayout& layout = setup_.layout;
  const Counts held = counts_of_stage(stage);
  const int copies = workload_.schedule.two_copies() ? 2 : 1;
  const std::int64_t dense_shares = workload_.zero == 0 ? 1 : layout.dp * layout.cp * copies;
  const std::int64_t expert_shares = workload_.zero == 0 ? 1 : layout.edp * copies;
  const std::int64_t own =
      held[kDense] / dense_shares + (expert_shares > 0 ? held[kExperts] / expert_shares : 0);
  const Stamp stamp{step_, -1, -1, PassKind::kForward};
  for (int r = lane.first; r < lane.end(); ++r) {
    Cursor& cursor = lane.of(r);
    for (const TaskId id : reduced_[static_cast<std::size_t>(r)]) tasks_.wait(cursor, id);
    reduced_[static_cast<std::size_t>(r)].clear();
    const Device& device = *setup_.devices[static_cast<std::size_t>(r)];
    tasks_.kernels(r, cursor, costs_.optimizer(own, workload_.formats, device), stamp, device.sms);
    finals_.push_back(cursor.last);
  }
}

}  // namespace sim
