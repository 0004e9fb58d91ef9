// Published figures as data: which runs answer them, and how their numbers come out of these runs
// (tests/reproductions/README.md has the format of the files).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "sim/app/operations/operations_scenario.h"
#include "sim/app/scenario.h"
#include "sim/app/validation/expression.h"
#include "sim/core/error.h"

namespace sim {

// One scenario: a file or a mapping inside the reproduction's file, with keys set over it.
struct ReproductionRun {
  Place place;
  std::string file;  // the YAML file that holds the scenario
  std::string path;  // dotted, of the mapping in `file`; empty: the whole file
  std::vector<std::string> set;
  bool slow = false;  // runs only when all is asked for
};

// What kind of number a figure is; each has one tolerance.
struct Tolerances {
  std::map<std::string, double> share;  // |simulated / published - 1| that passes, by kind
};

struct ReproductionRow {
  Place place;
  std::string id;
  std::string figure;  // in words
  double published = 0;
  std::string unit;
  std::string kind;
  std::optional<Expression> value;     // none: it cannot be run, and `reason` says why
  std::optional<ReproductionRun> own;  // what the name `run` stands for
  std::string reason;                  // of a known miss, or of not being run
  std::vector<std::string> tables;     // names under which constants may have been fitted to it
};

struct Reproduction {
  std::string file;
  std::string system;
  std::string source;  // title, table and address
  std::map<std::string, ReproductionRun> runs;
  std::vector<ReproductionRow> rows;
};

// What an earlier run with --all said of a slow row.
struct EarlierResult {
  double simulated = 0;
  bool fitted = false;
};

struct Reproductions {
  std::vector<Reproduction> systems;  // by file name
  Tolerances tolerances;
  std::map<std::string, EarlierResult> earlier;  // by id
};

// Every *.yaml file of the folder; tolerances.yaml from there, else from `fallback_tolerances`.
// Earlier results are those of slow/*.json in the folder, each the answer of
// `simulate validate --all --only SYSTEM --json`.
// Throws Error with every mistake of every file: an id twice, a run that does not exist or that
// nothing uses, a row that has neither a value nor `not_run`.
Reproductions read_reproductions(const std::string& folder, const std::string& fallback_tolerances,
                                 const Catalog& catalog);

// Its scenario, of steps of a model or of layers of given operations. Throws Error, its mistakes
// placed at the run where a `set` is at fault.
using RunScenario = std::variant<Scenario, OperationsScenario>;
RunScenario read_run(const ReproductionRun& run, const Catalog& catalog);

}  // namespace sim
