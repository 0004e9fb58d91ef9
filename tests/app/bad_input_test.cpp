// Traces, imports, results files, queries and command lines that cannot be used: one clear message,
// exit 1, every file as it was.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

class BadTrace : public Refusal {
 protected:
  // 100 steps x 8 ranks x 64 tokens of 2 layers, 16 experts, top-2.
  void SetUp() override {
    Refusal::SetUp();
    synth("good.moetrace", {"--layers", "2", "--experts", "16"});
  }
  void synth(const std::string& name, std::vector<std::string> shape) {
    std::vector<std::string> words = {
        "trace",   "synth", "-o",      name, "--top-k",           "2",
        "--steps", "100",   "--ranks", "8",  "--tokens-per-rank", "64"};
    words.insert(words.end(), shape.begin(), shape.end());
    ASSERT_EQ(simulate(folder_, words).exit_code, 0);
  }
  std::string replay(const std::string& trace, const std::string& more = "") {
    return refused({"run", "good.yaml", "--results", "r.db", "--set",
                    "routing={trace: " + trace + more + "}"});
  }
};

TEST_F(BadTrace, TheTraceItselfIsGood) {
  EXPECT_EQ(
      simulate(folder_, {"run", "good.yaml", "--set", "routing={trace: good.moetrace}"}).exit_code,
      0);
}

TEST_F(BadTrace, CutShort) {
  const std::string whole = folder_.read("good.moetrace");
  ASSERT_GT(whole.size(), 20000u);
  folder_.write("cut.moetrace", whole.substr(0, 20000));
  const std::string message =
      "cut.moetrace: at byte 20000: no index at the end; its writer did not finish, or the file is "
      "cut short: write it again\n";
  EXPECT_EQ(replay("cut.moetrace"), message);
  EXPECT_EQ(refused({"trace", "info", "cut.moetrace"}), message);
  folder_.write("cut.moetrace", whole.substr(0, 9));
  EXPECT_EQ(replay("cut.moetrace"),
            "cut.moetrace: at byte 9: the file ends inside its version; the file is cut short\n");
}

TEST_F(BadTrace, AnotherMagic) {
  folder_.write("other.moetrace", "NOTATRACE" + folder_.read("good.moetrace").substr(9));
  const std::string why =
      ": at byte 0: not a .moetrace file; `simulate trace import` reads other formats\n";
  EXPECT_EQ(replay("other.moetrace"), "other.moetrace" + why);
  folder_.write("empty.moetrace", "");
  EXPECT_EQ(replay("empty.moetrace"), "empty.moetrace" + why);
}

TEST_F(BadTrace, OneBitTurned) {
  std::string bytes = folder_.read("good.moetrace");
  bytes[10000] = static_cast<char>(bytes[10000] ^ 1);
  folder_.write("turned.moetrace", bytes);
  EXPECT_EQ(
      replay("turned.moetrace"),
      "turned.moetrace: at byte 113: the checksum of a chunk is wrong; the file is damaged\n");
}

TEST_F(BadTrace, OfAnotherModel) {
  synth("layers.moetrace", {"--layers", "3", "--experts", "16"});
  EXPECT_EQ(replay("layers.moetrace"),
            "layers.moetrace: the trace has 3 routed layers, the model has 2; replay a trace of "
            "this model, or set routing.adapt: cycle-layers\n");
  synth("experts.moetrace", {"--layers", "2", "--experts", "8"});
  EXPECT_EQ(replay("experts.moetrace"),
            "experts.moetrace: routed layer 0 has 8 experts in the trace, 16 in the model; replay "
            "a trace of this model\n");
}

TEST_F(BadTrace, WithoutWhatTheRuleNeeds) {
  EXPECT_EQ(replay("good.moetrace", ", rule: requests"),
            "good.moetrace: the trace has steps, not requests; use the rule recorded or sample\n");
  EXPECT_EQ(replay("good.moetrace", ", tag: code"), "good.moetrace: this trace has no tags\n");
  EXPECT_EQ(refused({"run", "good.yaml", "--set", "routing={trace: good.moetrace}", "--set",
                     "cluster={use: hgx-h100, gpus_per_node: 4}"}),
            "good.moetrace: the trace was recorded on rank 4, the cluster has 4 ranks; use more "
            "ranks, or the rule sample\n");
}

TEST_F(Refusal, ImportOfAnExpertOutOfRange) {
  folder_.write("routing.csv", "step,source_rank,layer0,layer1\n0,0,1 2,3 4\n0,1,5 99,3 4\n");
  const auto import = [&] {
    return refused({"trace", "import", "routing.csv", "-o", "out.moetrace", "--experts", "16",
                    "--top-k", "2"});
  };
  EXPECT_EQ(import(),
            "routing.csv:3:7: layer0: expert 99 of a layer with 16 experts; ids count from 0; "
            "--experts gives another number\n");
  folder_.write("routing.csv", "step,source_rank,layer0,layer1\n0,0,1 2,3 x\n");
  EXPECT_EQ(import(), "routing.csv:2:11: layer1: 'x' is not an expert id\n");
  EXPECT_EQ(refused({"trace", "import", "missing.csv", "-o", "out.moetrace"}),
            "missing.csv: there is no such file\n");
}

class BadResults : public Refusal {
 protected:
  std::string run_into(const std::string& path, RunAs user = RunAs::kMe) {
    return refused({"run", "good.yaml", "--results", path}, user);
  }
};

TEST_F(BadResults, PathsThatCannotBeWritten) {
  EXPECT_EQ(run_into("none/r.db"),
            "none/r.db: there is no folder 'none'; make the folder first, or name another file\n");
  EXPECT_EQ(run_into("."), ".: is a folder, not a results database; name a file in it\n");
  folder_.write("text.db", "model: model.yaml\n");
  EXPECT_EQ(run_into("text.db"), "text.db: not a results database; name another file\n");
}

TEST_F(BadResults, ReadOnlyFolderAndFile) {
  ASSERT_EQ(simulate(folder_, {"run", "good.yaml", "--results", "kept.db"}).exit_code, 0);
  if (geteuid() == 0 && simulate(folder_, {"--version"}, RunAs::kNobody).exit_code != 0)
    GTEST_SKIP() << "another user cannot run the binary of this build folder";
  ASSERT_EQ(chmod(folder_.file("kept.db").c_str(), 0444), 0);
  ASSERT_EQ(chmod(folder_.path().c_str(), 0555), 0);
  EXPECT_EQ(run_into("kept.db", RunAs::kNobody),
            "kept.db: the results database is read-only; name another file, or allow writing to "
            "this one and its folder\n");
  EXPECT_EQ(run_into("new.db", RunAs::kNobody),
            "new.db: cannot open the results database; is it a file, and may you write to it and "
            "to its folder?\n");
  // Reading needs no right to write.
  const CommandResult asked =
      simulate(folder_, {"query", "kept.db", "runs", "--csv"}, RunAs::kNobody);
  EXPECT_EQ(asked.exit_code, 0) << asked.err;
}

TEST_F(BadResults, AFailedRunLeavesAnEarlierDatabaseAsItWas) {
  ASSERT_EQ(simulate(folder_, {"run", "good.yaml", "--results", "kept.db"}).exit_code, 0);
  EXPECT_EQ(refused({"run", "good.yaml", "--results", "kept.db", "--set", "model=deepseek-v3"})
                .substr(0, 13),
            "good.yaml:3:1");
  EXPECT_EQ(
      refused({"run", "good.yaml", "--results", "kept.db", "--set", "routing={trace: model.yaml}"}),
      "model.yaml: at byte 0: not a .moetrace file; `simulate trace import` reads other "
      "formats\n");
}

class BadQuery : public Refusal {
 protected:
  void SetUp() override {
    Refusal::SetUp();
    ASSERT_EQ(simulate(folder_, {"run", "good.yaml", "--results", "good.db"}).exit_code, 0);
  }
  std::string ask(const std::string& question) { return refused({"query", "good.db", question}); }
};

TEST_F(BadQuery, NoFormOfWritingIsRun) {
  struct Writing {
    const char* sql;
    int column;
    const char* what;
  };
  const Writing writings[] = {
      {"DELETE FROM runs", 1, "DELETE FROM runs"},
      {"UPDATE runs SET seed = 1", 1, "UPDATE runs"},
      {"INSERT INTO metrics VALUES (1, 'a', 1, 's')", 1, "INSERT INTO metrics"},
      {"DROP TABLE runs", 1, "change the schema"},
      {"CREATE TABLE x(y)", 1, "change the schema"},
      {"ALTER TABLE runs ADD COLUMN z", 1, "ALTER TABLE in main"},
      {"ATTACH 'other.db' AS other", 1, "ATTACH other.db"},
      {"VACUUM INTO 'copy.db'", 1, "change a file"},
      {"PRAGMA user_version = 5", 1, "PRAGMA user_version"},
      {"SELECT 1; DELETE FROM runs", 10, "DELETE FROM runs"},
      {"WITH x AS (SELECT 1) DELETE FROM runs", 1, "DELETE FROM runs"},
  };
  for (const Writing& writing : writings) {
    EXPECT_EQ(ask(writing.sql), "query:1:" + std::to_string(writing.column) +
                                    ": a query only reads; this one would " + writing.what +
                                    "; use SELECT, or change a copy of the file with sqlite3\n");
  }
}

TEST_F(BadQuery, QuestionsThatAreNone) {
  EXPECT_EQ(ask("sumary"),
            "there is no query named 'sumary'; possible: causes, costs, costs-by-label, devices, "
            "dump, experts-hot, imbalance, link-use, memory, runs, slowest-layers, "
            "steps, stragglers, summary, traffic-top, waits\n");
  const std::string hint = "; tables and columns: SELECT name, sql FROM sqlite_schema\n";
  EXPECT_EQ(ask("SELEC 1"), "query:1:1: near \"SELEC\": syntax error" + hint);
  EXPECT_EQ(ask("SELECT 1,\n absent FROM steps"), "query:2:2: no such column: absent" + hint);
  EXPECT_EQ(ask("SELECT * FROM stepz"), "query:1:1: no such table: stepz" + hint);
  EXPECT_EQ(refused({"query", "good.db", "runs", "--run", "99"}),
            "good.db: there is no run 99; the file has 1 runs; `simulate query FILE runs` lists "
            "them\n");
}

TEST_F(BadQuery, FilesThatAreNoResults) {
  EXPECT_EQ(refused({"query", "missing.db", "runs"}),
            "missing.db: no such results database; `simulate run --results FILE.db` makes one\n");
  EXPECT_EQ(refused({"query", ".", "runs"}),
            ".: is a folder, not a results database; name a file in it\n");
  EXPECT_EQ(refused({"query", "good.yaml", "runs"}),
            "good.yaml: not a results database; name another file\n");
  folder_.write("empty.db", "");
  EXPECT_EQ(refused({"query", "empty.db", "runs"}),
            "empty.db: a database, but not one of simulation results; name another file\n");
}

TEST_F(Refusal, CommandsThatDoNotExist) {
  EXPECT_EQ(refused({"rnu", "good.yaml"}),
            "simulate: there is no command 'rnu'; did you mean 'run'?\n");
  EXPECT_EQ(refused({"trace", "imprt", "x"}),
            "simulate trace: there is no command 'imprt'; did you mean 'import'?\n");
  EXPECT_EQ(refused({"trace"}),
            "simulate trace: a command is missing; possible: synth, import, info, stats, "
            "dynamics\n");
  EXPECT_EQ(refused({"list", "modles"}), "there is no list of 'modles'; did you mean 'models'?\n");
}

TEST_F(Refusal, NamesThatTheCatalogsDoNotHave) {
  EXPECT_EQ(refused({"cluster", "show", "hgx-h1000"}),
            "no cluster is called 'hgx-h1000'; did you mean 'hgx-h100'?\n");
  EXPECT_EQ(refused({"cluster", "show", "hgx-h100", "--set", "nodes=0"}),
            "--set nodes: 'nodes' in cluster is 0, but must lie between 1 and 1048576\n");
  EXPECT_EQ(refused({"model", "show", "deepseek-v33"}),
            "there is no model 'deepseek-v33'; did you mean 'deepseek-v3'?\n");
  EXPECT_EQ(refused({"trace", "info", "no.moetrace"}), "there is no trace file 'no.moetrace'\n");
}

TEST_F(Refusal, OptionsAndArgumentsThatDoNotExist) {
  for (const std::string option : {"--result", "--result=r.db"}) {
    EXPECT_EQ(refused({"run", "good.yaml", option}),
              "simulate run: there is no option '--result'; did you mean '--results'?\n");
  }
  EXPECT_EQ(refused({"run", "good.yaml", "more"}),
            "simulate run: the argument 'more' is one too many; `simulate run --help` shows what "
            "it takes\n");
  EXPECT_EQ(refused({"run"}),
            "simulate run: scenario is required; `simulate run --help` shows what it takes\n");
}

}  // namespace
}  // namespace sim::testing
