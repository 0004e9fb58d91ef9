#include "analysis/result_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <limits>
#include <thread>
#include <vector>

#include "analysis/query.h"
#include "sim/core/error.h"
#include "sim/core/random.h"
#include "tests/analysis/sample_results.h"

namespace sim {
namespace {

using ::testing::ElementsAre;
using testing::sample_result;
using testing::sample_run;
using testing::sample_step;
using testing::TemporaryFolder;
using testing::write_sample;

std::vector<std::string> first_row(const std::string& path, const std::string& sql) {
  std::vector<std::string> cells;
  const QueryResult result = run_query(path, sql).at(0);
  if (result.rows.empty()) return {"no row"};
  for (const Cell& cell : result.rows[0]) cells.push_back(to_text(cell));
  return cells;
}

std::int64_t number(const std::string& path, const std::string& sql) {
  return std::get<std::int64_t>(run_query(path, sql).at(0).rows.at(0).at(0));
}

std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

std::string open_message(const std::string& path) {
  return message_of([&] { ResultStore store(path); });
}

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(ResultStore, HasTheFixedTables) {
  const TemporaryFolder folder;
  const std::string path = folder.file("results.db");
  { ResultStore store(path); }
  std::vector<std::string> names;
  const auto tables =
      run_query(path, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1");
  for (const auto& row : tables.at(0).rows) {
    names.push_back(to_text(row[0]));
  }
  EXPECT_THAT(names,
              ElementsAre("causes", "costs", "devices", "experts", "layers", "links", "memory",
                          "metrics", "requests", "runs", "spans", "steps", "traffic", "waits"));
  EXPECT_EQ(number(path, "PRAGMA user_version"), kSchemaVersion);
}

// Every field has a value of its own, so a column in the wrong place is seen.
TEST(ResultStore, RoundTripOfEveryColumn) {
  const TemporaryFolder folder;
  const std::string path = folder.file("results.db");
  write_sample(path, 2);
  EXPECT_THAT(first_row(path, "SELECT * FROM runs"),
              ElementsAre("1", "sample", "decode", "deepseek-v3", "hgx-h100", "2",
                          "model: deepseek-v3\n# 'quoted'; DROP TABLE runs\n", "7", "0.1.0",
                          "00000000deadbeef", "finished", "2025-01-02T03:04:05Z", "1.5"));
  EXPECT_THAT(first_row(path, "SELECT * FROM steps WHERE step = 1"),
              ElementsAre("1", "1", "1000", "1000", "5", "6", "0.25"));
  EXPECT_THAT(first_row(path,
                        "SELECT attention_ps, gate_ps, dispatch_ps, dispatch_network_ps, "
                        "expert_ps, shared_expert_ps, combine_ps, combine_network_ps, "
                        "imbalance_max_over_mean, expert_imbalance_max_over_mean, tokens, "
                        "rows, dropped, layer, step, run_id FROM layers"),
              ElementsAre("101", "102", "103", "104", "105", "106", "107", "108", "1.5", "2.5",
                          "109", "110", "111", "3", "0", "1"));
  EXPECT_THAT(first_row(path,
                        "SELECT device, attention_ps, expert_ps, dense_ps, communication_ps, "
                        "other_ps, wait_peer_ps, network_ps, launch_ps, pipeline_bubble_ps, "
                        "idle_end_ps, memory_bytes FROM devices WHERE device = 1"),
              ElementsAre("1", "201", "202", "203", "204", "205", "206", "207", "208", "209", "210",
                          "211"));
  EXPECT_THAT(first_row(path,
                        "SELECT link, bytes, busy_ps, capacity_bytes_per_s, utilisation "
                        "FROM links"),
              ElementsAre("node0/gpu0/nvlink-up", "301", "302", "450000000000", "0.125"));
  EXPECT_THAT(first_row(path, "SELECT layer, expert, rows, replicas FROM experts"),
              ElementsAre("3", "17", "401", "2"));
  EXPECT_THAT(first_row(path,
                        "SELECT request, device, arrival_ps, first_token_ps, finish_ps, "
                        "prompt_tokens, output_tokens FROM requests"),
              ElementsAre("501", "1", "502", "503", "504", "505", "506"));
  EXPECT_THAT(first_row(path, "SELECT cause, duration_ps FROM causes"),
              ElementsAre("expert", "600"));
  EXPECT_THAT(first_row(path,
                        "SELECT layer, device, waited_for_device, cause, duration_ps "
                        "FROM waits"),
              ElementsAre("3", "0", "1", "token_straggler", "701"));
  EXPECT_THAT(first_row(path,
                        "SELECT layer, device, waited_for_device, cause, duration_ps "
                        "FROM waits WHERE device = 1"),
              ElementsAre("", "1", "", "launch", "702"));
  EXPECT_THAT(first_row(path,
                        "SELECT device, stream, name, layer, start_ps, duration_ps "
                        "FROM spans"),
              ElementsAre("1", "compute", "experts", "3", "801", "802"));
  EXPECT_THAT(first_row(path, "SELECT name, value, unit FROM metrics WHERE unit = 's'"),
              ElementsAre("step_time_s", "1e-09", "s"));
  EXPECT_THAT(first_row(path,
                        "SELECT layer, source_device, destination_device, phase, bytes "
                        "FROM traffic"),
              ElementsAre("3", "0", "1", "dispatch", "901"));
  EXPECT_THAT(first_row(path, "SELECT kernel, device, label, source, duration_ps FROM costs"),
              ElementsAre("grouped_gemm", "h100-sxm", "measured", "rows 1-9", "1001"));
  EXPECT_THAT(first_row(path, "SELECT device, item, bytes FROM memory"),
              ElementsAre("0", "weights", "1101"));
}

TEST(ResultStore, RunsFollowEachOtherInOneFile) {
  const TemporaryFolder folder;
  const std::string path = folder.file("results.db");
  write_sample(path, 1);
  ResultStore store(path);
  RunRecord second = sample_run();
  second.seed = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(store.begin_run(second), 2);
  store.add(sample_step(0));
  store.finish_run(sample_result());
  EXPECT_EQ(store.begin_run(second), 3);
  store.add(sample_step(0));
  store.add(sample_step(1));
  // Watched while it runs.
  EXPECT_EQ(number(path, "SELECT count(*) FROM steps"), 4);
  EXPECT_THAT(first_row(path, "SELECT status, fingerprint, seed FROM runs WHERE run_id = 3"),
              ElementsAre("running", "", "18446744073709551615"));
  EXPECT_EQ(number(path, "SELECT count(*) FROM metrics WHERE run_id = 2"), 2);
}

TEST(ResultStore, AStepThatFailsLeavesNothingAndTheNextOneWorks) {
  const TemporaryFolder folder;
  const std::string path = folder.file("results.db");
  ResultStore store(path);
  store.begin_run(sample_run());
  store.add(sample_step(0));
  EXPECT_THROW(store.add(sample_step(0)), InternalError);  // a step twice is a bug of ours
  StepBatch not_a_number = sample_step(1);
  not_a_number.layers[0].imbalance_max_over_mean = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(store.add(not_a_number), InternalError);
  store.add(sample_step(2));
  EXPECT_EQ(number(path, "SELECT count(*) FROM steps"), 2);
  EXPECT_EQ(number(path, "SELECT count(*) FROM layers"), 2);
}

TEST(ResultStore, AFinishedFileStandsAlone) {
  const TemporaryFolder folder;
  write_sample(folder.file("results.db"), 3);
  EXPECT_TRUE(std::filesystem::exists(folder.file("results.db")));
  EXPECT_FALSE(std::filesystem::exists(folder.file("results.db-wal")));
  EXPECT_FALSE(std::filesystem::exists(folder.file("results.db-shm")));
}

TEST(ResultStoreErrors, FilesThatAreNoResults) {
  const TemporaryFolder folder;
  const std::string text = folder.file("notes.txt");
  std::ofstream(text) << std::string(5000, 'x');
  EXPECT_EQ(open_message(text), text + ": not a results database; name another file");
  EXPECT_EQ(bytes_of(text), std::string(5000, 'x'));
  EXPECT_EQ(message_of([&] { run_query(text, "summary"); }),
            text + ": not a results database; name another file");

  const std::string empty = folder.file("empty.db");
  std::ofstream(empty).flush();
  EXPECT_EQ(open_message(empty), "accepted");

  const std::string missing = folder.file("no/such/results.db");
  EXPECT_EQ(open_message(missing), missing + ": there is no folder '" + folder.file("no/such") +
                                       "'; make the folder first, or name another file");
  EXPECT_EQ(open_message(folder.file("")),
            folder.file("") + ": is a folder, not a results database; name a file in it");
  EXPECT_EQ(open_message(""), "the results database has no file name; give one: results.db");
  const std::string nowhere = folder.file("nowhere.db");
  EXPECT_EQ(message_of([&] { run_query(nowhere, "summary"); }),
            nowhere + ": no such results database; `simulate run --results FILE.db` makes one");
  EXPECT_FALSE(std::filesystem::exists(nowhere));
}

// SQLite keeps user_version at byte 60 and application_id at byte 68 of the file, big-endian.
void patch(const std::string& path, std::streamoff at, char last_byte) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(at + 3);
  file.put(last_byte);
}

TEST(ResultStoreErrors, OtherSchemasAndOtherDatabases) {
  const TemporaryFolder folder;
  const std::string path = folder.file("results.db");
  write_sample(path, 1);
  patch(path, 60, 99);
  const std::string before = bytes_of(path);
  const std::string newer = path +
                            ": results of schema 99, this program knows schema 3; use the newer "
                            "simulate that wrote it, or another file";
  EXPECT_EQ(open_message(path), newer);
  EXPECT_EQ(message_of([&] { run_query(path, "summary"); }), newer);
  patch(path, 60, 0);
  EXPECT_EQ(open_message(path), path +
                                    ": results of schema 0, this program knows schema 3; use the "
                                    "older simulate that wrote it, or another file");
  patch(path, 60, kSchemaVersion);
  patch(path, 68, 1);
  EXPECT_EQ(open_message(path),
            path + ": a database, but not one of simulation results; name another file");
  patch(path, 68, static_cast<char>(kResultApplicationId & 0xFF));
  patch(path, 60, 99);
  EXPECT_EQ(bytes_of(path), before);
}

// Runs `act` in a child and returns its exit code; it may lower its rights and limits.
int in_child(const std::function<int()>& act) {
  const pid_t child = fork();
  if (child == 0) {
    int code = 99;
    try {
      code = act();
    } catch (const std::exception& error) {
      std::cerr << error.what() << "\n";
    }
    _exit(code);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(ResultStoreErrors, ReadOnlyFileIsRefusedButCanBeAsked) {
  const TemporaryFolder folder;
  const std::string path = folder.file("results.db");
  write_sample(path, 1);
  namespace fs = std::filesystem;
  const fs::perms read = fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read;
  fs::permissions(path, read);
  fs::permissions(fs::path(path).parent_path(),
                  read | fs::perms::owner_exec | fs::perms::group_exec | fs::perms::others_exec);
  const int code = in_child([&] {
    if (geteuid() == 0 && setuid(65534) != 0) return 98;  // root may write anything
    if (open_message(path) !=
        path +
            ": the results database is read-only; name another file, or allow writing to this "
            "one and its folder") {
      std::cerr << open_message(path) << "\n";
      return 1;
    }
    if (open_message(folder.file("new.db")) !=
        folder.file("new.db") +
            ": cannot open the results database; is it a file, and may you "
            "write to it and to its folder?") {
      return 2;
    }
    return number(path, "SELECT count(*) FROM steps") == 1 ? 0 : 3;
  });
  fs::permissions(fs::path(path).parent_path(), fs::perms::owner_all);
  EXPECT_EQ(code, 0);
}

// A limit on file size stands for the full disk: writes beyond it fail in the same way.
TEST(ResultStoreErrors, FullDiskKeepsTheStepsBefore) {
  const TemporaryFolder folder;
  const std::string path = folder.file("results.db");
  const int code = in_child([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{2'000'000, 2'000'000};
    setrlimit(RLIMIT_FSIZE, &limit);
    ResultStore store(path);
    store.begin_run(sample_run());
    for (int step = 0; step < 100'000; ++step) {
      const std::string message = message_of([&] { store.add(sample_step(step)); });
      if (message == "accepted") continue;
      std::cerr << message << " at step " << step << "\n";
      return step > 10 && message.find("is the disk full?") != std::string::npos ? 0 : 1;
    }
    return 2;
  });
  EXPECT_EQ(code, 0);
  EXPECT_THAT(first_row(path, "PRAGMA integrity_check"), ElementsAre("ok"));
  const std::int64_t steps = number(path, "SELECT count(*) FROM steps");
  EXPECT_GT(steps, 10);
  EXPECT_EQ(number(path, "SELECT count(*) FROM spans"), steps);
  EXPECT_EQ(number(path, "SELECT count(*) FROM waits"), 2 * steps);
}

TEST(ResultStoreErrors, AFileThatCannotBeFilledIsNotLeftBehind) {
  const TemporaryFolder folder;
  const std::string path = folder.file("results.db");
  const int code = in_child([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{8'000, 8'000};
    setrlimit(RLIMIT_FSIZE, &limit);
    return open_message(path).find("is the disk full?") != std::string::npos ? 0 : 1;
  });
  EXPECT_EQ(code, 0);
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_FALSE(std::filesystem::exists(path + "-journal"));
}

// A writer killed at any moment leaves a database that opens, with whole steps only.
TEST(ResultStoreKill, TwentyKillsLeaveWholeSteps) {
  const TemporaryFolder folder;
  const std::string path = folder.file("results.db");
  RandomStream random(20, "kill");
  std::int64_t steps_before = 0;
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      try {
        ResultStore store(path);
        store.begin_run(sample_run());
        for (int step = 0;; ++step) store.add(sample_step(step));
      } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
      }
      _exit(1);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(5'000 + random.below(60'000)));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer must have been writing";
    if (!std::filesystem::exists(path)) continue;  // killed before it made the file
    { ResultStore store(path); }                   // opens for writing again
    ASSERT_THAT(first_row(path, "PRAGMA integrity_check"), ElementsAre("ok"));
    const std::int64_t steps = number(path, "SELECT count(*) FROM steps");
    EXPECT_GE(steps, steps_before);
    steps_before = steps;
    for (const char* table :
         {"layers", "devices", "links", "experts", "requests", "causes", "waits", "spans"}) {
      const std::int64_t per_step = number(path, std::string("SELECT count(*) FROM ") + table);
      const bool two = std::string_view(table) == "devices" ||
                       std::string_view(table) == "causes" || std::string_view(table) == "waits";
      EXPECT_EQ(per_step, steps * (two ? 2 : 1)) << table << " after kill " << round;
    }
  }
  EXPECT_GT(steps_before, 20) << "the kills came too early to test anything";
}

// Also from no file at all: one of the two makes the tables.
TEST(ResultStoreKill, TwoProcessesMayAppendAtOnce) {
  const TemporaryFolder folder;
  const std::string path = folder.file("results.db");
  std::vector<pid_t> children;
  for (int k = 0; k < 2; ++k) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    try {
      write_sample(path, 40);
      _exit(0);
    } catch (const std::exception& error) {
      std::cerr << error.what() << "\n";
      _exit(1);
    }
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  EXPECT_THAT(first_row(path,
                        "SELECT count(*), min(steps), max(steps), min(status) FROM (SELECT "
                        "status, (SELECT count(*) FROM steps WHERE steps.run_id = "
                        "runs.run_id) AS steps FROM runs)"),
              ElementsAre("2", "40", "40", "finished"));
}

// Not a benchmark: a floor well below what it does, so that a lost prepared statement is noticed.
TEST(ResultStoreSpeed, WritesManyRowsPerSecond) {
  const TemporaryFolder folder;
  ResultStore store(folder.file("results.db"));
  store.begin_run(sample_run());
  constexpr int kSteps = 10;
  constexpr int kRows = 30'000;
  StepBatch batch = sample_step(0);
  batch.experts.assign(kRows, batch.experts[0]);
  const auto start = std::chrono::steady_clock::now();
  for (int step = 0; step < kSteps; ++step) {
    batch.step.step = step;
    store.add(batch);
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double rows_per_second = kSteps * kRows / seconds;
  RecordProperty("rows_per_second", std::to_string(rows_per_second));
  std::cout << "rows per second: " << rows_per_second << "\n";
  EXPECT_GT(rows_per_second, 50'000);
}

}  // namespace
}  // namespace sim
