// From the calls of a host to the .moetrace: what was recorded is what is stored.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/traces/recording.h"

namespace sim {
namespace {

using ::testing::ElementsAre;
using testing::only_chunk;
using testing::Recording;

using Steps = std::vector<std::int64_t>;

TEST(CaptureLog, LayersBecomeTokens) {
  Recording r;
  EXPECT_EQ(r.record(4, 1, {5, 6, 7, 8}, 2), 0);  // layers in any order
  EXPECT_EQ(r.record(4, 0, {1, 2, 3, 4}, 2), 0);
  EXPECT_EQ(r.record(5, 0, {9, 10}, 1), 0);
  EXPECT_EQ(r.record(5, 1, {15, 0}, 1), 0);
  const ImportReport report = r.import();
  EXPECT_EQ(report.format, "capture-log");
  EXPECT_EQ(report.model, "test-moe");
  EXPECT_EQ(report.rows, 3);
  EXPECT_THAT(report.notes, ElementsAre());
  TraceReader reader(r.out());
  EXPECT_EQ(reader.header().provenance, "captured by traces/capture: a test");
  EXPECT_EQ(reader.header().experts, (std::vector<int>{16, 16}));
  EXPECT_TRUE(reader.header().has_steps);
  const TokenChunk chunk = reader.read_chunk(0);
  EXPECT_EQ(chunk.step, (Steps{4, 4, 5}));
  EXPECT_EQ(chunk.source_rank, (std::vector<std::int32_t>{2, 2, 1}));
  EXPECT_EQ(chunk.choices, std::string("\1\2\3\4\x9\xA\5\6\7\x8\xF\0", 12));
}

TEST(CaptureLog, EveryTypeOfIdAndRowsApart) {
  const std::vector<std::uint8_t> u8 = {1, 2, 0, 3, 4, 0};
  const std::vector<std::uint16_t> u16(u8.begin(), u8.end());
  const std::vector<std::int32_t> i32(u8.begin(), u8.end());
  const std::vector<std::int64_t> i64(u8.begin(), u8.end());
  const std::vector<std::pair<const void*, std::uint32_t>> ids = {{i64.data(), MOE_CAPTURE_I64},
                                                                  {i32.data(), MOE_CAPTURE_I32},
                                                                  {u16.data(), MOE_CAPTURE_U16},
                                                                  {u8.data(), MOE_CAPTURE_U8}};
  const std::vector<std::size_t> size = {8, 4, 2, 1};
  for (const std::uint32_t experts : {16U, 300U}) {
    for (const bool apart : {false, true}) {
      Recording r(0, {experts});
      for (std::size_t i = 0; i < ids.size(); ++i) {
        moe_capture_batch b = MOE_CAPTURE_BATCH;
        b.step = static_cast<std::int64_t>(i);
        b.tokens = 2;
        b.top_k = 2;
        b.ids = ids[i].first;
        b.id_type = ids[i].second;
        b.row_bytes = apart ? 3 * size[i] : 0;  // a column of the host's that is not ours
        EXPECT_EQ(moe_capture_record(r.capture, &b), 0);
      }
      r.import();
      const TokenChunk chunk = only_chunk(r.out());
      ASSERT_EQ(chunk.rows, 8);
      EXPECT_EQ(chunk.width, experts > 256 ? 2 : 1);
      for (std::size_t i = 0; i < 16; ++i) {
        const std::vector<int> expected =
            apart ? std::vector<int>{1, 2, 3, 4} : std::vector<int>{1, 2, 0, 3};
        EXPECT_EQ(chunk.column(0).at(i), expected[i % 4]) << i;
      }
    }
  }
}

TEST(CaptureLog, AnExpertAbove256HasTwoBytes) {
  Recording r(0, {65536});
  r.record(0, 0, {65535, 256});
  r.import();
  const TokenChunk chunk = only_chunk(r.out());
  EXPECT_EQ(chunk.column(0).at(0), 65535);
  EXPECT_EQ(chunk.column(0).at(1), 256);
}

TEST(CaptureLog, EveryColumnComesBack) {
  Recording r(MOE_CAPTURE_WEIGHTS | MOE_CAPTURE_TOKEN_IDS | MOE_CAPTURE_TAGS |
              MOE_CAPTURE_REQUESTS);
  const auto code = static_cast<std::uint32_t>(moe_capture_tag(r.capture, "code"));
  const auto chat = static_cast<std::uint32_t>(moe_capture_tag(r.capture, "chat"));
  EXPECT_EQ(moe_capture_tag(r.capture, "code"), 0);
  EXPECT_EQ(chat, 1U);
  const std::vector<float> weights = {0.5F, 0.25F, 0, 1.5F, -1, 0};  // rows of three, two are ours
  const std::vector<std::int64_t> token_ids = {77, 78}, requests = {5, 4}, positions = {0, 9};
  const std::vector<std::uint32_t> tags = {chat, code};
  const std::vector<std::int64_t> ids = {1, 2, 3, 4};
  for (std::uint32_t layer = 0; layer < 2; ++layer) {
    moe_capture_batch b = r.batch(0, layer, ids);
    b.weights = weights.data();
    b.weights_row_bytes = 3 * sizeof(float);
    if (layer == 1) {  // one layer is enough
      b.token_ids = token_ids.data();
      b.tags = tags.data();
      b.requests = requests.data();
      b.positions = positions.data();
    }
    EXPECT_EQ(moe_capture_record(r.capture, &b), 0);
  }
  ImportOptions steps;
  steps.keep = "steps";
  EXPECT_THAT(r.import(steps).notes, ElementsAre("steps are kept, requests and positions are not"));
  TraceReader reader(r.out());
  EXPECT_EQ(reader.index().tags, (std::vector<std::string>{"code", "chat"}));
  TokenChunk chunk = reader.read_chunk(0);
  EXPECT_EQ(chunk.gate_weights, (std::vector<float>{0.5F, 0.25F, 1.5F, -1, 0.5F, 0.25F, 1.5F, -1}));
  EXPECT_EQ(chunk.token_id, token_ids);
  EXPECT_EQ(chunk.tag, tags);
  EXPECT_TRUE(chunk.request.empty());

  EXPECT_THAT(r.import().notes,
              ElementsAre("requests and positions are kept, steps are not (--keep steps)"));
  chunk = only_chunk(r.out());
  EXPECT_EQ(chunk.request, requests);
  EXPECT_EQ(chunk.position, positions);
  EXPECT_TRUE(chunk.step.empty());

  ImportOptions counts;  // per step, whatever else there is
  counts.counts = true;
  EXPECT_THAT(r.import(counts).notes,
              ElementsAre("steps are kept, requests and positions are not"));
  ImportOptions shape;  // which the log knows better
  shape.experts = 64;
  shape.top_k = 3;
  EXPECT_THAT(r.import(shape).notes,
              ElementsAre(::testing::_, "--experts 64 does not hold: the file itself has 16",
                          "--top-k 3 does not hold: the file itself has 2"));
  ImportOptions without;
  without.without_token_ids = true;
  r.import(without);
  TraceReader blind(r.out());
  EXPECT_FALSE(blind.header().has_token_ids);
  EXPECT_THAT(blind.header().provenance, ::testing::HasSubstr("; token ids left out"));
  EXPECT_TRUE(blind.read_chunk(0).token_id.empty());
}

TEST(CaptureLog, ChoicesOfATokenMayVary) {
  Recording r(MOE_CAPTURE_WEIGHTS, {16}, 3);
  const std::vector<std::int64_t> ids = {1, -1, 2, -1, -1, -1, 7, 8, 9};
  const std::vector<float> weights = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const std::vector<std::uint8_t> choices = {3, 3, 1};
  moe_capture_batch b = r.batch(0, 0, ids, 3);
  b.weights = weights.data();
  b.flags = MOE_CAPTURE_NEGATIVE_IS_NONE;
  b.choices = choices.data();
  EXPECT_EQ(moe_capture_record(r.capture, &b), 0);
  b = r.batch(1, 0, {4, 5}, 2);  // fewer columns than the log's top-k
  const std::vector<std::int64_t> two = {4, 5};
  b.ids = two.data();
  b.weights = weights.data();
  EXPECT_EQ(moe_capture_record(r.capture, &b), 0);
  r.import();
  const TokenChunk chunk = only_chunk(r.out());
  EXPECT_EQ(chunk.choices, std::string("\1\2\7\4\5", 5));
  EXPECT_EQ(chunk.gate_weights, (std::vector<float>{1, 3, 7, 1, 2}));
  const ChoiceColumn column = chunk.column(0);
  EXPECT_THAT(
      (std::vector<int>{column.count(0), column.count(1), column.count(2), column.count(3)}),
      ElementsAre(2, 0, 1, 2));
}

TEST(CaptureLog, MicroBatchesOfAStepFollowEachOther) {
  Recording r;
  r.record(0, 0, {1, 2});
  r.record(0, 1, {3, 4});
  r.record(0, 0, {5, 6, 7, 8});
  r.record(0, 1, {9, 10, 11, 12});
  EXPECT_EQ(r.import().rows, 3);
  EXPECT_EQ(only_chunk(r.out()).choices, std::string("\1\2\5\6\7\x8\3\4\x9\xA\xB\xC", 12));
}

TEST(CaptureLog, WhatDoesNotFitTogetherIsLeftOutAndCounted) {
  Recording r;
  r.record(0, 0, {1, 2, 3, 4});
  r.record(0, 1, {3, 4});  // one token too few
  r.record(1, 0, {1, 2});
  r.record(1, 1, {3, 3});
  r.record(2, 0, {1, 2});  // the other layer is missing
  const ImportReport report = r.import();
  EXPECT_EQ(report.rows, 1);
  EXPECT_THAT(
      report.notes,
      ElementsAre("3 tokens left out: the layers of their step and rank do not hold equally "
                  "many",
                  "1 tokens choose an expert twice in a layer"));
}

TEST(CaptureLog, LayersThatDisagreeAboutTheirTokensAreLeftOut) {
  Recording r(MOE_CAPTURE_TOKEN_IDS);
  const std::vector<std::int64_t> ids = {1, 2}, seven = {7}, eight = {8};
  for (const std::int64_t step : {0, 1}) {
    for (const std::uint32_t layer : {0U, 1U}) {
      moe_capture_batch b = r.batch(step, layer, ids);
      b.token_ids = step == 1 && layer == 1 ? eight.data() : seven.data();
      moe_capture_record(r.capture, &b);
    }
  }
  r.record(2, 0, ids);
  r.record(2, 1, ids);  // without token ids
  const ImportReport report = r.import();
  EXPECT_EQ(report.rows, 1);
  EXPECT_THAT(
      report.notes,
      ElementsAre("1 tokens left out: their step and rank lacks token ids, tags, or requests and "
                  "positions",
                  "1 tokens left out: the layers of their step and rank name other tokens"));
}

TEST(CaptureLog, ALayerThatNeverRecordsIsLeftOut) {
  Recording r(MOE_CAPTURE_TAGS, {16, 8, 16});
  r.record(0, 0, {1, 2});
  r.record(0, 2, {3, 4});
  EXPECT_THAT(r.import().notes, ElementsAre("tags were announced and never recorded",
                                            "1 of 3 layers were never recorded and are left out"));
  EXPECT_EQ(TraceReader(r.out()).header().layer_numbers, (std::vector<int>{0, 2}));
}

TEST(CaptureLog, StepsBeyondTheWindowAreOver) {
  Recording r;
  r.record(0, 0, {1, 2});
  r.record(0, 1, {1, 2});
  for (int step = 1; step < 12; ++step) {
    r.record(step, 0, {3, 4});
    r.record(step, 1, {3, 4});
  }
  r.record(0, 0, {5, 6});
  const ImportReport report = r.import();
  EXPECT_EQ(report.rows, 12);
  EXPECT_THAT(report.notes, ElementsAre("1 batches left out: their step was over"));
}

TEST(CaptureLog, SomeStepsAndCounts) {
  Recording r(MOE_CAPTURE_TAGS, {4, 300});
  const auto tag = static_cast<std::uint32_t>(moe_capture_tag(r.capture, "web"));
  const std::vector<std::int64_t> low = {1, 2, 1, 3}, high = {299, 0, 299, 1};
  const std::vector<std::uint32_t> tags = {tag, tag};
  for (int step = 0; step < 40; ++step) {
    for (const std::uint32_t rank : {0U, 1U}) {
      moe_capture_batch b = r.batch(step, 0, low);
      b.source_rank = rank;
      b.tags = tags.data();
      moe_capture_record(r.capture, &b);
      r.record(step, 1, high, rank);
    }
  }
  ImportOptions options;
  options.steps = parse_step_range("10:31:10");
  EXPECT_EQ(r.import(options).rows, 3 * 4);
  EXPECT_EQ(only_chunk(r.out()).step, (Steps{10, 10, 10, 10, 20, 20, 20, 20, 30, 30, 30, 30}));
  options.counts = true;
  EXPECT_EQ(r.import(options).rows, 3 * 2);
  TraceReader reader(r.out());
  EXPECT_EQ(reader.header().provenance,
            "captured by traces/capture: a test; only steps 10:31:10; tokens counted at import");
  const std::vector<CountRow> rows = reader.read_histograms(0);
  EXPECT_EQ(rows[2].step, 20);
  EXPECT_EQ(rows[2].tokens, 4);
  EXPECT_EQ(rows[2].counts, (std::vector<std::int64_t>{0, 4, 2, 2}));
  EXPECT_EQ(rows[3].layer, 1);
  EXPECT_EQ(rows[3].counts[299], 4);
  options.steps = parse_step_range("100:");
  EXPECT_EQ(r.import_error(options), r.log.path() + ": there is no token in these steps");
}

TEST(CaptureLog, LogsOfSeveralProcessesOfARun) {
  Recording a, b;
  for (int step = 0; step < 30; ++step) {
    a.record(step, 0, {1, 2}, 0);
    a.record(step, 1, {3, 4}, 0);
    b.record(step, 0, {5, 6}, 1);
    b.record(step, 1, {7, 8}, 1);
  }
  b.close();
  ImportOptions options;
  options.more_files = {b.log.path()};
  EXPECT_EQ(a.import(options).rows, 60);
  const TokenChunk chunk = only_chunk(a.out());
  EXPECT_EQ(chunk.source_rank[2], 0);
  EXPECT_EQ(chunk.source_rank[3], 1);
  EXPECT_EQ(chunk.step[3], 1);
  options.more_files = {a.log.path()};
  EXPECT_EQ(a.import_error(options),
            "step 0 of source rank 0 is in two of the logs, with the same layer; each process "
            "records under a source rank of its own");
  Recording other(0, {16});
  other.close();
  options.more_files = {other.log.path()};
  EXPECT_EQ(a.import_error(options),
            other.log.path() + ": this log has another model, other layers or columns than " +
                a.log.path() + "; logs of one run go together");
}

TEST(CaptureLog, LayersOfARankMayLieInSeveralLogs) {  // pipeline stages
  Recording a, b;
  for (int step = 0; step < 20; ++step) {
    a.record(step, 0, {1, 2});
    b.record(step, 1, {3, 4});
  }
  b.close();
  ImportOptions options;
  options.more_files = {b.log.path()};
  EXPECT_EQ(a.import(options).rows, 20);
  EXPECT_EQ(only_chunk(a.out()).choices.substr(36, 6), std::string("\1\2\1\2\3\4", 6));
}

TEST(CaptureLog, OptionsThatOtherFormatsLackAreRefused) {
  const testing::TempFile usage("expert_usage.csv", "layer,expert,count\n0,0,5\n");
  const testing::TempFile tokens("t.csv", "request,position,layer0\n0,0,1\n");
  const auto error = [](const testing::TempFile& file, auto set) {
    ImportOptions options{"", "", 8, 2};
    set(options);
    return testing::error_text(
        [&] { import_trace(file.path(), file.beside("out.moetrace"), options); });
  };
  EXPECT_EQ(error(usage, [](ImportOptions& o) { o.counts = true; }),
            "--counts: only of files of tokens, and this file is read as expert-usage");
  EXPECT_EQ(error(usage, [](ImportOptions& o) { o.steps = StepRange{}; }),
            "--steps: only of files of tokens, and this file is read as expert-usage");
  EXPECT_EQ(error(tokens, [](ImportOptions& o) { o.keep = "steps"; }),
            "--keep: only of files with requests and steps, and this file is read as tokens-csv");
  EXPECT_EQ(error(tokens, [](ImportOptions& o) { o.salvage = true; }),
            "--salvage: only of capture logs, and this file is read as tokens-csv");
  EXPECT_EQ(error(tokens, [](ImportOptions& o) { o.more_files = {"b.csv"}; }),
            "several files: only of capture logs, and this file is read as tokens-csv");
  EXPECT_EQ(
      error(tokens, [](ImportOptions& o) { o.steps = StepRange{}; }),
      tokens.path() +
          ": --steps: this file does not say which step a token belongs to; of a file that says "
          "requests too, --keep steps keeps the steps");
  Recording r;
  r.record(0, 0, {1, 2});
  ImportOptions keep;
  keep.keep = "requests";
  EXPECT_EQ(r.import_error(keep),
            r.log.path() + ": --keep requests: this log has no requests and positions");
}

TEST(CaptureLog, CountsOfOtherTokenFormats) {
  const testing::TempFile file("t.csv",
                               "step,source_rank,tag,layer0\n0,0,a,1 2\n0,1,b,1\n1,0,a,3 1\n");
  ImportOptions options{"", "", 4, 2};
  options.counts = true;
  const std::string out = file.beside("out.moetrace");
  EXPECT_EQ(import_trace(file.path(), out, options).rows, 3);
  TraceReader reader(out);
  const std::vector<CountRow> rows = reader.read_histograms(0);
  EXPECT_EQ(rows[1], (CountRow{0, 1, 0, 1, {0, 1, 0, 0}}));
  EXPECT_EQ(rows[2], (CountRow{1, 0, 0, 1, {0, 1, 0, 1}}));
}

TEST(StepRange, ReadsAndRefuses) {
  EXPECT_EQ(to_text(parse_step_range("10:20")), "10:20");
  EXPECT_EQ(to_text(parse_step_range(":")), "0:");
  EXPECT_EQ(to_text(parse_step_range(":7:2")), "0:7:2");
  EXPECT_TRUE(parse_step_range("3::5").holds(13));
  EXPECT_FALSE(parse_step_range("3::5").holds(12));
  EXPECT_FALSE(parse_step_range("3:13:5").holds(13));
  for (const char* wrong : {"", "5", "5:5", "a:b", "-1:2", "1:2:0", "1:2:3:4", "1: 2"}) {
    EXPECT_EQ(
        testing::error_text([&] { parse_step_range(wrong); }),
        "'" + std::string(wrong) +
            "' is no range of steps; FROM:TO or FROM:TO:EVERY, whole numbers from 0, TO above "
            "FROM and not in it: 100:200, 0::50, :1000:10");
  }
}

}  // namespace
}  // namespace sim
