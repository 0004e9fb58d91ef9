#include "traces/trace_file.h"

#include <gtest/gtest.h>

#include <random>

#include "sim/core/error.h"
#include "tests/traces/temp_file.h"
#include "traces/trace_frame.h"

namespace sim {
namespace {

using testing::error_text;
using testing::TempFile;

TraceHeader small_header() {
  TraceHeader header;
  header.model = "toy";
  header.provenance = "made by hand";
  header.experts = {4, 8};
  header.layer_numbers = {1, 3};
  header.top_k = 2;
  return header;
}

// Three tokens of two requests; two layers of top-2.
void write_small(const std::string& path) {
  TraceWriter writer(path, small_header());
  const std::vector<std::vector<std::uint16_t>> choices = {
      {0, 1, 7, 2}, {2, 3, 0, 1}, {3, 0, 5, 6}};
  for (std::size_t i = 0; i < choices.size(); ++i) {
    TokenRow row;
    row.request = static_cast<std::int64_t>(i / 2);
    row.position = static_cast<std::int64_t>(i % 2) + 10;
    row.choices = choices[i];
    writer.append(row);
  }
  writer.finish();
}

std::vector<int> layer_choices(const TokenChunk& chunk, int layer) {
  const ChoiceColumn column = chunk.column(layer);
  std::vector<int> result;
  for (std::size_t i = 0; i < chunk.choices_of(layer); ++i) result.push_back(column.at(i));
  return result;
}

TEST(TraceFile, GivesBackWhatWasWritten) {
  const TempFile file("a.moetrace");
  write_small(file.path());
  TraceReader reader(file.path());
  EXPECT_EQ(reader.header(), small_header());
  EXPECT_EQ(reader.index().rows, 3);
  EXPECT_EQ(reader.index().choices, 12);
  TokenChunk chunk;
  ASSERT_TRUE(reader.next(chunk));
  EXPECT_EQ(chunk.request, (std::vector<std::int64_t>{0, 0, 1}));
  EXPECT_EQ(chunk.position, (std::vector<std::int64_t>{10, 11, 10}));
  EXPECT_TRUE(chunk.choice_begin.empty());  // all top-2: no count column
  EXPECT_EQ(layer_choices(chunk, 0), (std::vector<int>{0, 1, 2, 3, 3, 0}));
  EXPECT_EQ(layer_choices(chunk, 1), (std::vector<int>{7, 2, 0, 1, 5, 6}));
  EXPECT_FALSE(reader.next(chunk));
}

TEST(TraceFile, KeepsVaryingCountsAndEveryOptionalColumn) {
  const TempFile file("a.moetrace");
  TraceHeader header = small_header();
  header.experts = {300, 4};  // two bytes per choice
  header.has_steps = true;
  header.has_gate_weights = header.has_token_ids = header.has_tags = header.has_rounds = true;
  {
    TraceWriter writer(file.path(), header);
    TokenRow row;
    row.step = 5;
    row.source_rank = 2;
    row.token_id = -7;
    row.tag = writer.tag("code");
    row.round = 9;
    const std::vector<std::uint16_t> a = {299, 0, 3};
    const std::vector<std::uint8_t> a_counts = {2, 1};
    const std::vector<float> a_weights = {0.5F, 0.25F, 1.0F};
    row.choices = a;
    row.choice_counts = a_counts;
    row.gate_weights = a_weights;
    writer.append(row);
    const std::vector<std::uint16_t> b = {1, 2};
    const std::vector<std::uint8_t> b_counts = {0, 2};
    const std::vector<float> b_weights = {0.125F, 2.0F};
    row.step = 4;
    row.tag = writer.tag("chat");
    row.choices = b;
    row.choice_counts = b_counts;
    row.gate_weights = b_weights;
    writer.append(row);
    writer.finish();
  }
  TraceReader reader(file.path());
  EXPECT_EQ(reader.index().tags, (std::vector<std::string>{"code", "chat"}));
  EXPECT_EQ(reader.index().chunks[0].first_step, 4);
  EXPECT_EQ(reader.index().chunks[0].last_step, 5);
  const TokenChunk chunk = reader.read_chunk(0);
  EXPECT_EQ(chunk.step, (std::vector<std::int64_t>{5, 4}));
  EXPECT_EQ(chunk.source_rank, (std::vector<std::int32_t>{2, 2}));
  EXPECT_EQ(chunk.token_id, (std::vector<std::int64_t>{-7, -7}));
  EXPECT_EQ(chunk.tag, (std::vector<std::uint32_t>{0, 1}));
  EXPECT_EQ(chunk.round, (std::vector<std::uint32_t>{9, 9}));
  EXPECT_EQ(layer_choices(chunk, 0), (std::vector<int>{299, 0}));
  EXPECT_EQ(layer_choices(chunk, 1), (std::vector<int>{3, 1, 2}));
  EXPECT_EQ(chunk.column(0).count(0), 2);
  EXPECT_EQ(chunk.column(0).count(1), 0);
  EXPECT_EQ(chunk.column(1).begin(1), 1U);
  EXPECT_EQ(chunk.gate_weights, (std::vector<float>{0.5F, 0.25F, 1.0F, 0.125F, 2.0F}));
}

TEST(TraceFile, KeepsHistograms) {
  const TempFile file("a.moetrace");
  TraceHeader header = small_header();
  header.kind = TraceKind::kCounts;
  const CountRow row{3, 0, 1, 50, {1, 2, 3, 4, 5, 6, 7, 72}};
  TraceWriter writer(file.path(), header);
  writer.append(row);
  writer.finish();
  TraceReader reader(file.path());
  EXPECT_EQ(reader.read_histograms(0), std::vector<CountRow>{row});
  EXPECT_EQ(reader.index().choices, 100);
}

TEST(TraceFile, StreamsChunksAndSeeks) {
  const TempFile file("a.moetrace");
  TraceHeader header = small_header();
  {
    TraceWriter writer(file.path(), header);
    for (int i = 0; i < 40000; ++i) {
      const std::vector<std::uint16_t> choices = {static_cast<std::uint16_t>(i % 4),
                                                  static_cast<std::uint16_t>((i + 1) % 4),
                                                  static_cast<std::uint16_t>(i % 8), 0};
      TokenRow row;
      row.request = i;
      row.choices = choices;
      writer.append(row);
    }
    writer.finish();
  }
  TraceReader reader(file.path());
  ASSERT_EQ(reader.index().chunks.size(), 3U);
  reader.seek(39999);
  TokenChunk chunk;
  ASSERT_TRUE(reader.next(chunk));
  EXPECT_EQ(chunk.first_row, 32768);
  EXPECT_EQ(chunk.request.back(), 39999);
  EXPECT_EQ(layer_choices(chunk, 0).back(), 0);
  reader.seek(16384);
  ASSERT_TRUE(reader.next(chunk));
  EXPECT_EQ(chunk.request.front(), 16384);
  EXPECT_EQ(error_text([&] { reader.seek(40000); }),
            file.path() + ": there is no row 40000: the trace has 40000");
}

TEST(TraceFile, RefusesRowsThatDoNotFitTheHeader) {
  const TempFile file("a.moetrace");
  TraceWriter writer(file.path(), small_header());
  const auto append = [&](std::vector<std::uint16_t> choices, std::vector<std::uint8_t> counts) {
    return error_text([&] {
      TokenRow row;
      row.choices = choices;
      row.choice_counts = counts;
      writer.append(row);
    });
  };
  EXPECT_EQ(append({0, 4, 0, 1}, {}),
            file.path() + ": token 0: expert 4 in layer 0, which has 4 experts");
  EXPECT_EQ(append({0, 1, 0}, {}),
            file.path() + ": token 0: it has fewer choices than its counts say");
  EXPECT_EQ(append({0, 1, 2, 1}, {3, 1}),
            file.path() + ": token 0: it has 3 choices in layer 0, top-k is 2");
  EXPECT_EQ(append({0, 1, 2}, {1, 1}),
            file.path() + ": token 0: it has more choices than its counts say");
}

TEST(TraceFile, UnfinishedWriterLeavesTheOldFileAlone) {
  const TempFile file("a.moetrace");
  write_small(file.path());
  const std::string before = file.read();
  { TraceWriter writer(file.path(), small_header()); }
  EXPECT_EQ(file.read(), before);
  EXPECT_FALSE(std::filesystem::exists(file.path() + ".part"));
}

// Reads everything there is; the text of the error, "" when the file is sound.
std::string read_all(const std::string& path, std::vector<int>& choices) {
  return error_text([&] {
    TraceReader reader(path);
    TokenChunk chunk;
    choices.clear();
    while (reader.next(chunk)) {
      for (int layer = 0; layer < chunk.layers; ++layer) {
        const std::vector<int> more = layer_choices(chunk, layer);
        choices.insert(choices.end(), more.begin(), more.end());
      }
    }
  });
}

TEST(TraceFile, EveryTruncationIsAnError) {
  const TempFile file("a.moetrace");
  write_small(file.path());
  const std::string whole = file.read();
  const TempFile cut("cut.moetrace");
  std::vector<int> choices;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    cut.write(whole.substr(0, size));
    EXPECT_NE(read_all(cut.path(), choices), "") << size << " of " << whole.size() << " bytes";
  }
  cut.write(whole.substr(0, whole.size() - 1));
  EXPECT_EQ(read_all(cut.path(), choices),
            cut.path() + ": at byte " + std::to_string(whole.size() - 1) +
                ": no index at the end; its writer did not finish, or the file is cut short: write "
                "it again");
}

TEST(TraceFile, EveryFlippedBitIsAnErrorOrHarmless) {
  const TempFile file("a.moetrace");
  write_small(file.path());
  const std::string whole = file.read();
  std::vector<int> sound;
  ASSERT_EQ(read_all(file.path(), sound), "");
  const TempFile bad("bad.moetrace");
  int errors = 0;
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    bad.write(bytes);
    std::vector<int> choices;
    const std::string error = read_all(bad.path(), choices);
    if (error.empty()) {
      EXPECT_EQ(choices, sound) << "bit " << bit;
    } else {
      ++errors;
    }
  }
  EXPECT_EQ(errors, static_cast<int>(8 * whole.size()));  // every bit is compared or checksummed
}

// A frame with a right checksum around a wrong message: what a hostile writer could make.
TEST(TraceFile, RandomMessagesWithRightChecksumsNeverCrash) {
  const TempFile file("a.moetrace");
  write_small(file.path());
  const std::string whole = file.read();
  const FrameHead header = parse_frame_head(whole.data() + kPreambleBytes);
  const std::size_t chunk_at = kPreambleBytes + kFrameHeadBytes + header.stored;
  const FrameHead chunk = parse_frame_head(whole.data() + chunk_at);
  std::string message;
  ASSERT_TRUE(decompress_frame(
      chunk, std::string_view(whole).substr(chunk_at + kFrameHeadBytes, chunk.stored), message));
  const std::size_t footer_at = chunk_at + kFrameHeadBytes + chunk.stored;
  const FrameHead footer = parse_frame_head(whole.data() + footer_at);
  const std::string footer_frame = whole.substr(footer_at, kFrameHeadBytes + footer.stored);
  std::mt19937 random(1);
  const TempFile bad("bad.moetrace");
  int errors = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    std::string changed = message;
    for (unsigned change = 0; change <= random() % 3; ++change) {
      changed[random() % changed.size()] = static_cast<char>(random());
    }
    if (random() % 4 == 0) changed.resize(random() % changed.size());
    std::string bytes = whole.substr(0, chunk_at) + make_frame(kChunkFrame, changed, 1);
    const std::uint64_t at = bytes.size();
    bytes += footer_frame;
    put_u64(bytes, at);
    bytes += kTrailerMagic;
    bad.write(bytes);
    std::vector<int> choices;
    if (!read_all(bad.path(), choices).empty()) ++errors;
    for (const int e : choices) EXPECT_LT(e, 8);
  }
  EXPECT_GT(errors, 1000);
}

TEST(TraceFile, SaysWhatIsWrongAndWhere) {
  const TempFile file("a.moetrace");
  const auto reading = [&] { return error_text([&] { TraceReader reader(file.path()); }); };
  EXPECT_EQ(reading(), file.path() + ": there is no such file; a trace is a .moetrace file");
  file.write("layer,expert,count\n");
  EXPECT_EQ(reading(), file.path() +
                           ": at byte 0: not a .moetrace file; `simulate trace import` "
                           "reads other formats");
  write_small(file.path());
  std::string bytes = file.read();
  bytes[8] = 2;
  file.write(bytes);
  EXPECT_EQ(reading(), file.path() +
                           ": at byte 8: version 2 of the format, this program reads "
                           "version 1; a newer program wrote it");
  bytes[8] = 1;
  bytes[20] = static_cast<char>(bytes[20] ^ 4);
  file.write(bytes);
  EXPECT_EQ(reading(), file.path() +
                           ": at byte 12: the checksum of the header is wrong; the file "
                           "is damaged");
}

}  // namespace
}  // namespace sim
