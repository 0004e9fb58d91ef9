// What serving engines dump: events, routed experts per request, loads of balancers, NumPy arrays.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "tests/support/shared_data.h"
#include "tests/traces/temp_file.h"
#include "traces/import/import.h"
#include "traces/statistics.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

using testing::error_text;
using testing::TempFile;

const ImportOptions kEight{"", "", 8, 2, ""};

std::string import_error(const TempFile& file, const ImportOptions& options = kEight) {
  return error_text([&] { import_trace(file.path(), file.beside("out.moetrace"), options); });
}

struct Imported {
  ImportReport report;
  TraceHeader header;
  TokenChunk chunk;
  std::vector<CountRow> counts;
  std::vector<std::string> tags;
};

Imported import(const TempFile& file, const ImportOptions& options = kEight) {
  Imported result;
  const std::string out = file.beside("out.moetrace");
  result.report = import_trace(file.path(), out, options);
  TraceReader reader(out);
  result.header = reader.header();
  result.tags = reader.index().tags;
  if (result.header.kind == TraceKind::kTokens) {
    reader.next(result.chunk);
  } else {
    reader.next(result.counts);
  }
  return result;
}

using Numbers = std::vector<std::int64_t>;

// Two tokens, three layers; layers of a token apart and out of order.
TEST(ImportEngines, EventsJoinLayersInAnyOrder) {
  const TempFile file(
      "t.jsonl",
      R"({"request": "a", "phase": "prefill", "step": 5, "position": 0, "layer": 7, "experts": [1, 0]})"
      "\n"
      R"({"request": "b", "phase": "decode", "step": 5, "position": 9, "layer": 3, "experts": [4]})"
      "\n"
      R"({"request": "a", "phase": "prefill", "step": 5, "position": 0, "layer": 3, "experts": [2, 3]})"
      "\n"
      R"({"request": "b", "phase": "decode", "step": 5, "position": 9, "layer": 7, "experts": [5, 6]})"
      "\n"
      R"({"request": "a", "phase": "decode", "step": 6, "position": 1, "layer": 7, "experts": [7, 0]})");
  const Imported got = import(file);
  EXPECT_EQ(got.report.format, "events-jsonl");
  EXPECT_EQ(got.header.layer_numbers, (std::vector<int>{3, 7}));
  EXPECT_EQ(got.header.top_k, 2);
  EXPECT_FALSE(got.header.has_steps);
  EXPECT_EQ(got.chunk.rows, 2);
  EXPECT_EQ(got.chunk.request, (Numbers{0, 1}));
  EXPECT_EQ(got.chunk.position, (Numbers{0, 9}));
  EXPECT_EQ(got.tags, (std::vector<std::string>{"prefill", "decode"}));
  // Layer 3: [2, 3] of a, [4] of b; layer 7: [1, 0], [5, 6].
  EXPECT_EQ(got.chunk.choices, std::string("\2\3\4\1\0\5\6", 7));
  EXPECT_EQ(got.report.notes, (std::vector<std::string>{
                                  "requests and positions are kept, steps are not (--keep steps)",
                                  "requests are numbered in the order in which they appear",
                                  "1 tokens miss one of the 2 layers and were left out"}));
  ImportOptions steps = kEight;
  steps.keep = "steps";
  const Imported stepped = import(file, steps);
  EXPECT_TRUE(stepped.header.has_steps);
  EXPECT_EQ(stepped.chunk.step, (Numbers{5, 5}));
  EXPECT_EQ(stepped.report.notes[1], "no source_rank: all tokens come from rank 0");
  ImportOptions counts = kEight;  // counts are per step, whatever else there is
  counts.counts = true;
  const TempFile out("t.moetrace");
  EXPECT_EQ(import_trace(file.path(), out.path(), counts).notes[0],
            "steps are kept, requests and positions are not");
}

TEST(ImportEngines, EventsOfStepsAndRanksWithAllColumns) {
  const TempFile file(
      "t.jsonl",
      R"({"iteration": 2, "rank": 1, "pos": 0, "layer_id": 0, "topk_ids": [3], "topk_weights": [0.5], "token_id": 42, "domain": "code", "phase": "decode", "round": 1})"
      "\n"
      R"({"iteration": 2, "rank": 1, "pos": 0, "layer_id": 1, "topk_ids": [6], "topk_weights": [0.25], "token_id": 42, "domain": "code", "phase": "decode", "round": 1})");
  const Imported got = import(file);
  EXPECT_TRUE(got.header.has_steps);
  EXPECT_EQ(got.chunk.step, (Numbers{2}));
  EXPECT_EQ(got.chunk.source_rank, (std::vector<std::int32_t>{1}));
  EXPECT_EQ(got.chunk.token_id, (Numbers{42}));
  EXPECT_EQ(got.chunk.round, (std::vector<std::uint32_t>{1}));
  EXPECT_EQ(got.tags, (std::vector<std::string>{"code/decode"}));
  EXPECT_EQ(got.chunk.gate_weights, (std::vector<float>{0.5F, 0.25F}));
}

TEST(ImportEngines, EventsSayWhatIsWrong) {
  const std::string good = R"({"request": 1, "position": 0, "layer": 0, "experts": [1]})";
  const TempFile file("t.jsonl");
  const auto second = [&](const std::string& line) {
    file.write(good + "\n" + R"({"request": 1, "position": 0, "layer": 1, "experts": [1]})" + "\n" +
               line + "\n");
    return import_error(file);
  };
  const std::string at = file.path() + ":3:1: ";
  EXPECT_EQ(second(R"({"request": 1, "position": 4, "experts": [1]})"),
            at + "there is no 'layer'; or, with the same meaning: layer_id, layer_idx, "
                 "layer_number");
  EXPECT_EQ(second(R"({"request": 1, "position": 4, "layer": 0, "experts": [8]})"),
            at + "experts of layer 0: 8 is not an expert from 0 to 7");
  EXPECT_EQ(second(R"({"request": 1, "position": 4, "layer": 0, "experts": [[1]]})"),
            at + "experts of layer 0: a list is not an expert from 0 to 7");
  EXPECT_EQ(second(R"({"request": 1, "rid": 1, "position": 4, "layer": 0, "experts": [1]})"),
            at + "'request' and 'rid' mean the same");
  EXPECT_EQ(second(R"({"request": 1.5, "position": 4, "layer": 0, "experts": [1]})"),
            at + "'request' is not text: 1.5");
  file.write(good + "\n" + good + "\n" +
             R"({"request": 1, "position": 0, "layer": 1, "experts": [1]})");
  EXPECT_EQ(import_error(file),
            file.path() +
                ":2:1: this layer of the token is there twice; a token is known by its request "
                "and position, and by step and source_rank where they are given");
  file.write(R"({"position": 0, "layer": 0, "experts": [1]})");
  EXPECT_EQ(import_error(file),
            file.path() +
                ":1:1: there is neither 'request' nor 'step'; a token's layers are "
                "joined by them");
  file.write(good + "\n" + R"({"request": 2, "position": 0, "layer": 1, "experts": [1]})");
  EXPECT_EQ(import_error(file),
            file.path() +
                ": no token has all 2 layers; a token is known by its request and "
                "position, or by step, source_rank and position");
  EXPECT_FALSE(std::filesystem::exists(file.beside("out.moetrace")));
}

// The upstream form of ../shared/data/routing/vllm-route-logs: a meta line names the model.
TEST(ImportEngines, VllmRouteLogsAreEvents) {
  const TempFile file(
      "moe_routes.jsonl",
      R"({"type": "meta", "model_id": "allenai/OLMoE-1B-7B-0924", "layers_logged": [0], "top_k": 2})"
      "\n"
      R"({"type": "route", "req_id": "r1", "token_idx": 0, "layer": 0, "topk_ids": [45, 57], "topk_weights": [0.5, 0.25]})"
      "\n"
      R"({"type": "route", "req_id": "r1", "token_idx": 1, "layer": 0, "topk_ids": [63, 0], "topk_weights": [0.5, 0.25]})");
  const Imported got = import(file, {});
  EXPECT_EQ(got.report.model, "allenai/OLMoE-1B-7B-0924");
  EXPECT_EQ(got.header.experts, (std::vector<int>{64}));
  EXPECT_EQ(got.chunk.position, (Numbers{0, 1}));
  EXPECT_EQ(got.chunk.choices, std::string("\x2d\x39\x3f\0", 4));
}

// The same file through both readers: the published log as CSV, and its rows as the JSON that vLLM
// wrote.
TEST(ImportEngines, PublishedRouteLogReadsTheSameAsJson) {
  MOE_NEEDS_SHARED_DATA();
  const std::string source = testing::shared_dir() +
                             "/data/routing/vllm-route-logs/"
                             "qwen1.5-moe-a2.7b-layer0-gsm8k.csv.gz";
  const TempFile csv("csv.moetrace");
  const TempFile jsonl("qwen1.5-moe-a2.7b.jsonl");
  import_trace(source, csv.path());
  TokenChunk rows;
  std::string text;
  for (TraceReader reader(csv.path()); reader.next(rows);) {
    const ChoiceColumn column = rows.column(0);
    for (int row = 0; row < rows.rows; ++row) {
      std::string ids;
      std::string weights;
      for (std::size_t c = column.begin(row); c < column.begin(row) + 4; ++c) {
        ids += (ids.empty() ? "" : ", ") + std::to_string(column.at(c));
        weights += (weights.empty() ? "" : ", ") + std::to_string(rows.gate_weights[c]);
      }
      text += R"({"type": "route", "req_id": "r1", "token_idx": )" +
              std::to_string(rows.position[static_cast<std::size_t>(row)]) +
              R"(, "layer": 0, "topk_ids": [)" + ids + R"(], "topk_weights": [)" + weights + "]}\n";
    }
  }
  jsonl.write(text);
  const Imported got = import(jsonl, {});
  EXPECT_EQ(got.report.rows, 2434);
  TraceReader reader(csv.path());
  EXPECT_EQ(got.chunk.choices, reader.read_chunk(0).choices);
}

TEST(ImportEngines, RoutedExpertsPerRequest) {
  const TempFile file(
      "t.jsonl",
      R"({"request_id": "cmpl-9", "prompt_routed_experts": [[[0, 0], [1, 2]]], "routed_experts": [[[0, 0], [3, -1]], [[0, 0], [0, 0]]]})"
      "\n"
      R"({"request_id": "cmpl-2", "prompt_routed_experts": [], "first_position": 4, "routed_experts": [[[0, 0], [7, 6]]]})");
  const Imported got = import(file);
  EXPECT_EQ(got.report.format, "routed-experts-jsonl");
  EXPECT_EQ(got.header.layer_numbers, (std::vector<int>{1}));
  EXPECT_EQ(got.chunk.request, (Numbers{0, 0, 1}));
  EXPECT_EQ(got.chunk.position, (Numbers{0, 1, 4}));
  EXPECT_EQ(got.chunk.tag, (std::vector<std::uint32_t>{0, 1, 1}));
  EXPECT_EQ(got.tags, (std::vector<std::string>{"prefill", "decode"}));
  EXPECT_EQ(got.chunk.choices, std::string("\1\2\3\7\6", 5));
  EXPECT_EQ(got.report.notes,
            (std::vector<std::string>{
                "requests are numbered in the order in which they appear",
                "1 of 2 layers have only zeros and were left out: they have no router",
                "1 tokens have only zeros and were left out: they were not run",
                "experts of -1 were taken as no choice: 1"}));
  file.write(R"({"routed_experts": [[[0, 1]], [[0, 1], [2, 3]]]})");
  EXPECT_EQ(import_error(file),
            file.path() + ":1:1: routed_experts: 2 layers, the tokens before have 1");
  // 2^64 - 1 is no -1.
  file.write(R"({"routed_experts": [[[18446744073709551615, 1]]]})");
  EXPECT_EQ(
      import_error(file),
      file.path() + ":1:1: experts of layer 0: 18446744073709551615 is not an expert from 0 to 7");
}

// With one choice a blank row looks like one of expert 0.
TEST(ImportEngines, LoneZerosOfTopOneAreSaid) {
  const TempFile file("t.jsonl", R"({"routed_experts": [[[0], [0]], [[0], [3]], [[0], [0]]]})");
  const Imported got = import(file);
  EXPECT_EQ(got.report.rows, 3);
  ASSERT_GE(got.report.notes.size(), 2U);
  EXPECT_EQ(got.report.notes[got.report.notes.size() - 2],
            "2 tokens choose expert 0 alone in every layer: with one choice this looks the same as "
            "a token that was not run; they were kept");
  EXPECT_EQ(got.report.notes.back(), "--top-k 2 does not hold: the file itself has 1");
}

TEST(ImportEngines, LoadsPerLineAndStep) {
  const TempFile file(
      "t.jsonl", R"({"step": 7, "rank_load": [[4, 4]], "logical_load": [[3, 0, 5], [1, 4, 3.0]]})"
                 "\n"
                 R"({"step": 9, "rank_load": [[4, 4]], "logical_load": [[1, 1, 1], [0, 0, 0]]})");
  ImportOptions options;
  options.top_k = 2;
  const Imported got = import(file, options);
  EXPECT_EQ(got.report.format, "expert-load-json");
  EXPECT_TRUE(got.header.has_steps);
  EXPECT_EQ(got.counts, (std::vector<CountRow>{{7, 0, 0, 4, {3, 0, 5}},
                                               {7, 0, 1, 4, {1, 4, 3}},
                                               {9, 0, 0, 0, {1, 1, 1}},
                                               {9, 0, 1, 0, {0, 0, 0}}}));
  file.write(R"({"step": 7, "global_physical_count": [[3, 0, 5]]})");
  EXPECT_EQ(import_error(file, options),
            file.path() +
                ":1:1: counts of physical experts: which expert a slot holds is not said; sum "
                "them by physical_to_logical_map into 'logical_load'");
  file.write(R"({"step": 7, "counts": [[3, 0, 5]]})"
             "\n"
             R"({"step": 7, "counts": [[3, 0, 5]]})");
  EXPECT_EQ(import_error(file, options),
            file.path() +
                ":2:1: layer 0 of step 7 is there twice; loads of several ranks need a "
                "'source_rank'");
  file.write(R"({"step": 7, "counts": [[3, 0.5]]})");
  EXPECT_EQ(import_error(file, options), file.path() + ":1:1: layer 0: 0.5 is not a whole count");
}

TEST(ImportEngines, LoadsOfRanksAreAddedAndLayersMayBeLines) {
  const TempFile file("t.jsonl",
                      R"({"step": 1, "rank": 0, "layer": 4, "tokens_per_expert": [1, 2]})"
                      "\n"
                      R"({"step": 1, "rank": 1, "layer": 4, "tokens_per_expert": [10, 20]})");
  ImportOptions options;
  options.top_k = 1;
  const Imported got = import(file, options);
  EXPECT_EQ(got.header.layer_numbers, (std::vector<int>{4}));
  EXPECT_EQ(got.counts, (std::vector<CountRow>{{1, 0, 0, 33, {11, 22}}}));
  EXPECT_EQ(got.report.notes, (std::vector<std::string>{"the counts of all ranks are added up"}));
}

TEST(ImportEngines, LoadHistoryOfOneObject) {
  const TempFile file("t.json",
                      "{\n \"load_history\": [\n  {\"logical_expert_load\": [[3, 1]]},\n"
                      "  {\"logical_expert_load\": [[2, 2]]}\n ]\n}\n");
  ImportOptions options;
  options.top_k = 2;
  const Imported got = import(file, options);
  EXPECT_EQ(got.counts, (std::vector<CountRow>{{0, 0, 0, 2, {3, 1}}, {1, 0, 0, 2, {2, 2}}}));
  file.write("{\"load_history\": [{\"logical_expert_load\": [[3, -1]]}]}");
  EXPECT_EQ(import_error(file, options),
            file.path() + ": load_history[0]: layer 0: -1 is not a count");
}

// A copy, a comparison or a text of such a value would need as deep a stack.
TEST(ImportEngines, NestingWithoutEndIsNoCrash) {
  constexpr std::size_t kDepth = 300'000;
  const std::string deep = std::string(kDepth, '[') + std::string(kDepth, ']');
  const TempFile file("t.json", "{\"load_history\": " + deep + "}\n");
  EXPECT_EQ(import_error(file), file.path() + ": load_history[0]: this is not a JSON object");
  file.write("{\"request\": 1, \"position\": 0, \"layer\": 0, \"experts\": [" + deep + "]}\n");
  EXPECT_EQ(import_error(file),
            file.path() + ":1:1: experts of layer 0: a list is not an expert from 0 to 7");
  file.write("{\"position\": 0, \"layer\": 0, \"experts\": [1], \"request\": " + deep + "}\n");
  EXPECT_EQ(import_error(file), file.path() + ":1:1: 'request' is not text: a list");
}

TEST(ImportEngines, SglangCountsAsText) {
  const TempFile file("t.csv", "layer_id,expert_id,count\n3,0,5\n3,7,1\n5,1,4\n");
  const Imported got = import(file);
  EXPECT_EQ(got.report.format, "sglang-counts");
  EXPECT_EQ(got.header.layer_numbers, (std::vector<int>{3, 5}));
  EXPECT_EQ(got.counts[0], (CountRow{0, 0, 0, 3, {5, 0, 0, 0, 0, 0, 0, 1}}));
}

// A .npy file as numpy.save writes it: magic, version, length, a dictionary, blanks to a multiple
// of 64 bytes, the numbers.
template <class T>
std::string npy(const std::string& descr, const std::string& shape, const std::vector<T>& numbers,
                const std::string& order = "False", int version = 1) {
  std::string header =
      "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }";
  const std::size_t before = version == 1 ? 10 : 12;
  while ((before + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string file("\x93NUMPY", 6);
  file += static_cast<char>(version);
  file += '\0';
  for (std::size_t i = 0; i < before - 8; ++i) {
    file += static_cast<char>((header.size() >> (8 * i)) & 255U);
  }
  file += header;
  file.append(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T));
  return file;
}

TEST(ImportEngines, HotnessArraysOfEveryType) {
  // [iteration 2, layer 1, expert 3]: 3 0 5 | 1 2 1.
  const std::vector<CountRow> expected{{0, 0, 0, 4, {3, 0, 5}}, {1, 0, 0, 2, {1, 2, 1}}};
  const TempFile file("t.npy");
  ImportOptions options;
  options.top_k = 2;
  const auto counts = [&](const std::string& content) {
    file.write(content);
    return import(file, options).counts;
  };
  const std::string shape = "(2, 1, 3)";
  EXPECT_EQ(counts(npy<std::int8_t>("|i1", shape, {3, 0, 5, 1, 2, 1})), expected);
  EXPECT_EQ(counts(npy<std::uint8_t>("|u1", shape, {3, 0, 5, 1, 2, 1})), expected);
  EXPECT_EQ(counts(npy<std::int16_t>("<i2", shape, {3, 0, 5, 1, 2, 1})), expected);
  EXPECT_EQ(counts(npy<std::uint16_t>("<u2", shape, {3, 0, 5, 1, 2, 1})), expected);
  EXPECT_EQ(counts(npy<std::int32_t>("<i4", shape, {3, 0, 5, 1, 2, 1})), expected);
  EXPECT_EQ(counts(npy<std::uint32_t>("<u4", shape, {3, 0, 5, 1, 2, 1}, "False", 2)), expected);
  EXPECT_EQ(counts(npy<std::int64_t>("<i8", shape, {3, 0, 5, 1, 2, 1}, "False", 3)), expected);
  EXPECT_EQ(counts(npy<std::uint64_t>("<u8", shape, {3, 0, 5, 1, 2, 1})), expected);
  EXPECT_EQ(counts(npy<float>("<f4", shape, {3, 0, 5, 1, 2, 1})), expected);
  EXPECT_EQ(counts(npy<double>("<f8", shape, {3, 0, 5, 1, 2, 1})), expected);
  // IEEE half: 1.0 is 0x3c00, 2.0 is 0x4000, 3.0 is 0x4200, 5.0 is 0x4500.
  EXPECT_EQ(counts(npy<std::uint16_t>("<f2", shape, {0x4200, 0, 0x4500, 0x3c00, 0x4000, 0x3c00})),
            expected);
  // Fortran order: the iteration runs fastest.
  EXPECT_EQ(counts(npy<std::int32_t>("<i4", shape, {3, 1, 0, 2, 5, 1}, "True")), expected);
}

TEST(ImportEngines, HotnessOfTwoDimensionsHasNoSteps) {
  const TempFile file("t.npy", npy<double>("<f8", "(2, 2)", {0.25, 0.75, 0, 0.5}));
  ImportOptions options;
  options.top_k = 2;
  const Imported got = import(file, options);
  EXPECT_FALSE(got.header.has_steps);
  EXPECT_TRUE(got.header.counts_are_fractions);
  EXPECT_EQ(got.counts, (std::vector<CountRow>{{0, 0, 0, 0, {25'000'000, 75'000'000}},
                                               {0, 0, 1, 0, {0, 100'000'000}}}));
}

TEST(ImportEngines, HotnessSaysWhatIsWrong) {
  const TempFile file("t.npy");
  ImportOptions options;
  options.top_k = 2;
  const auto error = [&](const std::string& content) {
    file.write(content);
    return import_error(file, options);
  };
  const std::string at = file.path() + ": ";
  const std::vector<std::int64_t> four{1, 2, 3, 4};
  EXPECT_EQ(error(npy("<i8", "(4,)", four)),
            at + "an array of 1 dimensions; hotness has the shape [iteration, layer, expert] or "
                 "[layer, expert]");
  EXPECT_EQ(error(npy(">i8", "(2, 2)", four)),
            at + "an array of type '>i8'; whole numbers or floats of a little-endian machine: "
                 "<i8, <u4, <f4, ...");
  EXPECT_EQ(error(npy("<i8", "(1000000, 2, 3)", four)),
            at + "the file ends inside its numbers; it is cut short");
  EXPECT_EQ(error(npy("<i8", "(1000000, 1000000, 1000000)", four)),
            at + "an array of more than 2^40 numbers");
  EXPECT_EQ(error(npy("<i8", "(1, 2)", four)),
            at + "something follows the last number of the array");
  EXPECT_EQ(error(npy("<i8", "(2, __import__('os'))", four)),
            at + "the header is not {'descr': ..., 'fortran_order': ..., 'shape': (...), }; "
                 "numpy.save writes it so");
  EXPECT_EQ(error(npy<std::int64_t>("<i8", "(2, 2)", {1, 2, -3, 4})),
            at + "-3 at [1, 0] is not a count; a count is from 0 to 2^46");
  EXPECT_EQ(error(npy<double>("<f8", "(2, 2)", {1, NAN, 3, 4})),
            at + "nan at [0, 1] is not a count; a count is from 0 to 2^46");
  options.experts = 3;
  EXPECT_EQ(error(npy("<i8", "(2, 2)", four)),
            at + "2 experts in the array, not 3; the last dimension are the experts");
}

TEST(ImportEngines, EveryCutOfAFileIsAnErrorOrATrace) {
  const std::string array = npy<std::int16_t>("<i2", "(2, 1, 3)", {3, 0, 5, 1, 2, 1});
  const TempFile file("t.npy");
  for (std::size_t size = 0; size < array.size(); ++size) {
    file.write(array.substr(0, size));
    EXPECT_NE(import_error(file), "") << size;
  }
}

TEST(ImportEngines, OptionsOutOfRange) {
  const TempFile file("t.csv", "layer,expert,count\n0,0,1\n");
  EXPECT_EQ(import_error(file, {"", "", 0, 2, ""}), "--experts is 1 to 65536, not 0");
  EXPECT_EQ(import_error(file, {"", "", 8, 256, ""}), "--top-k is 1 to 255, not 256");
  EXPECT_EQ(import_error(file, {"", "", 8, 2, "both"}), "--keep is requests or steps, not 'both'");
}

}  // namespace
}  // namespace sim
