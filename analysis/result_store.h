// Writes runs into a results database (SQLite), step by step.
//
// A step is one transaction, so a killed process, a full disk or Ctrl-C leaves a database that
// opens and holds every finished step whole. Several runs may share a file; a reader may watch.
// Every failure is an Error that names the file and says what to do.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "analysis/records.h"

namespace sim {

inline constexpr int kSchemaVersion = 3;                 // PRAGMA user_version
inline constexpr int kResultApplicationId = 0x4D6F4573;  // PRAGMA application_id, "MoEs"

class ResultStore {
 public:
  // Opens a results database or makes a new one (also of an empty file). Throws Error when the
  // folder is missing, the file is read-only, no results database, or of a newer schema; then
  // nothing is changed and no new file is left.
  explicit ResultStore(const std::string& path);
  ~ResultStore();  // closes; a run that is not finished keeps the status 'running'
  ResultStore(const ResultStore&) = delete;
  ResultStore& operator=(const ResultStore&) = delete;

  // Runs follow each other; REQUIRES: the run before is finished. Returns the run_id.
  std::int64_t begin_run(const RunRecord& run);
  void add(const StepBatch& batch);          // REQUIRES: a run has begun; steps are unique in it
  void finish_run(const RunResult& result);  // status becomes 'finished', or 'failed'

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sim
