// Replay of a trace: token-layers (one token in one layer, here top-8 of 256 experts) per second,
// for counting and for de-duplicated destinations, on chunks in memory and from the file.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "sim/policies/collectives/exchange.h"
#include "sim/policies/placement/placement.h"
#include "sim/policies/placement/replica_split.h"
#include "traces/distinct_places.h"
#include "traces/replay.h"
#include "traces/statistics.h"
#include "traces/synthetic/synthetic.h"
#include "traces/trace_file.h"

namespace sim::speed {
namespace {

constexpr int kLayers = 16;
constexpr int kExperts = 256;
constexpr int kRanks = 256;
constexpr std::int64_t kTokensPerRank = 128;
constexpr std::int64_t kTokenLayers = kLayers * kRanks * kTokensPerRank;

// Zipf(0.8), 256 source ranks of 128 tokens: 524,288 token-layers, 4.2 MB of choices.
class Trace {
 public:
  Trace()
      : folder_(std::filesystem::temp_directory_path() / ("moe-speed-" + std::to_string(getpid()))),
        path_((folder_ / "speed.moetrace").string()) {
    std::filesystem::create_directories(folder_);
    SyntheticTrace trace;
    trace.experts.assign(kLayers, kExperts);
    trace.top_k = 8;
    trace.steps = 1;
    trace.tokens_per_rank.assign(kRanks, kTokensPerRank);
    write_synthetic({}, trace, 7, path_);
    TraceReader reader(path_);
    for (TokenChunk chunk; reader.next(chunk);) chunks_.push_back(chunk);
  }
  ~Trace() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;
  const std::string& path() const { return path_; }
  const std::vector<TokenChunk>& chunks() const { return chunks_; }

 private:
  std::filesystem::path folder_;
  std::string path_;
  std::vector<TokenChunk> chunks_;
};

const Trace& trace() {
  static const Trace instance;
  return instance;
}

// items_per_second counts token-layers; ns says the same the other way round.
void report(benchmark::State& state) {
  const double items = static_cast<double>(state.iterations()) * kTokenLayers;
  state.SetItemsProcessed(state.iterations() * kTokenLayers);
  state.counters["ns_per_token_layer"] =
      benchmark::Counter(items * 1e-9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void count_chunk(const TokenChunk& chunk, std::vector<std::int64_t>& counts) {
  for (int layer = 0; layer < kLayers; ++layer) count_choices(chunk, layer, counts);
}

void count_resident(benchmark::State& state) {
  std::vector<std::int64_t> counts(kExperts, 0);
  for (auto _ : state) {
    for (const TokenChunk& chunk : trace().chunks()) count_chunk(chunk, counts);
    benchmark::DoNotOptimize(counts.data());
  }
  report(state);
}

void count_from_file(benchmark::State& state) {
  std::vector<std::int64_t> counts(kExperts, 0);
  trace();
  for (auto _ : state) {
    TraceReader reader(trace().path());
    for (TokenChunk chunk; reader.next(chunk);) count_chunk(chunk, counts);
    benchmark::DoNotOptimize(counts.data());
  }
  report(state);
}

// Per source rank and destination rank, `state.range(0)` ranks of equal runs of experts.
class DestinationTable {
 public:
  explicit DestinationTable(int ranks)
      : ranks_(static_cast<std::size_t>(ranks)),
        distinct_(ranks_),
        copies_(kRanks * ranks_, 0),
        rank_of_(kExperts) {
    for (int e = 0; e < kExperts; ++e) rank_of_[static_cast<std::size_t>(e)] = e * ranks / kExperts;
  }
  void add(const TokenChunk& chunk) {
    const auto k = static_cast<std::size_t>(chunk.top_k);
    for (int layer = 0; layer < kLayers; ++layer) {
      const auto* ids = reinterpret_cast<const std::uint8_t*>(chunk.column(layer).bytes());
      for (std::size_t row = 0; row < static_cast<std::size_t>(chunk.rows); ++row) {
        const auto source = static_cast<std::size_t>(chunk.source_rank[row]);
        distinct_.add(std::span(ids + row * k, k), rank_of_.data(),
                      copies_.data() + source * ranks_);
      }
    }
  }
  const std::int64_t* copies() const { return copies_.data(); }

 private:
  std::size_t ranks_;
  DistinctPlaces distinct_;
  std::vector<std::int64_t> copies_;
  std::vector<std::int32_t> rank_of_;
};

void destinations_resident(benchmark::State& state) {
  DestinationTable table(static_cast<int>(state.range(0)));
  for (auto _ : state) {
    for (const TokenChunk& chunk : trace().chunks()) table.add(chunk);
    benchmark::DoNotOptimize(table.copies());
  }
  report(state);
}

void destinations_from_file(benchmark::State& state) {
  DestinationTable table(static_cast<int>(state.range(0)));
  trace();
  for (auto _ : state) {
    TraceReader reader(trace().path());
    for (TokenChunk chunk; reader.next(chunk);) table.add(chunk);
    benchmark::DoNotOptimize(table.copies());
  }
  report(state);
}

// What a run does: the rows of the step out of the replay, with counts per source rank.
void replay_fill(benchmark::State& state) {
  const auto source =
      make_replay(trace().path(), ReplayRule::kRecorded, {std::vector<int>(kLayers, kExperts), 8},
                  std::vector<std::int64_t>(kRanks, kTokensPerRank), 1);
  LayerRouting routing;
  for (auto _ : state) {
    for (int layer = 0; layer < kLayers; ++layer) source->fill(0, layer, routing);
    benchmark::DoNotOptimize(routing.counts.data());
  }
  report(state);
}

// The same, then a slot for every choice and the distinct copies per rank and node.
void replay_to_copies(benchmark::State& state) {
  const auto source =
      make_replay(trace().path(), ReplayRule::kRecorded, {std::vector<int>(kLayers, kExperts), 8},
                  std::vector<std::int64_t>(kRanks, kTokensPerRank), 1);
  const int ranks = static_cast<int>(state.range(0));
  PlacementInput input;
  input.experts = kExperts;
  input.ranks = ranks;
  input.load.assign(kExperts, 1);
  RandomStream random(1, "placement");
  const ExpertPlacement placement =
      place_experts(find_placement_policy("contiguous"), input, random);
  std::vector<int> node_of_rank;
  for (int r = 0; r < ranks; ++r) node_of_rank.push_back(r / 8);
  LayerRouting routing;
  SlotAssignment assignment;
  CopyCounts copies;
  for (auto _ : state) {
    for (int layer = 0; layer < kLayers; ++layer) {
      source->fill(0, layer, routing);
      assign_slots(find_replica_split("modulo"), {routing, placement, 8}, assignment);
      count_copies(routing, assignment, placement, node_of_rank, 8, copies);
    }
    benchmark::DoNotOptimize(copies.rank_copies.data());
  }
  report(state);
}

BENCHMARK(count_resident)->Name("replay/count/resident");
BENCHMARK(count_from_file)->Name("replay/count/file");
BENCHMARK(destinations_resident)->Name("replay/destinations/resident")->Arg(8)->Arg(64)->Arg(256);
BENCHMARK(destinations_from_file)->Name("replay/destinations/file")->Arg(64);
BENCHMARK(replay_fill)->Name("replay/fill");
BENCHMARK(replay_to_copies)->Name("replay/copies")->Arg(256);

}  // namespace
}  // namespace sim::speed
