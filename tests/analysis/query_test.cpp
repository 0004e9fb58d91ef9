#include "analysis/query.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

#include "sim/core/error.h"
#include "tests/analysis/sample_results.h"

namespace sim {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using testing::sample_result;
using testing::sample_run;
using testing::sample_step;
using testing::TemporaryFolder;
using testing::write_sample;

class Query : public ::testing::Test {
 protected:
  Query() { write_sample(path_, 2); }

  std::string message_of(const std::string& text, const QueryOptions& options = {}) {
    try {
      run_query(path_, text, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }
  std::string table_of(const std::string& text) { return to_table(run_query(path_, text).at(0)); }

  TemporaryFolder folder_;
  std::string path_ = folder_.file("results.db");
};

TEST_F(Query, EveryNamedQueryRunsOnAFilledAndOnAnEmptyDatabase) {
  const std::string empty = folder_.file("empty.db");
  { ResultStore store(empty); }
  std::vector<std::string> names;
  for (const NamedQuery& query : named_queries()) {
    names.emplace_back(query.name);
    EXPECT_GE(query.help.size(), 10U) << query.name;
    const auto filled = run_query(path_, std::string(query.name));
    ASSERT_FALSE(filled.empty()) << query.name;
    for (const QueryResult& result : filled) {
      EXPECT_FALSE(result.rows.empty()) << query.name;
      EXPECT_FALSE(to_table(result).empty());
    }
    EXPECT_EQ(run_query(empty, std::string(query.name)).size(), filled.size()) << query.name;
  }
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  for (const char* name :
       {"causes", "costs-by-label", "dump", "experts-hot", "imbalance", "link-use", "memory",
        "slowest-layers", "steps", "summary", "traffic-top", "waits"}) {
    EXPECT_THAT(names, Contains(name));
  }
}

TEST_F(Query, AnswersByHand) {
  // 2 steps of 1000 ps, each 600 ps expert and 400 ps network.
  EXPECT_EQ(table_of("causes"),
            "cause    total_s  share\n"
            "expert   1.2e-09    0.6\n"
            "network    8e-10    0.4\n");
  EXPECT_EQ(table_of("waits"),
            "device  waited_for_device  cause            times    total_s  longest_us  "
            "share_of_steps\n"
            "     1                     launch               2  1.404e-09    0.000702           "
            "0.702\n"
            "     0                  1  token_straggler      2  1.402e-09    0.000701           "
            "0.701\n");
  EXPECT_EQ(table_of("memory"),
            "item     bytes_on_fullest  bytes_mean  fullest_device\n"
            "kv                   1102        1102               0\n"
            "weights              1101        1101               0\n");
  EXPECT_EQ(table_of("summary"),
            "name                     value  unit\n"
            "run                          1  sample (finished)\n"
            "devices                      2  hgx-h100\n"
            "steps                        2\n"
            "imbalance_max_over_mean    1.5\n"
            "step_time_s              1e-09  s\n");
}

TEST_F(Query, AsksTheLatestRunOrTheOneNamed) {
  {
    ResultStore store(path_);
    store.begin_run(sample_run());
    store.add(sample_step(0));
    store.finish_run(sample_result());
  }
  EXPECT_EQ(run_query(path_, "steps")[0].rows.size(), 1U);
  EXPECT_EQ(run_query(path_, "steps", {.run = 1, .interrupted = {}})[0].rows.size(), 2U);
  EXPECT_EQ(message_of("steps", {.run = 3, .interrupted = {}}),
            path_ +
                ": there is no run 3; the file has 2 runs; `simulate query FILE runs` lists "
                "them");
}

// Two files of the same content give the same dump, whatever their run numbers and wall clocks;
// one changed value shows.
TEST_F(Query, DumpIsTheSameForTheSameContent) {
  const auto dump_of = [](const std::string& path) {
    std::ostringstream out;
    write_csv(out, run_query(path, "dump"));
    return out.str();
  };
  const std::string other = folder_.file("other.db");
  write_sample(other, 1);
  ResultStore store(other);
  RunRecord run = sample_run();
  run.started_at = "2030-01-01T00:00:00Z";
  store.begin_run(run);
  for (int step = 0; step < 2; ++step) {
    StepBatch batch = sample_step(step);
    std::reverse(batch.waits.begin(), batch.waits.end());  // order of writing does not count
    store.add(batch);
  }
  RunResult result = sample_result();
  result.wall_s = 99;
  store.finish_run(result);
  EXPECT_EQ(dump_of(path_), dump_of(other));

  store.begin_run(run);
  for (int step = 0; step < 2; ++step) {
    StepBatch batch = sample_step(step);
    batch.spans[0].duration += Duration(step);
    store.add(batch);
  }
  store.finish_run(result);
  EXPECT_NE(dump_of(path_), dump_of(other));
}

// Every column of every table is in the dump, but for run_id and the wall clock.
TEST_F(Query, DumpHasEveryColumn) {
  const auto dump = run_query(path_, "dump");
  const auto tables =
      run_query(path_, "SELECT name FROM sqlite_schema WHERE type = 'table'").at(0).rows;
  EXPECT_EQ(dump.size(), tables.size());
  for (const auto& table : tables) {
    const std::string name = to_text(table[0]);
    std::vector<std::string> columns{"table"};
    const auto described = run_query(path_, "PRAGMA table_info(" + name + ")");
    for (const auto& row : described.at(0).rows) {
      const std::string column = to_text(row[1]);
      if (column != "run_id" && column != "wall_s" && column != "started_at") {
        columns.push_back(column);
      }
    }
    const auto same = std::find_if(dump.begin(), dump.end(), [&](const QueryResult& result) {
      return to_text(result.rows.at(0).at(0)) == name;
    });
    ASSERT_NE(same, dump.end()) << name;
    EXPECT_EQ(same->columns, columns) << name;
  }
}

TEST_F(Query, WritingIsRefusedAndChangesNothing) {
  const auto bytes = [&] {
    std::ifstream in(path_, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string before = bytes();
  const std::string copy = folder_.file("copy.db");
  for (const std::string& sql : std::vector<std::string>{
           "INSERT INTO metrics VALUES (1, 'x', 1, '')",
           "UPDATE runs SET seed = 8",
           "DELETE FROM steps",
           "DROP TABLE steps",
           "CREATE TABLE mine (a)",
           "CREATE TEMP TABLE mine (a)",
           "ALTER TABLE runs ADD COLUMN mine",
           "ATTACH '" + copy + "' AS other",
           "VACUUM INTO '" + copy + "'",
           "VACUUM;",
           "PRAGMA user_version = 5",
           "PRAGMA journal_mode = WAL",
           "PRAGMA writable_schema = 1",
           "BEGIN IMMEDIATE",
           "SAVEPOINT here",
           "REINDEX;",
           "ANALYZE;",
           "REPLACE INTO metrics VALUES (1, 'x', 1, '')",
           "WITH x AS (SELECT 1) DELETE FROM steps",
           "SELECT 1; DELETE FROM steps",
           "EXPLAIN DELETE FROM steps",
           "CREATE VIRTUAL TABLE mine USING fts5(a)",
       }) {
    EXPECT_THAT(message_of(sql), HasSubstr("a query only reads; this one would")) << sql;
  }
  EXPECT_EQ(bytes(), before);
  EXPECT_FALSE(std::filesystem::exists(copy));
  EXPECT_EQ(message_of("SELECT 1;\n DELETE FROM steps"),
            "query:1:10: a query only reads; this one would DELETE FROM steps; use SELECT, or "
            "change a copy of the file with sqlite3");
}

TEST_F(Query, NoStatementRunsBeforeAllAreAccepted) {
  int rows = 0;
  const QuerySink sink{[](const auto&) {}, [&](const auto&) { ++rows; }};
  EXPECT_THROW(stream_query(path_, "SELECT 1; DROP TABLE runs", {}, sink), Error);
  EXPECT_EQ(rows, 0);
}

TEST_F(Query, FaultySqlNamesThePlace) {
  EXPECT_EQ(message_of("SELECT step,\n  durations FROM steps"),
            "query:2:3: no such column: durations; tables and columns: SELECT name, sql FROM "
            "sqlite_schema");
  EXPECT_EQ(message_of("SELECT * FROM stepss"),
            "query:1:1: no such table: stepss; tables and columns: SELECT name, sql FROM "
            "sqlite_schema");
  EXPECT_THAT(message_of("sumary"),
              ::testing::StartsWith("there is no query named 'sumary'; possible: causes, "));
  EXPECT_EQ(message_of(" \n"), "the query is empty; name one, or write a SELECT");
  EXPECT_EQ(run_query(path_, "-- nothing to do").size(), 0U);
}

TEST_F(Query, ARunawayQueryEndsWhenInterrupted) {
  int asked = 0;
  QueryOptions options;
  options.interrupted = [&] { return ++asked > 3; };
  EXPECT_EQ(message_of("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                       "SELECT count(*) FROM n",
                       options),
            "query: the query was interrupted");
}

TEST_F(Query, TextOfCells) {
  const QueryResult result =
      run_query(path_,
                "SELECT 1 AS n, 0.1 AS x, NULL AS none, 'a,\"b\"' AS t UNION ALL SELECT "
                "20, 1e300 * 10, NULL, 'line' || char(10) || 'break'")[0];
  EXPECT_EQ(to_table(result),
            " n       x  none  t\n"
            " 1     0.1        a,\"b\"\n"
            "20  1e+301        line break\n");
  std::ostringstream csv;
  write_csv(csv, {result, result});
  const std::string once = "n,x,none,t\n1,0.1,,\"a,\"\"b\"\"\"\n20,1e+301,,\"line\nbreak\"\n";
  EXPECT_EQ(csv.str(), once + "\n" + once);
  EXPECT_EQ(to_table(run_query(path_, "SELECT 'abcdefgh' AS t")[0], 4), "t\nabc…\n");
}

}  // namespace
}  // namespace sim
