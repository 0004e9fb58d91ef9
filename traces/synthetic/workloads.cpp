#include "traces/synthetic/workloads.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/core/error.h"
#include "sim/core/random.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace {

constexpr double kHotShare = 0.75;          // of tokens (published: three of four)
constexpr double kBurstHotShare = 0.5;      // in a burst (published: one of two)
constexpr double kDefaultRaggedness = 1.5;  // assumed: the benchmark states none

int default_hot_experts(int experts, int top_k) { return std::max(top_k, experts / 4); }

// Of a share of hot tokens; see workloads.h.
double intensity_at(double share, int hot, int experts, int top_k) {
  const double from_hot =
      static_cast<double>(std::min(top_k, hot)) * experts / (static_cast<double>(top_k) * hot);
  return share * from_hot + (1 - share);
}

std::string layer_text(int experts, int top_k) {
  return fmt::format("{} experts, top-{}", experts, top_k);
}

// How many experts are hot in a step that has hot ones.
int hot_count(const WorkloadSpec& spec, int experts, int top_k) {
  const std::string_view name = named(spec.workload).name;
  if (spec.workload == Workload::kHotRank || spec.workload == Workload::kSpreadHot) {
    if (spec.expert_ranks < 2) {
      throw Error(fmt::format("{} needs an expert-parallel degree of at least 2", name),
                  "one rank holds every expert");
    }
  }
  if (spec.workload == Workload::kHotRank) {
    if (spec.rank < 0 || spec.rank >= spec.expert_ranks) {
      throw Error(fmt::format("rank {} is not one of {} ranks", spec.rank, spec.expert_ranks),
                  "ranks are counted from 0 inside an expert-parallel group");
    }
    const int held = block_of_rank(experts, spec.expert_ranks, spec.rank).size;
    if (held == 0) {
      throw Error(fmt::format("rank {} of {} holds none of {} experts", spec.rank,
                              spec.expert_ranks, experts));
    }
    return held;
  }
  const int fallback = spec.workload == Workload::kSpreadHot
                           ? block_of_rank(experts, spec.expert_ranks, 0).size
                           : default_hot_experts(experts, top_k);
  const int hot = spec.hot_experts.value_or(fallback);
  if (hot < 1 || hot > experts) {
    throw Error(fmt::format("{} of {} experts cannot be hot", hot, experts),
                "hot_experts is 1 to the number of experts");
  }
  return hot;
}

void resolve_hot(ResolvedWorkload& result) {
  const WorkloadSpec& spec = result.spec;
  const int hot = hot_count(spec, result.experts, result.top_k);
  result.hot_experts = hot;
  const double most = intensity_at(1, hot, result.experts, result.top_k);
  double fallback = intensity_at(spec.workload == Workload::kBurst ? kBurstHotShare : kHotShare,
                                 hot, result.experts, result.top_k);
  if (spec.workload == Workload::kHotRank || spec.workload == Workload::kSpreadHot) {
    fallback =
        std::min(most, intensity_at(kHotShare, default_hot_experts(result.experts, result.top_k),
                                    result.experts, result.top_k));
  }
  result.intensity = spec.intensity.value_or(fallback);
  constexpr double kRounding = 1e-9;
  if (!(result.intensity >= 1) || result.intensity > most * (1 + kRounding)) {
    throw Error(
        fmt::format("{} cannot have intensity {}: with {} and {} hot ones it is 1 to {:.6g}",
                    named(spec.workload).name, result.intensity,
                    layer_text(result.experts, result.top_k), hot, most),
        "the fullest expert has at most every token, and the hot ones at most every row");
  }
  result.hot_share = most <= 1 ? 0 : std::min(1.0, (result.intensity - 1) / (most - 1));
}

void resolve_idle(ResolvedWorkload& result) {
  const WorkloadSpec& spec = result.spec;
  const int ranks = spec.expert_ranks;
  if (ranks < 2) {
    throw Error("zero-load-rank needs an expert-parallel degree of at least 2",
                "one rank holds every expert");
  }
  result.idle_ranks = spec.idle_ranks.value_or(ranks / 2);
  if (result.idle_ranks < 1 || result.idle_ranks >= ranks) {
    throw Error(fmt::format("{} of {} ranks cannot be idle", result.idle_ranks, ranks),
                "idle_ranks is 1 to one less than the expert-parallel degree");
  }
  const ExpertBlock next = block_of_rank(result.experts, ranks, result.idle_ranks);
  result.idle_experts = next.first;
  const int live = result.experts - result.idle_experts;
  if (live < result.top_k) {
    throw Error(fmt::format("{} idle ranks of {} leave {} of {} experts, and a token takes {}",
                            result.idle_ranks, ranks, live, result.experts, result.top_k),
                "lower idle_ranks");
  }
  result.intensity = static_cast<double>(result.experts) / live;
}

// The i-th of `count` items on a ring of `ranks`, evenly apart.
int spread_rank(int i, int count, int ranks) {
  const int round = i / ranks;
  const int in_round = std::min(ranks, count - round * ranks);
  return static_cast<int>(static_cast<std::int64_t>(i % ranks) * ranks / in_round);
}

std::vector<std::uint16_t> spread_set(int hot, int experts, int ranks) {
  std::vector<bool> taken(static_cast<std::size_t>(experts), false);
  std::vector<std::uint16_t> result;
  const auto take = [&](int expert) {
    taken[static_cast<std::size_t>(expert)] = true;
    result.push_back(static_cast<std::uint16_t>(expert));
  };
  for (int i = 0; i < hot; ++i) {
    const ExpertBlock block = block_of_rank(experts, ranks, spread_rank(i, hot, ranks));
    if (i / ranks < block.size) take(block.first + i / ranks);
  }
  // Blocks of unequal size: what the smaller ones lack lies anywhere.
  for (int e = 0; e < experts && static_cast<int>(result.size()) < hot; ++e) {
    if (!taken[static_cast<std::size_t>(e)]) take(e);
  }
  return result;
}

}  // namespace

bool NamedWorkload::has(std::string_view parameter) const {
  return std::any_of(parameters.begin(), parameters.end(), [&](const WorkloadParameter& each) {
    return !parameter.empty() && each.name == parameter;
  });
}

const NamedWorkload& find_workload(std::string_view name) {
  std::vector<std::string> names;
  for (const NamedWorkload& each : kNamedWorkloads) {
    if (each.name == name) return each;
    names.emplace_back(each.name);
  }
  throw Error(fmt::format("there is no workload '{}'", name), suggest(std::string(name), names));
}

const NamedWorkload& named(Workload workload) {
  return kNamedWorkloads[static_cast<std::size_t>(workload)];
}

ResolvedWorkload resolve(const WorkloadSpec& spec, int experts, int top_k) {
  if (experts < 1 || experts > 65536) {
    throw Error(fmt::format("a layer has 1 to 65536 experts, not {}", experts));
  }
  if (top_k < 1 || top_k > experts || top_k > 255) {
    throw Error(fmt::format("top-{} of {} experts", top_k, experts),
                "top-k is 1 to 255 and at most the number of experts");
  }
  if (spec.expert_ranks < 1) throw Error("an expert-parallel degree is at least 1");
  if (spec.period < 1) throw Error("the hot set moves on after 1 step or more (period)");
  if (spec.calm_steps < 0 || spec.burst_steps < 1) {
    throw Error("a burst has 1 step or more, with 0 calm ones or more before it");
  }
  ResolvedWorkload result;
  result.spec = spec;
  result.experts = experts;
  result.top_k = top_k;
  switch (spec.workload) {
    case Workload::kBalanced:
      break;
    case Workload::kSourceRagged:
      result.intensity = spec.intensity.value_or(kDefaultRaggedness);
      if (!(result.intensity >= 1) || result.intensity > 2) {
        throw Error(fmt::format("source-ragged cannot have intensity {}", result.intensity),
                    "1 to 2: on a line the last rank has 2 - intensity times the mean");
      }
      break;
    case Workload::kZeroLoadRank:
      resolve_idle(result);
      break;
    default:
      resolve_hot(result);
  }
  return result;
}

bool ResolvedWorkload::hot(int step) const {
  if (hot_experts == 0) return false;
  if (spec.workload != Workload::kBurst) return true;
  return step % (spec.calm_steps + spec.burst_steps) >= spec.calm_steps;
}

double ResolvedWorkload::expert_max_over_mean(int step) const {
  if (spec.workload == Workload::kSourceRagged) return 1;
  return spec.workload == Workload::kZeroLoadRank || hot(step) ? intensity : 1;
}

std::vector<std::uint16_t> hot_set(const ResolvedWorkload& workload, int step, int layer,
                                   std::uint64_t seed) {
  if (!workload.hot(step)) return {};
  const WorkloadSpec& spec = workload.spec;
  const int experts = workload.experts;
  std::vector<std::uint16_t> result(static_cast<std::size_t>(workload.hot_experts));
  if (spec.workload == Workload::kSpreadHot) {
    return spread_set(workload.hot_experts, experts, spec.expert_ranks);
  }
  if (spec.workload == Workload::kHotRank || spec.workload == Workload::kRotatingHotspot) {
    std::int64_t first = block_of_rank(experts, spec.expert_ranks, spec.rank).first;
    if (spec.workload == Workload::kRotatingHotspot) {
      first = static_cast<std::int64_t>(step / spec.period) * workload.hot_experts;
    }
    for (std::uint16_t& expert : result) expert = static_cast<std::uint16_t>(first++ % experts);
    return result;
  }
  std::vector<std::uint16_t> all(static_cast<std::size_t>(experts));
  std::iota(all.begin(), all.end(), std::uint16_t{0});
  RandomStream random(seed, fmt::format("workload/hot/layer {}", layer));
  random.shuffle(all);
  std::copy_n(all.begin(), result.size(), result.begin());
  return result;
}

std::vector<std::int64_t> tokens_of_ranks(const WorkloadSpec& spec,
                                          std::vector<std::int64_t> tokens_per_rank) {
  if (spec.workload != Workload::kSourceRagged) return tokens_per_rank;
  const std::size_t ranks = tokens_per_rank.size();
  if (ranks < 2) throw Error("source-ragged needs at least 2 ranks");
  const double above = spec.intensity.value_or(kDefaultRaggedness) - 1;
  SIM_CHECK(std::all_of(tokens_per_rank.begin(), tokens_per_rank.end(),
                        [&](std::int64_t n) { return n == tokens_per_rank.front(); }),
            "ranks that are alike before they are made ragged");
  double exact = 0;  // of the ranks so far: rounding it keeps the sum
  std::int64_t given = 0;
  for (std::size_t r = 0; r < ranks; ++r) {
    const double place = static_cast<double>(r) / static_cast<double>(ranks - 1);
    exact += static_cast<double>(tokens_per_rank[r]) * (1 + above * (1 - 2 * place));
    tokens_per_rank[r] = std::max<std::int64_t>(0, std::llround(exact) - given);
    given += tokens_per_rank[r];
  }
  return tokens_per_rank;
}

}  // namespace sim
