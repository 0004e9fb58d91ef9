// Metrics of tokens apart from SRP and caches: batches, locality, correlation, destinations,
// clustering, drift; and whole traces as rows.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/traces/metric_tokens.h"
#include "tests/traces/temp_file.h"
#include "traces/metrics/batches.h"
#include "traces/metrics/clustering.h"
#include "traces/metrics/correlation.h"
#include "traces/metrics/destinations.h"
#include "traces/metrics/locality.h"
#include "traces/metrics/trace_metrics.h"
#include "traces/synthetic/synthetic.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

using testing::error_text;
using testing::make_tokens;
using testing::random_tokens;
using testing::TempFile;

// Batches {0 1} {0 2} | {0 1} of 4 experts: counts 2 1 1 0 (mean 1, max 2) and 1 1 0 0 (mean 1/2,
// max 1): ratios 2 and 2; distinct 3 and 2.
TEST(Batches, FiguresMatchHandComputedOnes) {
  const auto trace = make_tokens(4, 2, {{{0, 1}, {0, 2}, {0, 1}}});
  const Batches batches{{0, 1, 2}, {0, 2, 3}};
  const BatchFigures figures = batch_figures(trace.tokens, batches);
  EXPECT_DOUBLE_EQ(figures.max_over_mean, 2);
  EXPECT_DOUBLE_EQ(figures.max_over_mean_p95, 2);
  EXPECT_DOUBLE_EQ(figures.distinct_experts, 2.5);
  // 20 ratios 1..20: the nearest rank of 95 % is the 19th.
  std::vector<double> ratios;
  for (int i = 20; i > 0; --i) ratios.push_back(i);
  EXPECT_DOUBLE_EQ(batch_figures(ratios, 60).max_over_mean_p95, 19);
  EXPECT_DOUBLE_EQ(batch_figures(ratios, 60).distinct_experts, 3);
}

TEST(Batches, OfRequestsHoldOneTokenOfEachAtRisingPositions) {
  const auto trace = random_tokens(8, 2, {6, 6, 6}, 1);
  const Batches batches = request_batches(trace.sequences, 3, 5);
  ASSERT_EQ(batches.count(), 6);
  for (std::int64_t b = 0; b < 6; ++b) {
    std::vector<int> seen(3, 0);
    for (std::int64_t i = 3 * b; i < 3 * b + 3; ++i) {
      const std::int64_t token = batches.tokens[static_cast<std::size_t>(i)];
      ++seen[static_cast<std::size_t>(token / 6)];
      EXPECT_EQ(token % 6, b);
    }
    EXPECT_EQ(seen, (std::vector<int>{1, 1, 1}));
  }
  EXPECT_EQ(request_batches(trace.sequences, 4, 5).count(), 0);
}

TEST(Batches, ShuffledUseEachTokenOnce) {
  const Batches batches = shuffled_batches(10, 3, 1);
  EXPECT_EQ(batches.begin, (std::vector<std::int64_t>{0, 3, 6, 9}));
  std::vector<std::int64_t> tokens = batches.tokens;
  std::sort(tokens.begin(), tokens.end());
  EXPECT_EQ(std::unique(tokens.begin(), tokens.end()), tokens.end());
}

// Lag 1: pairs (01,02), (02,13) share 1, 0 of 2 + 2 choices; the next request adds (23,23): 2 of 2.
// Popularity 2 1 4 3 over 5 tokens -> sum c^2 = 4 + 4 + 9 + 9 (counts 2 2 3 3), over 5 x 10.
TEST(Locality, MatchesHandComputedShares) {
  const auto trace = make_tokens(4, 2, {{{0, 1}, {0, 2}, {1, 3}}, {{2, 3}, {2, 3}}});
  EXPECT_DOUBLE_EQ(shared_experts(trace.tokens, trace.sequences, 1), 3.0 / 6);
  EXPECT_DOUBLE_EQ(shared_experts(trace.tokens, trace.sequences, 2), 1.0 / 2);
  EXPECT_DOUBLE_EQ(shared_experts(trace.tokens, trace.sequences, 3), 0);
  EXPECT_DOUBLE_EQ(shared_experts_if_independent(trace.tokens), 26.0 / 50);
}

TEST(Locality, OfIndependentTokensIsWhatIndependencePredicts) {
  const auto trace = random_tokens(16, 4, {20000}, 3);
  EXPECT_NEAR(shared_experts(trace.tokens, trace.sequences, 1),
              shared_experts_if_independent(trace.tokens), 0.005);
}

TEST(LayerCorrelation, IsOneForACopyAndNothingForAnIndependentLayer) {
  const auto first = random_tokens(8, 1, {4000}, 1);
  const auto other = random_tokens(8, 1, {4000}, 2);
  EXPECT_NEAR(layer_correlation(first.tokens, first.tokens, 1).information, 1, 1e-12);
  const LayerCorrelation none = layer_correlation(first.tokens, other.tokens, 1);
  EXPECT_LT(none.information, 0.02);
  EXPECT_NEAR(none.information, none.by_chance, 0.004);
}

// Experts 0, 1 always together, 2, 3 always together: 10 tokens each. Every expert is in 10 pairs,
// so quasi-independence expects 20 / 6 of each of the 6 pairs: |10 - 10/3| x 2 + 10/3 x 4 = 80/3,
// over 2 x 20 pairs = 2/3.
TEST(PairCorrelation, MatchesHandComputedDistance) {
  std::vector<std::vector<std::uint16_t>> request;
  for (int i = 0; i < 10; ++i) {
    request.push_back({0, 1});
    request.push_back({3, 2});
  }
  EXPECT_NEAR(pair_correlation(make_tokens(4, 2, {request}).tokens).distance, 2.0 / 3, 1e-8);
}

TEST(PairCorrelation, OfIndependentTokensIsWhatChanceGives) {
  const PairCorrelation found = pair_correlation(random_tokens(16, 4, {20000}, 3).tokens);
  EXPECT_LT(found.distance, found.by_chance);  // pairs of one token are not quite independent
  EXPECT_GT(found.distance, 0.8 * found.by_chance);
}

// 8 experts on 4 ranks (2 each), 2 nodes of 2 ranks: {0,1} -> rank 0; {0,2} -> ranks 0, 1, one
// node; {1,7} -> ranks 0, 3, two nodes.
TEST(Destinations, MatchHandComputedCopies) {
  const auto trace = make_tokens(8, 2, {{{0, 1}, {0, 2}, {1, 7}}});
  const Destinations found = destinations(trace.tokens, 4, 2);
  EXPECT_DOUBLE_EQ(found.ranks_per_token, 5.0 / 3);
  EXPECT_DOUBLE_EQ(found.nodes_per_token, 4.0 / 3);
}

// 6 experts on 4 ranks as the contiguous placement puts them: {0,1} {2,3} {4} {5}. Runs of
// ceil(6 / 4) = 2 would leave rank 3 empty and experts 4 and 5 together.
TEST(Destinations, BlocksDifferByAtMostOne) {
  const auto trace = make_tokens(6, 2, {{{0, 1}, {4, 5}}});
  const Destinations found = destinations(trace.tokens, 4, 2);
  EXPECT_DOUBLE_EQ(found.ranks_per_token, 3.0 / 2);
  EXPECT_DOUBLE_EQ(found.nodes_per_token, 1);
}

// Two groups of 2 tokens, 2 experts, top-1: group 0 chooses 0 twice, group 1 expert 1 twice.
// p = 1/2; between = per expert 2 x 2 x 1/4 = 1, so 2 over G - 1 = 1; sampling 2 x 1/4 = 1/2;
// over_sampling 4. within 0, so the intraclass share is 1.
TEST(Clustering, MatchesHandComputedGroups) {
  const Clustering found = clustering({2, {2, 2}, {2, 0, 0, 2}});
  EXPECT_DOUBLE_EQ(found.over_sampling, 4);
  EXPECT_DOUBLE_EQ(found.intraclass, 1);
}

TEST(Clustering, OfIndependentTokensIsOne) {
  GroupCounts groups{16, {}, std::vector<std::int64_t>(50 * 16, 0)};
  const auto trace = random_tokens(16, 1, std::vector<int>(50, 200), 8);
  for (std::size_t g = 0; g < 50; ++g) {
    groups.tokens.push_back(200);
    for (std::size_t t = 0; t < 200; ++t)
      ++groups.counts[g * 16 + trace.tokens.choices[g * 200 + t]];
  }
  EXPECT_NEAR(clustering(groups).over_sampling, 1, 0.1);
  EXPECT_NEAR(clustering(groups).intraclass, 0, 0.001);
  const Drift still = drift(groups, 1);
  EXPECT_NEAR(still.distance, still.by_chance, 0.6 * still.by_chance);
}

// Four groups of one token: expert 0 in the first, 1 in the last. Shuffled, two of four random
// groups are compared: the middle two choose 2.
TEST(Drift, IsOneWhenTheEndsShareNothing) {
  const GroupCounts groups{3, {1, 1, 1, 1}, {1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 1, 0}};
  const Drift found = drift(groups, 1);
  EXPECT_DOUBLE_EQ(found.distance, 1);
  EXPECT_LT(found.by_chance, 1);
  EXPECT_EQ(drift({3, {1, 1, 1}, {1, 0, 0, 0, 0, 1, 0, 0, 1}}, 1).distance, 0);
}

TEST(TraceMetrics, OfAWholeTraceAgreeWithItsParts) {
  const TempFile file("a.moetrace");
  SyntheticTrace trace;
  trace.experts = {16, 16, 300};
  trace.top_k = 3;
  trace.requests = 12;
  trace.min_positions = 20;
  trace.max_positions = 40;
  write_synthetic({}, trace, 7, file.path());
  const TraceMetrics metrics = measure_trace(file.path());
  const TokenTable table(file.path());
  const LayerTokens layer = table.layer(2);
  ASSERT_NE(metrics.find("shared_experts", "lag=1", 2), nullptr);
  EXPECT_EQ(metrics.find("shared_experts", "lag=1", 2)->value,
            shared_experts(layer, table.sequences(), 1));
  EXPECT_EQ(metrics.find("destination_ranks", "EP=2", 2)->value,
            destinations(layer, 2, 8).ranks_per_token);
  double sum = 0;
  for (int l = 0; l < 3; ++l) sum += metrics.find("gini", "", l)->value;
  EXPECT_DOUBLE_EQ(metrics.find("gini")->value, sum / 3);
  EXPECT_EQ(metrics.find("layer_information", "next layer", 2), nullptr);  // the last layer
  EXPECT_EQ(metrics.rows, measure_trace(file.path()).rows);                // deterministic
  for (const MetricFamily& family : metric_families()) {
    MetricOptions options;
    options.families = {std::string(family.name)};
    EXPECT_FALSE(measure_trace(file.path(), options).rows.empty()) << family.name;
  }
}

TEST(TraceMetrics, PartsShareNoRequestAndMakeTheWhole) {
  const TempFile file("a.moetrace");
  SyntheticTrace trace;
  trace.experts = {8};
  trace.top_k = 2;
  trace.requests = 11;
  write_synthetic({}, trace, 7, file.path());
  for (const auto deal :
       {TraceRange::Deal::kInOrder, TraceRange::Deal::kAlternate, TraceRange::Deal::kSeeded}) {
    std::vector<std::int64_t> units;
    for (const int part : {0, 1}) {
      TraceRange range;
      range.part = part;
      range.parts = 2;
      range.deal = deal;
      const TokenTable half(file.path(), range);
      EXPECT_NEAR(static_cast<double>(half.sequences().count()), 5.5, 0.6);
      units.insert(units.end(), half.sequences().unit.begin(), half.sequences().unit.end());
    }
    std::sort(units.begin(), units.end());
    std::vector<std::int64_t> all(11);
    std::iota(all.begin(), all.end(), std::int64_t{0});
    EXPECT_EQ(units, all);
  }
}

TEST(TraceMetrics, OfCountsShowWhatCountsCan) {
  const TempFile file("a.moetrace");
  TraceHeader header;
  header.kind = TraceKind::kCounts;
  header.experts = {2};
  header.top_k = 1;
  header.has_steps = true;
  TraceWriter writer(file.path(), header);
  for (int step = 0; step < 4; ++step) {
    writer.append(
        CountRow{step, 0, 0, 4,
                 step < 2 ? std::vector<std::int64_t>{4, 0} : std::vector<std::int64_t>{1, 3}});
  }
  writer.finish();
  const TraceMetrics metrics = measure_trace(file.path());
  EXPECT_DOUBLE_EQ(metrics.find("max_over_mean", "", 0)->value, 10.0 / 8);
  EXPECT_DOUBLE_EQ(metrics.find("batch_max_over_mean", "steps", 0)->value, (2 + 2 + 1.5 + 1.5) / 4);
  EXPECT_DOUBLE_EQ(metrics.find("batch_distinct_experts", "steps")->value, 1.5);
  EXPECT_DOUBLE_EQ(metrics.find("drift", "steps")->value, 0.75);
  // p = 5/8; between = 2 experts x (2 x 4 (3/8)^2 + 2 x 4 (3/8)^2) / 3; sampling 2 x 15/64.
  EXPECT_DOUBLE_EQ(metrics.find("variance_over_sampling", "steps")->value,
                   (2 * 16 * 9.0 / 64 / 3) / (2 * 15.0 / 64));
  MetricOptions srp;
  srp.families = {"srp"};
  EXPECT_EQ(error_text([&] { measure_trace(file.path(), srp); }),
            file.path() +
                ": a trace of counts cannot show 'srp'; it knows no tokens: popularity, "
                "batches (steps), clustering, drift and balance remain");
}

TEST(TraceMetrics, SuggestsAFamilyAndSaysWhatItNeeds) {
  const TempFile file("a.moetrace");
  SyntheticTrace trace;
  trace.experts = {8};
  trace.top_k = 2;
  trace.requests = 2;
  write_synthetic({}, trace, 7, file.path());
  MetricOptions options;
  options.families = {"localty"};
  EXPECT_EQ(error_text([&] { measure_trace(file.path(), options); }),
            "no family of metrics is called 'localty'; did you mean 'locality'?");
  EXPECT_NE(error_text([&] { TokenTable(file.path(), {}, 100); }).find("tokens need"),
            std::string::npos);
}

TEST(TraceMetrics, StandSideBySide) {
  const TraceMetrics first{{{"a", "m=1", {}, 2}, {"a", "m=1", 0, 0}, {"b", "", {}, 1}}};
  const TraceMetrics second{{{"a", "m=1", {}, 3}, {"a", "m=1", 0, 1}, {"c", "", {}, 1}}};
  const auto pairs = beside(first, second);
  ASSERT_EQ(pairs.size(), 2U);
  EXPECT_DOUBLE_EQ(pairs[0].relative.value(), 0.5);
  EXPECT_FALSE(pairs[1].relative.has_value());
}

}  // namespace
}  // namespace sim
