// A run killed at any moment leaves a database that opens, with every step that finished, whole.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>

#include "sim/core/random.h"
#include "tests/app/database.h"
#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

void wait_ms(std::int64_t milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

class Kill : public Refusal {
 protected:
  // Starts a run that would last for minutes and kills it `delay` ms after its database appeared,
  // or, when `early`, after its start.
  void run_and_kill(std::int64_t delay, bool early) {
    Child child(folder_,
                {"run", "good.yaml", "--results", "r.db", "--set",
                 "workload={kind: decode, tokens_per_gpu: 4, context: 100, steps: 1000000}"});
    for (int i = 0; i < 20'000 && !early && !folder_.has("r.db"); ++i) wait_ms(1);
    wait_ms(delay);
    child.kill();
    const CommandResult result = child.wait();
    EXPECT_EQ(result.signal, SIGKILL) << "it ended by itself: " << result.err;
  }

  // Steps of run 1 that the file holds; all about them must be in it, and nothing else.
  static std::int64_t whole_steps(const Database& db) {
    const std::string n = db.one("SELECT count(*) FROM steps");
    EXPECT_EQ(db.one("SELECT status FROM runs"), "running");
    EXPECT_EQ(db.one("SELECT count(*) FROM steps WHERE step >= " + n), "0");  // 0 .. n - 1
    const auto each = [&](const std::string& table, int rows) {
      const std::string counted = "SELECT count(*) FROM " + table;
      EXPECT_EQ(db.one(counted), std::to_string(rows * std::stoll(n))) << table;
      EXPECT_EQ(db.one(counted + " WHERE step NOT IN (SELECT step FROM steps)"), "0") << table;
      EXPECT_EQ(db.one("SELECT count(*) FROM (SELECT step FROM " + table +
                       " GROUP BY step HAVING count(*) <> " + std::to_string(rows) + ")"),
                "0")
          << table;
    };
    each("layers", 2);
    each("devices", 8);
    each("experts", 2 * 16);
    EXPECT_EQ(db.rows("SELECT step, duration_ps FROM steps ORDER BY step"),
              db.rows("SELECT step, sum(duration_ps) FROM causes GROUP BY step ORDER BY step"));
    return std::stoll(n);
  }
};

TEST_F(Kill, AtRandomMomentsLeavesWholeSteps) {
  RandomStream random(20, "kill");
  int with_steps = 0;
  for (int attempt = 0; attempt < 16; ++attempt) {
    const bool early = attempt % 4 == 0;
    const std::int64_t delay = static_cast<std::int64_t>(random.below(early ? 30 : 120));
    SCOPED_TRACE("killed after " + std::to_string(delay) + " ms" + (early ? " of its start" : ""));
    run_and_kill(delay, early);
    if (folder_.has("r.db")) {
      // As the user would look at it, before anyone repairs anything.
      const CommandResult asked =
          simulate(folder_, {"query", "r.db", "SELECT count(*) FROM steps", "--csv"});
      const Database db(folder_.file("r.db"));
      EXPECT_EQ(db.one("PRAGMA integrity_check"), "ok");
      const bool made = db.one("SELECT count(*) FROM sqlite_schema WHERE name = 'runs'") == "1";
      EXPECT_EQ(asked.exit_code, made ? 0 : 1) << asked.err;
      if (made && db.one("SELECT count(*) FROM runs") == "1") {
        const std::int64_t steps = whole_steps(db);
        EXPECT_EQ(asked.out, "count(*)\n" + std::to_string(steps) + "\n");
        with_steps += steps > 0 ? 1 : 0;
      }
    }
    // The next run goes into the same file.
    const CommandResult next = simulate(folder_, {"run", "good.yaml", "--results", "r.db"});
    EXPECT_EQ(next.exit_code, 0) << next.err;
    EXPECT_EQ(
        Database(folder_.file("r.db")).one("SELECT status FROM runs ORDER BY run_id DESC LIMIT 1"),
        "finished");
    for (const char* suffix : {"", "-wal", "-shm", "-journal"})
      std::filesystem::remove(folder_.file("r.db" + std::string(suffix)));
  }
  EXPECT_GE(with_steps, 4) << "the kills came too early to say anything";
}

// The same moment made on purpose: pages of an open transaction are in the file, their old content
// only in the journal.
TEST_F(Kill, InTheMiddleOfAWriteIsRolledBackByTheNextReader) {
  ASSERT_EQ(simulate(folder_, {"run", "good.yaml", "--results", "r.db"}).exit_code, 0);
  {
    const Database db(folder_.file("r.db"));
    for (const char* sql : {"PRAGMA cache_size = 1", "BEGIN", "DELETE FROM steps",
                            "UPDATE experts SET rows = -1", "UPDATE devices SET step = 7"}) {
      db.rows(sql);
    }
    folder_.write("torn.db", folder_.read("r.db"));
    folder_.write("torn.db-journal", folder_.read("r.db-journal"));
  }
  const auto dump = [&](const std::string& name) {
    const CommandResult result = simulate(folder_, {"query", name, "dump", "--csv"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  ASSERT_TRUE(folder_.read("torn.db") != folder_.read("r.db"));  // r.db was rolled back on closing
  EXPECT_EQ(first_difference(dump("torn.db"), dump("r.db")), "");
}

}  // namespace
}  // namespace sim::testing
