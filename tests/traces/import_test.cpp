#include "traces/import/import.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <cstdio>
#include <map>

#include "tests/support/shared_data.h"
#include "tests/traces/temp_file.h"
#include "traces/statistics.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

using testing::error_text;
using testing::TempFile;

std::string import_error(const TempFile& file, ImportOptions options = {}) {
  return error_text([&] { import_trace(file.path(), file.beside("out.moetrace"), options); });
}

const ImportOptions kEight{"", "", 8, 2};

TEST(Import, TokensCsvKeepsStepsRanksTagsAndVaryingChoices) {
  const TempFile file("t.csv",
                      "step,source_rank,token_id,tag,layer3,layer5\n"
                      "0,1,77,code,7 2,1\r\n"
                      "\n"
                      "1,0,78,chat,0,4 3\n");
  const std::string out = file.beside("out.moetrace");
  const ImportReport report = import_trace(file.path(), out, kEight);
  EXPECT_EQ(report.format, "tokens-csv");
  EXPECT_EQ(report.rows, 2);
  TraceReader reader(out);
  EXPECT_EQ(reader.header().layer_numbers, (std::vector<int>{3, 5}));
  EXPECT_EQ(reader.header().top_k, 2);
  EXPECT_EQ(reader.header().experts, (std::vector<int>{8, 8}));
  const TokenChunk chunk = reader.read_chunk(0);
  EXPECT_EQ(chunk.step, (std::vector<std::int64_t>{0, 1}));
  EXPECT_EQ(chunk.source_rank, (std::vector<std::int32_t>{1, 0}));
  EXPECT_EQ(chunk.token_id, (std::vector<std::int64_t>{77, 78}));
  EXPECT_EQ(reader.index().tags, (std::vector<std::string>{"code", "chat"}));
  EXPECT_EQ(chunk.choices, std::string("\7\2\0\1\4\3", 6));
  EXPECT_EQ(chunk.column(0).count(1), 1);
}

TEST(Import, TokensJsonl) {
  const TempFile file(
      "t.jsonl",
      R"({"request": 4, "position": 1, "experts": [[1, 0], [7]], "weights": [[0.5, 0.25], [1]]})"
      "\n"
      R"({"request": 4, "position": 2, "experts": [[], [3, 2]], "weights": [[], [1, 2]]})");
  const std::string out = file.beside("out.moetrace");
  EXPECT_EQ(import_trace(file.path(), out, kEight).rows, 2);
  TraceReader reader(out);
  const TokenChunk chunk = reader.read_chunk(0);
  EXPECT_EQ(chunk.choices, std::string("\1\0\7\3\2", 5));
  EXPECT_EQ(chunk.gate_weights, (std::vector<float>{0.5F, 0.25F, 1, 1, 2}));
  EXPECT_EQ(chunk.position, (std::vector<std::int64_t>{1, 2}));
  file.write(R"({"request": 4, "position": 1, "experts": [[1, 8]]})");
  EXPECT_EQ(import_error(file, kEight),
            file.path() + ":1:1: experts of layer 0: 8 is not an expert from 0 to 7");
  file.write("{\"experts\": [[1]]}\n{oops}\n");
  EXPECT_EQ(import_error(file, kEight), file.path() + ":2:1: this line is not a JSON object");
}

TEST(Import, PointsAtTheWrongField) {
  const TempFile file("t.csv");
  const std::string head = "request,position,layer0,layer1\n0,0,1 2,3 4\n";
  file.write(head + "0,1,1 2,3 8\n");
  EXPECT_EQ(import_error(file, kEight),
            file.path() +
                ":3:11: layer1: expert 8 of a layer with 8 experts; ids count from 0; "
                "--experts gives another number");
  file.write(head + "0,1,1 x2,3 4\n");
  EXPECT_EQ(import_error(file, kEight), file.path() + ":3:7: layer0: 'x2' is not an expert id");
  file.write(head + "0,1,1 1,3 4\n");
  EXPECT_EQ(import_error(file, kEight), file.path() + ":3:7: layer0: expert 1 twice for one token");
  file.write(head + "0,1,1 2\n");
  EXPECT_EQ(import_error(file, kEight),
            file.path() + ":3:1: 3 fields in this row, there are 4 columns");
  file.write(head + "0,-1,1 2,3 4\n");
  EXPECT_EQ(
      import_error(file, kEight),
      file.path() + ":3:3: position: '-1' is not a whole number from 0 to 9223372036854775807");
  EXPECT_FALSE(std::filesystem::exists(file.beside("out.moetrace")));
}

TEST(Import, SaysThatTheNumberOfExpertsIsUnknown) {
  const TempFile file("t.csv", "request,position,layer0\n0,0,1 2\n");
  EXPECT_EQ(
      import_error(file),
      file.path() +
          ": the file does not say how many experts a layer has; give --experts N, or --model "
          "with one of: gpt-oss-20b, gpt-oss-120b, olmoe-1b-7b, mixtral-8x7b, mixtral-8x22b, "
          "flame-moe-290m, qwen1.5-moe-a2.7b, qwen3-30b-a3b, qwen3-235b-a22b, "
          "deepseek-v2-lite, deepseek-v3, kimi-k2");
}

TEST(Import, ListsTheFormatsItKnows) {
  const TempFile file("t.csv", "a,b\n1,2\n");
  EXPECT_EQ(import_error(file),
            file.path() +
                ": this is no trace format that we know; --format names one: "
                "capture-log, gpt-oss-fingerprinting, tokens-csv, events-jsonl, "
                "routed-experts-jsonl, tokens-jsonl, "
                "flame-moe, vllm-route-log, olmoe-counts, expert-usage, sglang-counts, "
                "hotness-npy, expert-load-json, fiddler-popularity, expert-fractions");
  EXPECT_EQ(import_error(file, {"flame-mo", "", {}, {}}),
            "unknown trace format 'flame-mo'; did you mean 'flame-moe'?");
}

TEST(Import, FlameLayersMustHaveTheSameTokens) {
  const std::string head = "moe_layer,token,experts,router_scores\n";
  const TempFile file("t.csv", head + "2,0,1 2,0.5 0.5\n2,1,3 4,0.5 0.5\n3,0,1 2,0.5 0.5\n");
  EXPECT_EQ(import_error(file, kEight),
            file.path() +
                ": layer 3 has other tokens than layer 2 (1 and 2); a token runs through "
                "every layer: leave out the layers that miss some");
  file.write(head + "2,0,1 2,0.5 0.5\n2,0,3 4,0.5 0.5\n");
  EXPECT_EQ(import_error(file, kEight),
            file.path() + ":3:3: token: this token is there twice in this layer");
}

// Eight sequences lie side by side: token 9 is the second of the second.
TEST(Import, FlameSequencesAreInterleaved) {
  std::string text = "moe_layer,token,experts,router_scores\n";
  for (const char* token : {"0", "1", "8", "9"})
    text += std::string("2,") + token + ",1 2,0.5 0.5\n";
  const TempFile file("t.csv", text);
  const TempFile out("t.moetrace");
  import_trace(file.path(), out.path(), kEight);
  TraceReader reader(out.path());
  TokenChunk chunk;
  ASSERT_TRUE(reader.next(chunk));
  EXPECT_EQ(chunk.request, (std::vector<std::int64_t>{0, 1, 0, 1}));
  EXPECT_EQ(chunk.position, (std::vector<std::int64_t>{0, 0, 1, 1}));
}

TEST(Import, FiddlerPointsIntoTheJson) {
  const TempFile file("t.json",
                      "{\"total_input_tokens\": 3,\n \"expert_popularity\": [[1, 2], [3, }");
  EXPECT_EQ(import_error(file, kEight),
            file.path() + ":2:36: this is not JSON; is the file cut short?");
}

void write_gzip(const std::string& path, const std::string& text) {
  const gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
}

TEST(Import, ReadsGzipAndRefusesACutOne) {
  std::string text = "request,position,layer0\n";
  for (int i = 0; i < 5000; ++i) {
    text += "0," + std::to_string(i * 7919 % 5000) + "," + std::to_string(i % 8) + "\n";
  }
  const TempFile file("t.csv.gz");
  write_gzip(file.path(), text);
  EXPECT_EQ(import_trace(file.path(), file.beside("out.moetrace"), kEight).rows, 5000);
  const std::string whole = file.read();
  file.write(whole.substr(0, whole.size() / 2));
  EXPECT_NE(import_error(file, kEight).find("cannot unzip this file"), std::string::npos);
}

TEST(Import, CutsOfATextFileNeverCrash) {
  const std::string text =
      "request,position,layer0,layer1\n0,0,1 2,3 4\n0,1,1 2,3 5\n1,0,7 2,3 6\n";
  const TempFile file("t.csv");
  for (std::size_t size = 0; size < text.size(); ++size) {
    file.write(text.substr(0, size));
    import_error(file, kEight);  // an error or not: never anything else
  }
}

// routing/imbalance_summary.csv holds max/mean, cv and unused experts of every file, computed by
// somebody else's program.
struct Expected {
  double max_over_mean = 0;
  double cv = 0;
  int zero = 0;
  std::int64_t tokens = 0;
};
using Summary = std::map<std::string, std::map<std::pair<std::string, int>, Expected>>;

Summary read_summary(const std::string& path) {
  Summary summary;
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::vector<std::string> fields(1);
    for (const char c : line) {
      if (c == ',') {
        fields.emplace_back();
      } else if (c != '\r') {
        fields.back() += c;
      }
    }
    if (fields.size() != 9) {
      ADD_FAILURE() << line;
      continue;
    }
    std::string group = fields[1];
    if (group.starts_with("expert_counts/")) group = group.substr(14);
    if (group.starts_with("expert_counts_top1/")) group = "top1/" + group.substr(19);
    summary[fields[0]][{group, std::stoi(fields[2])}] = {
        std::stod(fields[6]), std::stod(fields[7]), std::stoi(fields[8]),
        fields[3].empty() ? 0 : std::stoll(fields[3])};
  }
  return summary;
}

TEST(Import, EverySharedFileHasThePublishedImbalance) {
  MOE_NEEDS_SHARED_DATA();
  const std::string data = testing::shared_dir() + "/data/";
  const Summary summary = read_summary(data + "routing/imbalance_summary.csv");
  EXPECT_EQ(summary.size(), 25U);
  int compared = 0;
  for (const auto& [name, expected] : summary) {
    const TempFile out("out.moetrace");
    ImportOptions options;
    if (name.find("mixtral") != std::string::npos) options.model = "mixtral-8x7b";
    const ImportReport report = import_trace(data + name, out.path(), options);
    EXPECT_GT(report.rows, 0) << name;
    const bool tagged = !expected.begin()->first.first.empty();
    const auto got =
        layer_statistics(out.path(), tagged ? StatisticsBy::kTag : StatisticsBy::kWhole);
    EXPECT_EQ(got.size(), expected.size()) << name;
    const bool fractions = read_info(out.path()).header.counts_are_fractions;
    for (const LayerStatistics& row : got) {
      const auto found = expected.find({row.tag, row.layer_number});
      ASSERT_NE(found, expected.end()) << name << " " << row.tag << " " << row.layer_number;
      // 4 digits are given: 0.5 of the last, and 1e-9 for how the decimal was rounded.
      EXPECT_NEAR(row.imbalance.max_over_mean, found->second.max_over_mean, 0.5e-4 + 1e-9)
          << name << " " << row.tag << " " << row.layer_number;
      EXPECT_NEAR(row.imbalance.cv, found->second.cv, 0.5e-4 + 1e-9)
          << name << " " << row.tag << " " << row.layer_number;
      EXPECT_EQ(row.imbalance.zero_experts, found->second.zero);
      // Fiddler's total_input_tokens is not the number of tokens that its counts cover.
      if (!fractions && report.format != "fiddler-popularity") {
        EXPECT_EQ(row.tokens, found->second.tokens) << name;
      }
      ++compared;
    }
    if (read_info(out.path()).header.kind == TraceKind::kTokens &&
        !read_info(out.path()).header.has_gate_weights) {
      EXPECT_LE(read_info(out.path()).bytes_per_choice, 1.2) << name;
    }
  }
  EXPECT_EQ(compared, 1983);
}

TEST(Import, FingerprintingKeepsRequestsPositionsAndTags) {
  MOE_NEEDS_SHARED_DATA();
  const TempFile out("out.moetrace");
  const ImportReport report = import_trace(
      testing::shared_dir() + "/data/routing/gpt-oss-20b-fingerprinting/decode_topk.csv.gz",
      out.path());
  EXPECT_EQ(report.format, "gpt-oss-fingerprinting");
  EXPECT_EQ(report.model, "gpt-oss-20b");
  TraceReader reader(out.path());
  EXPECT_EQ(reader.index().rows, 63047);
  EXPECT_EQ(reader.index().choices, 63047 * 24 * 4);
  const TokenChunk chunk = reader.read_chunk(0);
  EXPECT_EQ(chunk.request[0], 0);
  EXPECT_EQ(chunk.position[0], 101);
  EXPECT_EQ(reader.index().tags[0], "Polyglot-or-Not_Fact-Completion/fact_checking");
  EXPECT_EQ(chunk.column(1).at(0), 18);  // the file's first row: layer1 is "18 29 12 9"
  EXPECT_EQ(chunk.column(1).at(3), 9);
}

TEST(Import, PerQuestionFractions) {
  MOE_NEEDS_SHARED_DATA();
  const TempFile out("out.moetrace");
  ImportOptions options;
  options.model = "mixtral-8x7b";
  const ImportReport report = import_trace(
      testing::shared_dir() + "/data/routing/mixtral-vis-moe/mmlu_per_question_fraction.csv.gz",
      out.path(), options);
  EXPECT_EQ(report.rows, 47360);
  EXPECT_EQ(read_info(out.path()).tags.size(), 1480U);
}

}  // namespace
}  // namespace sim
