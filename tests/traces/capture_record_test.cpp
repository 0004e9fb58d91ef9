// The calls of the capture library: threads, and every message for a wrong argument.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "tests/traces/recording.h"
#include "traces/import/capture_frames.h"

namespace sim {
namespace {

using testing::Recording;

TEST(CaptureRecord, FourThreadsAndEverythingIsAccountedFor) {
  for (const std::uint64_t buffer : {std::uint64_t{65536}, std::uint64_t{64} << 20}) {
    Recording r(MOE_CAPTURE_TAGS, {64, 64}, 4, buffer);
    constexpr int kThreads = 4, kSteps = 400, kTokens = 96;
    std::array<std::array<std::uint64_t, 2>, kThreads> results{};
    std::vector<std::thread> threads;
    for (std::uint32_t rank = 0; rank < kThreads; ++rank) {
      threads.emplace_back([&, rank] {
        const auto tag = static_cast<std::uint32_t>(
            moe_capture_tag(r.capture, ("rank" + std::to_string(rank)).c_str()));
        const std::vector<std::uint32_t> tags(kTokens, tag);
        std::vector<std::int64_t> ids(std::size_t{kTokens} * 4);
        for (int step = 0; step < kSteps; ++step) {
          for (std::uint32_t layer = 0; layer < 2; ++layer) {
            for (std::size_t i = 0; i < ids.size(); ++i) {
              ids[i] = static_cast<std::int64_t>((rank * 16 + layer + i) % 64);
            }
            moe_capture_batch b = r.batch(step, layer, ids, 4);
            b.source_rank = rank;
            b.tags = tags.data();
            results[rank].at(static_cast<std::size_t>(moe_capture_record(r.capture, &b))) += 1;
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    std::uint64_t stored = 0, dropped = 0;
    for (const auto& result : results) {
      stored += result[0];
      dropped += result[1];
    }
    EXPECT_EQ(stored + dropped, kThreads * kSteps * 2U);
    moe_capture_counters counters = MOE_CAPTURE_COUNTERS;
    moe_capture_get_counters(r.capture, &counters);
    EXPECT_EQ(counters.stored_batches, stored);
    EXPECT_EQ(counters.dropped_batches, dropped);
    EXPECT_EQ(counters.dropped_tokens, dropped * kTokens);
    EXPECT_EQ(r.close(), 0);

    // The log holds each stored batch as it was given, and says all that was dropped.
    CaptureLog log(r.log.path(), CaptureLog::OnDamage::kThrow);
    std::uint64_t found = 0, said = 0;
    std::array<std::int64_t, kThreads> last{};
    for (CaptureItem item = log.next(); item != CaptureItem::kEnd; item = log.next()) {
      if (item == CaptureItem::kDrops) {
        said += log.drops().batches;
        EXPECT_LE(log.drops().last_step, kSteps);
        EXPECT_LE(log.drops().first_rank, log.drops().last_rank);
        continue;
      }
      ++found;
      const CaptureBatch& b = log.batch();
      ASSERT_EQ(b.tokens, static_cast<std::uint32_t>(kTokens));
      const auto rank = static_cast<std::size_t>(b.source_rank);
      EXPECT_GE(b.step, last[rank]) << "a thread's batches keep their order";
      last[rank] = b.step;
      EXPECT_EQ(log.tags()[b.tags[5]], "rank" + std::to_string(rank));
      for (std::size_t i = 0; i < b.choices.size(); ++i) {
        ASSERT_EQ(b.choices[i], (rank * 16 + static_cast<std::size_t>(b.layer) + i) % 64);
      }
    }
    EXPECT_EQ(found, stored);
    EXPECT_EQ(said, dropped);
    EXPECT_TRUE(log.closed());
  }
}

TEST(CaptureRecord, ABatchLargerThanAFrameIsStoredInParts) {
  Recording r(MOE_CAPTURE_WEIGHTS, {256}, 8);
  constexpr std::size_t kTokens = 60000;
  std::vector<std::int64_t> ids(kTokens * 8);
  std::vector<float> weights(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<std::int64_t>(i * 7 % 256);
    weights[i] = static_cast<float>(i);
  }
  moe_capture_batch b = r.batch(0, 0, ids, 8);
  b.weights = weights.data();
  EXPECT_EQ(moe_capture_record(r.capture, &b), 0);
  EXPECT_EQ(r.import().rows, static_cast<std::int64_t>(kTokens));
  TraceReader reader(r.out());
  TokenChunk chunk;
  while (reader.next(chunk)) {
    for (std::size_t i = 0; i < chunk.choices.size(); ++i) {
      const std::size_t at = static_cast<std::size_t>(chunk.first_row) * 8 + i;
      ASSERT_EQ(chunk.column(0).at(i), at * 7 % 256);
      ASSERT_EQ(chunk.gate_weights[i], static_cast<float>(at));
    }
  }
}

TEST(CaptureRecord, EveryWrongBatchHasItsMessage) {
  Recording r(0, {16, 300});
  Recording all(MOE_CAPTURE_WEIGHTS | MOE_CAPTURE_TAGS | MOE_CAPTURE_REQUESTS);
  const std::vector<std::int64_t> ids = {1, 2, 3, 4}, sixteen = {1, 2, 3, 16},
                                  below = {1, 2, -1, 3};
  const std::vector<float> weights(4, 0.5F);
  const std::vector<std::uint8_t> three = {2, 3};
  const std::vector<std::uint32_t> tags = {0, 0};
  const std::vector<std::int64_t> negative = {0, -1};
  std::uint64_t refused = 0;
  const auto message = [&](auto change) {
    moe_capture_batch b = r.batch(0, 0, ids);
    change(b);
    const int result = moe_capture_record(r.capture, &b);
    EXPECT_LT(result, 0);
    ++refused;
    return std::string(moe_capture_message(result));
  };
  using B = moe_capture_batch;
  EXPECT_EQ(message([](B& b) { b.size = 8; }),
            "the struct's size is not its sizeof, or the header is newer");
  EXPECT_EQ(message([](B& b) { b.step = -1; }), "step is below 0 or above 2^53");
  EXPECT_EQ(message([](B& b) { b.layer = 2; }), "layer is not below options.layers");
  EXPECT_EQ(message([](B& b) { b.source_rank = 1U << 31; }), "source_rank is above 2^31 - 1");
  EXPECT_EQ(message([](B& b) { b.top_k = 3; }), "top_k is not 1 to options.top_k");
  EXPECT_EQ(message([](B& b) { b.top_k = 0; }), "top_k is not 1 to options.top_k");
  EXPECT_EQ(message([](B& b) { b.id_type = 4; }),
            "id_type is none of MOE_CAPTURE_I64, I32, U16, U8");
  const std::string bad_flags = "flags has an unknown bit, or NEGATIVE_IS_NONE with unsigned ids";
  EXPECT_EQ(message([](B& b) { b.flags = 2; }), bad_flags);
  EXPECT_EQ(message([](B& b) {
              b.flags = MOE_CAPTURE_NEGATIVE_IS_NONE;
              b.id_type = MOE_CAPTURE_U8;
            }),
            bad_flags);
  EXPECT_EQ(message([](B& b) { b.ids = nullptr; }), "ids is NULL");
  const std::string stride =
      "row_bytes is below a row's length or no whole number of ids, or ids is misaligned";
  EXPECT_EQ(message([](B& b) { b.row_bytes = 8; }), stride);
  EXPECT_EQ(message([](B& b) { b.row_bytes = 17; }), stride);
  EXPECT_EQ(message([](B& b) { b.ids = static_cast<const char*>(b.ids) + 1; }), stride);
  const std::string expert = "an id is not an expert of this layer";
  EXPECT_EQ(message([&](B& b) { b.ids = sixteen.data(); }), expert);
  EXPECT_EQ(message([&](B& b) { b.ids = below.data(); }), expert);
  EXPECT_EQ(message([&](B& b) { b.choices = three.data(); }),
            "a token has more choices than top_k");
  const std::string announced = "a column is given that options.flags did not announce";
  EXPECT_EQ(message([&](B& b) { b.weights = weights.data(); }), announced);
  EXPECT_EQ(message([&](B& b) { b.token_ids = ids.data(); }), announced);
  EXPECT_EQ(message([&](B& b) { b.tags = tags.data(); }), announced);
  EXPECT_EQ(message([&](B& b) { b.requests = b.positions = ids.data(); }), announced);
  moe_capture_counters counters = MOE_CAPTURE_COUNTERS;
  moe_capture_get_counters(r.capture, &counters);
  EXPECT_EQ(counters.refused_batches, refused);
  EXPECT_EQ(counters.stored_batches, 0U);

  const auto message_of_all = [&](auto change) {
    moe_capture_batch b = all.batch(0, 0, ids);
    b.weights = weights.data();
    change(b);
    return std::string(moe_capture_message(moe_capture_record(all.capture, &b)));
  };
  EXPECT_EQ(message_of_all([](B& b) { b.weights = nullptr; }),
            "weights is NULL, but options.flags announced weights");
  EXPECT_EQ(message_of_all([&](B& b) { b.tags = tags.data(); }),
            "a tag is not a number that moe_capture_tag() gave");
  const std::string request = "a request or position is below 0, or one is given without the other";
  EXPECT_EQ(message_of_all([&](B& b) { b.requests = ids.data(); }), request);
  EXPECT_EQ(message_of_all([&](B& b) {
              b.requests = ids.data();
              b.positions = negative.data();
            }),
            request);
  const std::string misaligned = "token_ids, tags, requests or positions is misaligned";
  const auto askew = [](const auto*& column) {
    column = reinterpret_cast<std::remove_reference_t<decltype(column)>>(
        reinterpret_cast<std::uintptr_t>(column) + 1);
  };
  EXPECT_EQ(message_of_all([&](B& b) { askew(b.tags = tags.data()); }), misaligned);
  EXPECT_EQ(message_of_all([&](B& b) { askew(b.requests = b.positions = ids.data()); }),
            misaligned);
  EXPECT_EQ(message_of_all([&](B& b) { askew(b.positions = b.requests = ids.data()); }),
            misaligned);
  EXPECT_EQ(message_of_all([&](B& b) { askew(b.token_ids = ids.data()); }), misaligned);
  EXPECT_EQ(message_of_all([](B&) {}), "stored");
  EXPECT_EQ(moe_capture_record(nullptr, nullptr), MOE_CAPTURE_NO_HANDLE);
  EXPECT_EQ(moe_capture_tag(all.capture, nullptr), MOE_CAPTURE_BAD_TAG_NAME);
  EXPECT_STREQ(moe_capture_message(-999), "no code of this library");
}

TEST(CaptureRecord, OpenSaysWhatIsWrong) {
  const testing::TempFile log("host.log");
  const std::uint32_t experts[] = {16, 16}, none[] = {16, 0};
  const std::int32_t numbers[] = {1, -1};
  const auto error = [&](auto change) {
    moe_capture_options o = MOE_CAPTURE_OPTIONS;
    o.path = log.path().c_str();
    o.layers = 2;
    o.experts = experts;
    o.top_k = 2;
    change(o);
    char text[300] = "";
    moe_capture* capture = moe_capture_open(&o, text, sizeof text);
    moe_capture_close(&capture);
    return std::string(text);
  };
  using O = moe_capture_options;
  EXPECT_EQ(error([](O& o) { o.size = 3; }),
            "options.size is not sizeof(moe_capture_options), or the header is newer");
  EXPECT_EQ(error([](O& o) { o.path = nullptr; }), "options.path names no file");
  EXPECT_EQ(error([](O& o) { o.layers = 0; }), "options.layers is not 1 to 4096");
  EXPECT_EQ(error([](O& o) { o.experts = nullptr; }), "options.experts is NULL");
  EXPECT_EQ(error([&](O& o) { o.experts = none; }),
            "options.experts has a layer without 1 to 65536 experts");
  EXPECT_EQ(error([&](O& o) { o.layer_numbers = numbers; }),
            "options.layer_numbers has a number below 0");
  EXPECT_EQ(error([](O& o) { o.top_k = 256; }), "options.top_k is not 1 to 255");
  EXPECT_EQ(error([](O& o) { o.flags = 32; }),
            "options.flags has a bit that this library does not know");
  EXPECT_EQ(error([](O& o) { o.buffer_bytes = 100; }), "options.buffer_bytes is below 65536");
  const std::string absent = log.beside("absent/host.log");
  EXPECT_EQ(error([&](O& o) { o.path = absent.c_str(); }), absent + ": No such file or directory");
  EXPECT_EQ(error([](O&) {}), "");
  EXPECT_EQ(error([](O&) {}),
            log.path() + ": there is such a file; MOE_CAPTURE_OVERWRITE replaces it");
  EXPECT_EQ(error([](O& o) { o.flags = MOE_CAPTURE_OVERWRITE; }), "");
}

// A host built with a newer header hands over longer structs: what this library does not know has
// to be 0.
TEST(CaptureRecord, NewerHeadersAreServedWhileTheyAskNothingNew) {
  Recording r;
  struct Newer {
    moe_capture_batch batch = MOE_CAPTURE_BATCH;
    std::uint64_t unknown = 0;
  } newer;
  const std::vector<std::int64_t> ids = {1, 2};
  newer.batch = r.batch(0, 0, ids);
  newer.batch.size = sizeof newer;
  EXPECT_EQ(moe_capture_record(r.capture, &newer.batch), MOE_CAPTURE_STORED);
  newer.unknown = 1;
  EXPECT_EQ(moe_capture_record(r.capture, &newer.batch), MOE_CAPTURE_BAD_SIZE);
}

// A host built with an older header: what its structs lack is 0, and no byte beyond them is read or
// written.
TEST(CaptureRecord, OlderHeadersAreServed) {
  Recording r;
  const std::vector<std::int64_t> ids = {1, 2};
  moe_capture_batch batch = r.batch(0, 0, ids);
  std::memset(reinterpret_cast<char*>(&batch) + offsetof(moe_capture_batch, row_bytes), 0x55,
              sizeof batch - offsetof(moe_capture_batch, row_bytes));
  EXPECT_EQ(moe_capture_record(r.capture, &batch), MOE_CAPTURE_MISALIGNED);
  batch.size = offsetof(moe_capture_batch, row_bytes);
  EXPECT_EQ(moe_capture_record(r.capture, &batch), MOE_CAPTURE_STORED);
  batch.size -= 1;
  EXPECT_EQ(moe_capture_record(r.capture, &batch), MOE_CAPTURE_BAD_SIZE);

  moe_capture_counters counters;
  std::memset(&counters, 0x55, sizeof counters);
  counters.size = offsetof(moe_capture_counters, lost_batches);
  EXPECT_EQ(moe_capture_get_counters(r.capture, &counters), 0);
  EXPECT_EQ(counters.size, offsetof(moe_capture_counters, lost_batches));
  EXPECT_EQ(counters.stored_batches, 1U);
  EXPECT_EQ(counters.dropped_choices, 0U);
  EXPECT_EQ(counters.lost_batches, 0x5555555555555555U);
  counters.size -= 8;
  EXPECT_EQ(moe_capture_get_counters(r.capture, &counters), MOE_CAPTURE_BAD_SIZE);
  struct {
    moe_capture_counters known = MOE_CAPTURE_COUNTERS;
    std::uint64_t unknown = 7;
  } newer;
  newer.known.size = sizeof newer;
  EXPECT_EQ(moe_capture_get_counters(r.capture, &newer.known), 0);
  EXPECT_EQ(newer.known.refused_batches, 2U);
  EXPECT_EQ(newer.unknown, 0U);

  const testing::TempFile log("older.log");
  const std::uint32_t experts[] = {16};
  moe_capture_options options = MOE_CAPTURE_OPTIONS;
  options.path = log.path().c_str();
  options.layers = 1;
  options.top_k = 2;
  options.experts = experts;
  options.buffer_bytes = 1;  // beyond what the older struct has
  options.size = offsetof(moe_capture_options, buffer_bytes);
  moe_capture* older = moe_capture_open(&options, nullptr, 0);
  EXPECT_NE(older, nullptr);
  moe_capture_close(&older);
}

// The host drops a batch itself, before record(): two layers drop the same micro-batch, so that
// equal numbers of tokens would hide it.
TEST(CaptureRecord, AHostsOwnDropLeavesItsStepOut) {
  Recording r;
  for (std::int64_t step = 0; step < 3; ++step) {
    for (std::uint32_t layer = 0; layer < 2; ++layer) {
      if (step == 1) {
        EXPECT_EQ(moe_capture_drop(r.capture, step, layer, 0, 5, 10), MOE_CAPTURE_DROPPED);
      }
      EXPECT_EQ(r.record(step, layer, {1, 2, 3, 4}), MOE_CAPTURE_STORED);
    }
  }
  EXPECT_EQ(moe_capture_drop(r.capture, -1, 0, 0, 1, 1), MOE_CAPTURE_BAD_STEP);
  EXPECT_EQ(moe_capture_drop(r.capture, 0, 2, 0, 1, 1), MOE_CAPTURE_BAD_LAYER);
  EXPECT_EQ(moe_capture_drop(r.capture, 0, 0, 1U << 31, 1, 1), MOE_CAPTURE_BAD_RANK);
  EXPECT_EQ(moe_capture_drop(nullptr, 0, 0, 0, 1, 1), MOE_CAPTURE_NO_HANDLE);
  moe_capture_counters counters = MOE_CAPTURE_COUNTERS;
  moe_capture_get_counters(r.capture, &counters);
  EXPECT_EQ(counters.dropped_batches, 2U);
  EXPECT_EQ(counters.dropped_tokens, 10U);
  EXPECT_EQ(counters.dropped_choices, 20U);
  EXPECT_EQ(counters.refused_batches, 3U);
  const ImportReport report = r.import();
  EXPECT_EQ(report.rows, 4);
  const std::vector<std::string> notes = {
      r.log.path() +
          ": the recorder had no room for 2 batches (10 tokens, 20 choices) within "
          "step 1, layers 0 to 1, rank 0",
      "2 tokens left out: batches of their step and rank were dropped"};
  EXPECT_EQ(report.notes, notes);
}

// A host that breaks the rule and changes its ids meanwhile: the log stays readable, and each batch
// is in it whole or said to be dropped.
TEST(CaptureRecord, IdsThatChangeMeanwhileDoNotHarm) {
  Recording r(0, {16, 16}, 8, 65536);
  constexpr std::size_t kTokens = 256;
  std::vector<std::int64_t> ids(kTokens * 8, 3);
  std::jthread flicker([&](const std::stop_token& over) {
    while (!over.stop_requested()) {
      for (std::int64_t& id : ids) {
        std::atomic_ref<std::int64_t>(id).store(id < 0 ? 3 : -1, std::memory_order_relaxed);
      }
    }
  });
  std::array<std::uint64_t, 3> results{};
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (std::int64_t step = 0; results[2] < 20 && std::chrono::steady_clock::now() < end; ++step) {
    moe_capture_batch b = r.batch(step, 0, ids, 8);
    b.flags = MOE_CAPTURE_NEGATIVE_IS_NONE;
    const int result = moe_capture_record(r.capture, &b);
    ASSERT_TRUE(result == MOE_CAPTURE_STORED || result == MOE_CAPTURE_DROPPED ||
                result == MOE_CAPTURE_CHANGED)
        << moe_capture_message(result);
    results.at(result == MOE_CAPTURE_CHANGED ? 2 : static_cast<std::size_t>(result)) += 1;
  }
  flicker.request_stop();
  flicker.join();
  EXPECT_GT(results[2], 0U) << "the thread met no batch on its way";
  moe_capture_counters counters = MOE_CAPTURE_COUNTERS;
  moe_capture_get_counters(r.capture, &counters);
  EXPECT_EQ(counters.stored_batches, results[0]);
  EXPECT_EQ(counters.dropped_batches, results[1] + results[2]);
  EXPECT_EQ(counters.refused_batches, 0U);
  r.close();
  CaptureLog log(r.log.path(), CaptureLog::OnDamage::kThrow);
  std::uint64_t found = 0, said = 0;
  for (CaptureItem item = log.next(); item != CaptureItem::kEnd; item = log.next()) {
    if (item == CaptureItem::kBatch) ++found;
    if (item == CaptureItem::kDrops) said += log.drops().batches;
  }
  EXPECT_EQ(found, results[0]);
  EXPECT_EQ(said, results[1] + results[2]);
}

TEST(CaptureRecord, ClosingTwiceIsHarmless) {
  Recording r;
  EXPECT_EQ(r.close(), 0);
  EXPECT_EQ(r.capture, nullptr);
  EXPECT_EQ(r.close(), 0);
  EXPECT_EQ(moe_capture_close(nullptr), 0);
}

TEST(CaptureRecord, AnEmptyBatchIsNothing) {
  Recording r;
  EXPECT_EQ(r.record(0, 0, {}), 0);
  EXPECT_EQ(r.import_error(), r.log.path() + ": this log has no tokens");
}

}  // namespace
}  // namespace sim
