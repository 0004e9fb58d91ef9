#include "traces/replay.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "tests/traces/temp_file.h"
#include "traces/synthetic/synthetic.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

using testing::error_text;
using testing::TempFile;

// A trace whose row t chooses experts t and (t + layer + 1) of 32 in each of two layers: a choice
// tells its row.
TraceHeader row_header(bool steps) {
  TraceHeader header;
  header.experts = {32, 32};
  header.top_k = 2;
  header.has_steps = steps;
  return header;
}

void append_row(TraceWriter& writer, TokenRow row) {
  const auto t = static_cast<std::uint16_t>(writer.rows());
  const std::vector<std::uint16_t> choices = {t, static_cast<std::uint16_t>((t + 1) % 32), t,
                                              static_cast<std::uint16_t>((t + 2) % 32)};
  row.choices = choices;
  writer.append(row);
}

// Requests 10, 20, 30 with 3, 1 and 2 positions: rows 0 1 2 | 3 | 4 5. The positions of request 10
// are written backwards: rows 2, 1, 0 are its first, second and third token.
void write_requests(const std::string& path) {
  TraceWriter writer(path, row_header(false));
  const std::vector<std::pair<int, int>> places = {{10, 7}, {10, 6}, {10, 5},
                                                   {20, 0}, {30, 1}, {30, 2}};
  for (const auto& [request, position] : places) {
    TokenRow row;
    row.request = request;
    row.position = position;
    append_row(writer, row);
  }
  writer.finish();
}

const RoutingShape kShape{{32, 32}, 2};

// The rows that a source replays in a step, told from the first choice of every token.
std::vector<int> rows_of(RoutingSource& source, int step, int layer = 0) {
  LayerRouting routing;
  source.fill(step, layer, routing);
  std::vector<int> rows;
  for (std::int64_t t = 0; t < routing.tokens(); ++t) {
    const auto begin = static_cast<std::size_t>(routing.choice_begin[static_cast<std::size_t>(t)]);
    rows.push_back(routing.choices[begin]);
    EXPECT_EQ(routing.choices[begin + 1], (rows.back() + layer + 1) % 32);
  }
  return rows;
}

// One slot runs request after request; whatever the seeded order is, each request's positions come
// in order and the first six steps use every row once.
TEST(Replay, RequestsRunThroughOneSlotInOrder) {
  const TempFile file("a.moetrace");
  write_requests(file.path());
  for (const std::uint64_t seed : {1U, 2U, 3U, 4U}) {
    const auto source = make_replay(file.path(), ReplayRule::kAuto, kShape, {1}, seed);
    std::vector<int> rows;
    for (int step = 0; step < 6; ++step) rows.push_back(rows_of(*source, step, step % 2)[0]);
    const auto at = [&](int row) {
      return std::find(rows.begin(), rows.end(), row) - rows.begin();
    };
    EXPECT_EQ(at(1), at(2) + 1);
    EXPECT_EQ(at(0), at(2) + 2);
    EXPECT_EQ(at(5), at(4) + 1);
    EXPECT_LT(at(3), 6);
    EXPECT_EQ(source->reuse().tokens_used, 6);
    EXPECT_EQ(source->reuse().distinct_tokens_used, 6);
    EXPECT_TRUE(source->warnings().empty());
    rows_of(*source, 6);  // all are used: a new round begins
    EXPECT_EQ(source->reuse().tokens_used, 7);
    EXPECT_EQ(source->reuse().distinct_tokens_used, 6);
    EXPECT_EQ(source->warnings(),
              std::vector<std::string>{"recorded tokens are used again: 7 tokens of this run are 6 "
                                       "of the trace's 6 (1.17 uses each)"});
  }
}

// Three slots on two ranks hold the three requests. Request 20 (one token) ends first: its slot
// takes the first of a new round in step 1. Request 30 ends after step 1, request 10 after step 2.
TEST(Replay, SlotsTakeTheNextRequestWhenOneEnds) {
  const TempFile file("a.moetrace");
  write_requests(file.path());
  const auto source = make_replay(file.path(), ReplayRule::kRequests, kShape, {2, 1}, 9);
  const std::vector<int> first = rows_of(*source, 0);
  EXPECT_EQ(std::set<int>(first.begin(), first.end()), (std::set<int>{2, 3, 4}));
  const std::vector<int> second = rows_of(*source, 1);
  const std::vector<int> third = rows_of(*source, 2);
  for (std::size_t slot = 0; slot < 3; ++slot) {
    if (first[slot] == 2) {
      EXPECT_EQ(second[slot], 1);
      EXPECT_EQ(third[slot], 0);
    } else if (first[slot] == 4) {
      EXPECT_EQ(second[slot], 5);
      EXPECT_TRUE(std::set<int>({2, 3, 4}).count(third[slot]));  // a request's first token
    } else {
      EXPECT_TRUE(std::set<int>({2, 3, 4}).count(second[slot]));
    }
  }
  LayerRouting routing;
  source->fill(2, 0, routing);
  EXPECT_EQ(routing.rank_begin, (std::vector<std::int64_t>{0, 2, 3}));
  EXPECT_EQ(routing.counts[static_cast<std::size_t>(third[0])], 1 + (third[1] + 1 == third[0]));
  EXPECT_EQ(routing.counts[32 + static_cast<std::size_t>(third[2])], 1);
  EXPECT_EQ(source->reuse().concurrent_slots, 3);
  EXPECT_EQ(source->reuse().requests_available, 3);
  // An earlier step again: the same rows, and not counted twice.
  const std::int64_t used = source->reuse().tokens_used;
  EXPECT_EQ(rows_of(*source, 0), first);
  EXPECT_EQ(rows_of(*source, 2), third);
  EXPECT_EQ(source->reuse().tokens_used, used);
}

TEST(Replay, PrefillReadsRequestsOn) {
  const TempFile file("a.moetrace");
  write_requests(file.path());
  ReplayOptions options;
  options.prefill = true;
  const auto source =
      make_replay(file.path(), ReplayRule::kRequests, kShape, {4}, 5, AdaptRule::kNone, options);
  std::vector<int> rows = rows_of(*source, 0);
  const std::vector<int> more = rows_of(*source, 1);
  rows.insert(rows.end(), more.begin(), more.begin() + 2);
  EXPECT_EQ(std::set<int>(rows.begin(), rows.end()).size(), 6U);  // one round uses all once
  const auto at = [&](int row) { return std::find(rows.begin(), rows.end(), row) - rows.begin(); };
  EXPECT_EQ(at(1), at(2) + 1);
  EXPECT_EQ(at(0), at(2) + 2);
  EXPECT_EQ(at(5), at(4) + 1);
  EXPECT_EQ(rows_of(*source, 1), more);
}

TEST(Replay, RecordedStepsKeepTheirRanks) {
  const TempFile file("a.moetrace");
  {
    TraceWriter writer(file.path(), row_header(true));
    // step 8: rank 2 rows 0, 3; rank 0 row 1. step 5: rank 1 row 2.
    const std::vector<std::pair<int, int>> places = {{8, 2}, {8, 0}, {5, 1}, {8, 2}};
    for (const auto& [step, rank] : places) {
      TokenRow row;
      row.step = step;
      row.source_rank = rank;
      append_row(writer, row);
    }
    writer.finish();
  }
  const auto source =
      make_replay(file.path(), ReplayRule::kAuto, kShape, std::vector<std::int64_t>(4, 1), 1);
  EXPECT_EQ(rows_of(*source, 0), std::vector<int>{2});
  EXPECT_EQ(rows_of(*source, 1), (std::vector<int>{1, 0, 3}));
  LayerRouting routing;
  source->fill(1, 1, routing);
  EXPECT_EQ(routing.rank_begin, (std::vector<std::int64_t>{0, 1, 1, 3, 3}));
  EXPECT_EQ(routing.counts[64 + 0], 1);  // row 0: experts 0 and 2; row 3: 3 and 5
  EXPECT_EQ(routing.counts[64 + 5], 1);
  EXPECT_EQ(rows_of(*source, 2), std::vector<int>{2});
  EXPECT_EQ(source->description(), "replay of a.moetrace by recorded, 2 steps");
  EXPECT_EQ(source->warnings(),
            (std::vector<std::string>{
                "the trace was recorded on 3 ranks: ranks 3 to 3 have no tokens",
                "the first recorded step has 1 tokens, the workload asks for 4: the recorded ones "
                "are replayed",
                "recorded tokens are used again: 5 tokens of this run are 4 of the trace's 4 (1.25 "
                "uses each)"}));
  EXPECT_EQ(error_text([&] {
              make_replay(file.path(), ReplayRule::kAuto, kShape, {1, 1}, 1);
            }),
            file.path() +
                ": the trace was recorded on rank 2, the cluster has 2 ranks; use more "
                "ranks, or the rule sample");
  EXPECT_EQ(error_text([&] { make_replay(file.path(), ReplayRule::kRequests, kShape, {1}, 1); }),
            file.path() + ": the trace has steps, not requests; use the rule recorded or sample");
}

TEST(Replay, SamplesAreIndependentAndSeeded) {
  const TempFile file("a.moetrace");
  write_requests(file.path());
  const auto source = make_replay(file.path(), ReplayRule::kSample, kShape, {3000, 3000}, 4);
  const std::vector<int> rows = rows_of(*source, 0);
  for (int row = 0; row < 6; ++row) {
    EXPECT_NEAR(std::count(rows.begin(), rows.end(), row), 1000, 5 * 29) << row;
  }
  const auto same = make_replay(file.path(), ReplayRule::kSample, kShape, {3000, 3000}, 4);
  EXPECT_NE(rows_of(*same, 1), rows);
  EXPECT_EQ(rows_of(*same, 0), rows);
  ReplayOptions options;
  options.prefill = true;
  const auto prefill =
      make_replay(file.path(), ReplayRule::kSample, kShape, {50}, 4, AdaptRule::kNone, options);
  const std::vector<int> read = rows_of(*prefill, 0);
  for (std::size_t t = 0; t + 1 < read.size(); ++t) {  // what follows is the next position, or a
    if (read[t] == 2) {                                // request's first one
      EXPECT_EQ(read[t + 1], 1);
    } else if (read[t] == 0) {
      EXPECT_TRUE(std::set<int>({2, 3, 4}).count(read[t + 1]));
    }
  }
}

// A budget that holds no chunk: rows are read per step, with the same answer.
TEST(Replay, PagedReplayEqualsResidentReplay) {
  const TempFile file("a.moetrace");
  SyntheticTrace trace;
  trace.experts = {64, 300};
  trace.top_k = 3;
  trace.requests = 900;
  trace.min_positions = 10;
  trace.max_positions = 90;  // some 45000 tokens: several chunks
  write_synthetic({}, trace, 3, file.path());
  ReplayOptions small;
  small.memory_budget = 1'500'000;  // above the index, below index and choices
  ASSERT_GT(TraceReader(file.path()).index().chunks.size(), 2U);
  const RoutingShape shape{{64, 300}, 3};
  for (const ReplayRule rule : {ReplayRule::kRequests, ReplayRule::kSample}) {
    const auto a = make_replay(file.path(), rule, shape, {40, 50}, 4);
    small.memory_budget = TraceReader(file.path()).index().rows * 24;
    const auto b = make_replay(file.path(), rule, shape, {40, 50}, 4, AdaptRule::kNone, small);
    for (const int step : {0, 1, 50}) {
      for (int layer = 0; layer < 2; ++layer) {
        LayerRouting x;
        LayerRouting y;
        a->fill(step, layer, x);
        b->fill(step, layer, y);
        EXPECT_EQ(x.choices, y.choices);
        EXPECT_EQ(x.choice_begin, y.choice_begin);
        EXPECT_EQ(x.counts, y.counts);
      }
    }
  }
}

TEST(Replay, KeepsVaryingChoicesAndTags) {
  const TempFile file("a.moetrace");
  TraceHeader header = row_header(false);
  header.experts = {32};
  header.has_tags = true;
  {
    TraceWriter writer(file.path(), header);
    for (std::uint16_t t = 0; t < 4; ++t) {
      const std::vector<std::uint16_t> choices(t == 2 ? 0 : 1 + t % 2, t);
      const std::vector<std::uint8_t> counts = {static_cast<std::uint8_t>(choices.size())};
      TokenRow row;
      row.request = t;
      row.tag = writer.tag(t < 2 ? "code" : "chat");
      row.choices = choices;
      row.choice_counts = counts;
      writer.append(row);
    }
    writer.finish();
  }
  ReplayOptions options;
  options.tag = "chat";
  const auto source =
      make_replay(file.path(), ReplayRule::kRequests, {{32}, 2}, {2}, 1, AdaptRule::kNone, options);
  LayerRouting routing;
  source->fill(0, 0, routing);
  EXPECT_EQ(routing.choices, (std::vector<std::uint16_t>{3, 3}));  // row 2 has no choice
  EXPECT_EQ(source->reuse().distinct_tokens_available, 2);
  options.tag = "chatt";
  EXPECT_EQ(error_text([&] {
              make_replay(file.path(), ReplayRule::kRequests, {{32}, 2}, {2}, 1, AdaptRule::kNone,
                          options);
            }),
            file.path() + ": no token has the tag 'chatt'; did you mean 'chat'?");
}

TEST(Replay, RefusesAnotherShapeUnlessAdapted) {
  const TempFile file("a.moetrace");
  write_requests(file.path());
  const auto wrong = [&](RoutingShape shape, AdaptRule adapt) {
    return error_text([&] { make_replay(file.path(), ReplayRule::kAuto, shape, {1}, 1, adapt); });
  };
  EXPECT_EQ(wrong({{32, 32, 32}, 2}, AdaptRule::kNone),
            file.path() +
                ": the trace has 2 routed layers, the model has 3; replay a trace of this "
                "model, or set routing.adapt: cycle-layers");
  EXPECT_EQ(wrong({{32, 64}, 2}, AdaptRule::kCycleLayers),
            file.path() +
                ": routed layer 1 has 32 experts in the trace, 64 in the model; replay a "
                "trace of this model");
  EXPECT_EQ(wrong({{32, 32}, 8}, AdaptRule::kNone),
            file.path() +
                ": a token of the trace chooses up to 2 experts, of the model 8; replay a "
                "trace of this model");
  const auto source = make_replay(file.path(), ReplayRule::kAuto, {{32, 32, 32}, 2}, {1}, 1,
                                  AdaptRule::kCycleLayers);
  EXPECT_EQ(source->layers(), 3);
  LayerRouting first;
  LayerRouting third;
  source->fill(0, 0, first);
  source->fill(0, 2, third);
  EXPECT_EQ(first.choices, third.choices);
  EXPECT_EQ(source->description(),
            "replay of a.moetrace by requests, seed 1, adapt cycle-layers (2 recorded for 3)");
}

TEST(Replay, WarnsOfFewerRequestsThanSlots) {
  const TempFile file("a.moetrace");
  write_requests(file.path());
  const auto source = make_replay(file.path(), ReplayRule::kAuto, kShape, {4, 4}, 1);
  EXPECT_EQ(
      source->warnings(),
      std::vector<std::string>{"3 requests for 8 slots: the same request runs in several slots "
                               "at once, so tokens agree more than in a real batch"});
}

void write_counts(const std::string& path) {
  TraceHeader header = row_header(false);
  header.kind = TraceKind::kCounts;
  header.experts = {4};
  header.has_tags = true;
  TraceWriter writer(path, header);
  writer.append(CountRow{0, writer.tag("a"), 0, 100, {90, 50, 40, 20}});
  writer.append(CountRow{0, writer.tag("top1/a"), 0, 100, {100, 0, 0, 0}});
  writer.finish();
}

TEST(Replay, CountsAreDrawnWithTheRecordedShares) {
  const TempFile file("a.moetrace");
  write_counts(file.path());
  for (const std::int64_t budget : {std::int64_t{1} << 22, std::int64_t{10}}) {
    ReplayOptions options;
    options.token_budget = budget;
    const auto source = make_replay(file.path(), ReplayRule::kAuto, {{4}, 2}, {10000, 20000}, 6,
                                    AdaptRule::kNone, options);
    LayerRouting routing;
    source->fill(0, 0, routing);
    EXPECT_EQ(routing.per_token, budget > 10);
    const std::vector<double> shares = {0.9, 0.5, 0.4, 0.2};  // of the tokens; top1 is left out
    for (std::size_t e = 0; e < 4; ++e) {
      EXPECT_NEAR(static_cast<double>(routing.counts[e]), 10000 * shares[e], 250) << e;
      EXPECT_NEAR(static_cast<double>(routing.counts[4 + e]), 20000 * shares[e], 350) << e;
    }
    EXPECT_EQ(source->warnings().at(1),
              "1 tags are left out: they have other choices per token than "
              "top-2 ('top1/a' is one)");
  }
  EXPECT_EQ(error_text([&] {
              make_replay(file.path(), ReplayRule::kRequests, {{4}, 2}, {1}, 1);
            }),
            file.path() +
                ": a trace of counts has no recorded tokens; leave the rule out, or use "
                "sample: tokens are drawn from the counts");
}

TEST(Replay, NamesOfRulesAreParsed) {
  for (const ReplayRuleName& rule : replay_rules()) {
    EXPECT_EQ(parse_replay_rule(rule.name), rule.rule);
  }
  for (const AdaptRuleName& rule : adapt_rules()) EXPECT_EQ(parse_adapt_rule(rule.name), rule.rule);
  EXPECT_EQ(parse_replay_rule("random"), std::nullopt);
}

}  // namespace
}  // namespace sim
