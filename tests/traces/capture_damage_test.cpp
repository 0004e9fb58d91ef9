// What a log looks like when its host, its disk or its bytes did not behave.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "tests/traces/recording.h"
#include "traces/import/capture_frames.h"

namespace sim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Recording;

std::string small_log(Recording& r) {
  moe_capture_tag(r.capture, "tag");
  for (int step = 0; step < 3; ++step) {
    r.record(step, 0, {1, 2, 3, 4});
    moe_capture_batch b = r.batch(step, 1, {});
    const std::vector<std::int64_t> ids = {5, 6, 7, 8};
    b.ids = ids.data();
    b.tokens = 2;
    moe_capture_record(r.capture, &b);
  }
  r.close();
  return r.log.read();
}

TEST(CaptureDamage, ACutLogIsReadToItsLastWholeFrame) {
  Recording r;
  const std::string log = small_log(r);
  std::int64_t most = 0;
  for (std::size_t size = 0; size < log.size(); ++size) {
    r.log.write(log.substr(0, size));
    const std::string error = r.import_error();
    if (!error.empty()) {
      EXPECT_THAT(error, ::testing::AnyOf(HasSubstr("no trace format that we know"),
                                          HasSubstr("no log of traces/capture"),
                                          HasSubstr("cut before its header ends"),
                                          HasSubstr("this log has no tokens"),
                                          HasSubstr("no token of this log is whole")))
          << size;
      EXPECT_EQ(most, 0) << "more bytes hold more tokens";
      continue;
    }
    const ImportReport report = r.import();
    EXPECT_GE(report.rows, most);
    EXPECT_FALSE(report.notes.empty()) << "a cut log says so";
    most = report.rows;
  }
  EXPECT_EQ(most, 6);
}

TEST(CaptureDamage, AWrongByteIsAnErrorOrSalvaged) {
  Recording r;
  const std::string log = small_log(r);
  ImportOptions salvage;
  salvage.salvage = true;
  for (std::size_t at = 0; at < log.size(); ++at) {
    std::string wrong = log;
    wrong[at] = static_cast<char>(wrong[at] ^ 0x10);
    r.log.write(wrong);
    // A larger size looks like a cut; all else is refused.
    if (r.import_error().empty()) {
      EXPECT_THAT(r.import().notes, ::testing::Contains(HasSubstr("the last frame is cut"))) << at;
    }
    r.import_error(salvage);
  }
  // The second batch of step 1: 4 bytes into a frame's payload.
  const std::size_t second = log.find("MCRF", log.size() * 2 / 3);
  std::string wrong = log;
  wrong[second + 20] = 9;
  r.log.write(wrong);
  EXPECT_EQ(
      r.import_error(),
      r.log.path() + ": byte " + std::to_string(second) +
          ": the checksum of this frame is wrong; the log is damaged there; --salvage imports "
          "what stands before");
  EXPECT_THAT(
      r.import(salvage).notes,
      ElementsAre(HasSubstr("the checksum of this frame is wrong; only what stands before is "
                            "imported"),
                  HasSubstr("tokens left out")));
}

// Every payload byte changed and the checksum made right again: what a foreign program could write.
TEST(CaptureDamage, AForgedFrameIsReadOrRefused) {
  Recording r;
  const std::string log = small_log(r);
  const auto u32 = [](const std::string& bytes, std::size_t at) {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes.data() + at, 4);
    return value;
  };
  int refused = 0;
  for (std::size_t frame = 12; frame < log.size(); frame += 16 + u32(log, frame + 8)) {
    for (std::size_t at = frame + 16; at < frame + 16 + u32(log, frame + 8); ++at) {
      for (const int flip : {0x01, 0xff}) {
        std::string forged = log;
        forged[at] = static_cast<char>(forged[at] ^ flip);
        const std::string sealed =
            forged.substr(frame + 4, 8) + forged.substr(frame + 16, u32(log, frame + 8));
        const auto crc = static_cast<std::uint32_t>(crc32(
            0, reinterpret_cast<const Bytef*>(sealed.data()), static_cast<uInt>(sealed.size())));
        std::memcpy(forged.data() + frame + 12, &crc, 4);
        r.log.write(forged);
        refused += !r.import_error().empty();
      }
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(CaptureDamage, AKilledHostLeavesALogThatImports) {
  for (int round = 0; round < 8; ++round) {
    const testing::TempFile log("host.log");
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const std::uint32_t experts[] = {64, 64, 64};
      moe_capture_options options = MOE_CAPTURE_OPTIONS;
      options.path = log.path().c_str();
      options.layers = 3;
      options.experts = experts;
      options.top_k = 4;
      moe_capture* capture = moe_capture_open(&options, nullptr, 0);
      if (capture == nullptr) _exit(1);
      std::vector<std::int64_t> ids(std::size_t{4} * 128);
      for (std::int64_t step = 0;; ++step) {
        for (std::uint32_t layer = 0; layer < 3; ++layer) {
          for (std::size_t i = 0; i < ids.size(); ++i) {
            ids[i] = static_cast<std::int64_t>(step + layer + i) % 64;
          }
          moe_capture_batch b = MOE_CAPTURE_BATCH;
          b.step = step;
          b.layer = layer;
          b.tokens = 128;
          b.top_k = 4;
          b.ids = ids.data();
          moe_capture_record(capture, &b);
        }
      }
    }
    // Until it has recorded something, then some odd time more.
    for (int wait = 0; wait < 20000; ++wait) {
      std::error_code none;
      if (std::filesystem::file_size(log.path(), none) > 20000 && !none) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(1237 * round));
    kill(child, SIGKILL);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    ImportOptions options;
    options.steps = parse_step_range(":50");
    options.model = "killed";
    const ImportReport report = import_trace(log.path(), log.beside("out.moetrace"), options);
    EXPECT_GT(report.rows, 0);
    EXPECT_THAT(report.notes, ::testing::Contains(::testing::AnyOf(
                                  HasSubstr("did not close this log"), HasSubstr("is cut"))));
    TraceReader reader(log.beside("out.moetrace"));
    TokenChunk chunk;
    while (reader.next(chunk)) {
      for (int row = 0; row < chunk.rows; ++row) {  // rows come in order: token row % 128
        const auto step = static_cast<std::size_t>(chunk.step[static_cast<std::size_t>(row)]);
        const auto token = static_cast<std::size_t>(chunk.first_row + row) % 128;
        EXPECT_EQ(chunk.column(1).at(static_cast<std::size_t>(row) * 4),
                  (step + 1 + token * 4) % 64);
      }
    }
  }
}

TEST(CaptureDamage, AForkedChildDoesNotRecord) {
  Recording r;
  r.record(0, 0, {1, 2});
  r.record(0, 1, {1, 2});
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool good = r.record(1, 0, {1, 2}) == MOE_CAPTURE_FORKED &&
                      moe_capture_flush(r.capture) == MOE_CAPTURE_FORKED &&
                      moe_capture_tag(r.capture, "x") == MOE_CAPTURE_FORKED && r.close() == 0;
    _exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  r.record(1, 0, {1, 2});
  r.record(1, 1, {1, 2});
  EXPECT_EQ(r.import().rows, 2);
}

// A log that could not be begun is not there, so that the host can try again; a file that was there
// before stays.
TEST(CaptureDamage, AFailedOpenLeavesNoFileOfItsOwn) {
  const testing::TempFile log("host.log");
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    rlimit limit = {};
    getrlimit(RLIMIT_FSIZE, &limit);
    const rlim_t usual = limit.rlim_cur;
    const std::uint32_t experts[] = {64};
    moe_capture_options options = MOE_CAPTURE_OPTIONS;
    options.path = log.path().c_str();
    options.layers = 1;
    options.experts = experts;
    options.top_k = 4;
    const auto opens = [&](std::uint32_t flags, rlim_t most_bytes) {
      limit.rlim_cur = most_bytes;
      setrlimit(RLIMIT_FSIZE, &limit);
      options.flags = flags;
      moe_capture* capture = moe_capture_open(&options, nullptr, 0);
      const bool opened = capture != nullptr;
      moe_capture_close(&capture);
      return opened;
    };
    const auto there = [&] { return access(log.path().c_str(), F_OK) == 0; };
    for (const std::uint32_t flags : {0, +MOE_CAPTURE_OVERWRITE}) {
      if (opens(flags, 10) || there()) _exit(1);
    }
    if (!opens(0, usual) || !there()) _exit(2);
    if (opens(0, 10) || opens(MOE_CAPTURE_OVERWRITE, 10) || !there()) _exit(3);
    _exit(opens(MOE_CAPTURE_OVERWRITE, usual) ? 0 : 4);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// A limit on the size of files stands for a full disk: writes fail in the middle of the run.
TEST(CaptureDamage, AFullDiskIsCountedAndTheHostGoesOn) {
  const testing::TempFile log("host.log");
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const rlimit limit = {100000, 100000};
    setrlimit(RLIMIT_FSIZE, &limit);
    const std::uint32_t experts[] = {64};
    moe_capture_options options = MOE_CAPTURE_OPTIONS;
    options.path = log.path().c_str();
    options.layers = 1;
    options.experts = experts;
    options.top_k = 4;
    moe_capture* capture = moe_capture_open(&options, nullptr, 0);
    if (capture == nullptr) _exit(1);
    const std::vector<std::int64_t> ids(std::size_t{4} * 1024, 7);
    for (std::int64_t step = 0; step < 60; ++step) {
      moe_capture_batch b = MOE_CAPTURE_BATCH;
      b.step = step;
      b.tokens = 1024;
      b.top_k = 4;
      b.ids = ids.data();
      if (moe_capture_record(capture, &b) != MOE_CAPTURE_STORED) _exit(2);
      if (step % 5 == 0) moe_capture_flush(capture);
    }
    moe_capture_counters counters = MOE_CAPTURE_COUNTERS;
    if (moe_capture_flush(capture) != MOE_CAPTURE_WRITE_FAILED) _exit(3);
    moe_capture_get_counters(capture, &counters);
    if (counters.stored_batches != 60 || counters.write_errors == 0) _exit(4);
    if (counters.lost_batches < 30 || counters.lost_tokens != 1024 * counters.lost_batches)
      _exit(5);
    if (moe_capture_close(&capture) != MOE_CAPTURE_WRITE_FAILED) _exit(6);
    _exit(static_cast<int>(counters.lost_batches));
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  const int lost = WEXITSTATUS(status);
  ASSERT_GE(lost, 30);
  // What is on the disk is whole, and what failed is said where there was room to say it.
  const ImportReport report = import_trace(log.path(), log.beside("out.moetrace"));
  EXPECT_EQ(report.rows % 1024, 0);
  EXPECT_LE(report.rows, (60 - lost) * 1024);
  EXPECT_GT(report.rows, 0);
  EXPECT_THAT(report.notes, ::testing::Contains(HasSubstr("could not write")));
}

TEST(CaptureDamage, OpenSaysThatTheDiskIsFull) {
  const std::uint32_t experts[] = {64};
  moe_capture_options options = MOE_CAPTURE_OPTIONS;
  options.path = "/dev/full";
  options.layers = 1;
  options.experts = experts;
  options.top_k = 4;
  options.flags = MOE_CAPTURE_OVERWRITE;
  char error[200] = "";
  EXPECT_EQ(moe_capture_open(&options, error, sizeof error), nullptr);
  EXPECT_STREQ(error, "/dev/full: No space left on device");
}

TEST(CaptureDamage, AFullBufferDropsCountsAndSaysSo) {
  Recording r(0, {64}, 8, 65536);
  const std::vector<std::int64_t> ids(std::size_t{8} * 1000, 3);
  std::uint64_t stored = 0, dropped = 0;
  // Faster than any writer: some find no room.
  for (std::int64_t step = 0; step < 20000 && (dropped < 10 || step < 50); ++step) {
    moe_capture_batch b = r.batch(step, 0, ids, 8);
    const int result = moe_capture_record(r.capture, &b);
    ASSERT_GE(result, 0);
    (result == MOE_CAPTURE_STORED ? stored : dropped) += 1;
  }
  ASSERT_GE(dropped, 10U);
  moe_capture_counters counters = MOE_CAPTURE_COUNTERS;
  EXPECT_EQ(moe_capture_get_counters(r.capture, &counters), 0);
  EXPECT_EQ(counters.stored_batches, stored);
  EXPECT_EQ(counters.dropped_batches, dropped);
  EXPECT_EQ(counters.stored_tokens + counters.dropped_tokens, 1000 * (stored + dropped));
  EXPECT_EQ(counters.stored_choices + counters.dropped_choices, 8000 * (stored + dropped));
  const ImportReport report = r.import();
  EXPECT_THAT(report.notes,
              ::testing::Contains(
                  HasSubstr("the recorder had no room for " + std::to_string(dropped) +
                            " batches (" + std::to_string(counters.dropped_tokens) + " tokens, ")));
  // A drop stands before what its thread recorded later: of every batch before this one the log has
  // shown the batch or said its drop.
  CaptureLog log(r.log.path(), CaptureLog::OnDamage::kThrow);
  std::int64_t accounted = 0;
  for (CaptureItem item = log.next(); item != CaptureItem::kEnd; item = log.next()) {
    if (item == CaptureItem::kDrops) accounted += static_cast<std::int64_t>(log.drops().batches);
    if (item == CaptureItem::kDrops || log.batch().tokens < 1000) continue;
    EXPECT_GE(accounted, log.batch().step);
    ++accounted;
  }
  // Not one step that lost tokens is among the rows.
  EXPECT_EQ(report.rows % 1000, 0);
  EXPECT_LE(report.rows, static_cast<std::int64_t>(1000 * stored));
  EXPECT_THAT(TraceReader(r.out()).header().provenance, HasSubstr("had no room for"));
}

}  // namespace
}  // namespace sim
