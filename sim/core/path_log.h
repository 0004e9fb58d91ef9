// Why a step ended when it did: for each task the one whose end let it go last, so that the
// critical path can be walked back from the step's end.
//
// Opt-in (TaskGraph::set_path_log). Every task that ends adds a record of fixed size. Records that
// no task under way leads back to are dropped, so what is kept are the paths that may still become
// the critical one; of a finished step that is one path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sim/core/observer.h"

namespace sim {

using PathRecordId = std::int32_t;  // -1: none

// The share of a path between the end of what released a task last and the task's own end.
struct PathRecord {
  TaskTag tag;  // of a chain of kernels: the task's
  DeviceId device;
  StreamKind stream = StreamKind::kCompute;
  // A kernel: when it began, after the gap before it. A part of a collective: when its rank reached
  // it, which may be before `since`.
  Time start;
  Time end;
  CauseVector causes{};  // of the whole path up to `end`
  // Of a part of a collective only. The path runs through the arrival of `from`: that rank reached
  // its part last of those that held this one up, and what released that part comes before this
  // record on the path.
  bool is_part = false;
  DeviceId from;
  Time from_entered;
  // Which the part's own bytes (of its last stage, where there are several) take longest on;
  // invalid: no bytes.
  ResourceId tightest;
  ResourceId tightest_of_all;  // the same of all bytes of the collective
};

class PathLog {
 public:
  // `before`: what released it last. The record has one user: the caller.
  PathRecordId add(const PathRecord& record, PathRecordId before);
  void share(PathRecordId id);  // one user more; -1: nothing
  void drop(PathRecordId id);   // one user less; the last one drops the record

  const PathRecord& record(PathRecordId id) const {
    return entries_[static_cast<std::size_t>(id)].record;
  }
  PathRecordId before(PathRecordId id) const {
    return entries_[static_cast<std::size_t>(id)].before;
  }
  // What released the callback under way (TaskGraph::when_done) last: at a step's end the last
  // record of its critical path. -1 outside of callbacks.
  PathRecordId last() const { return last_; }
  void set_last(PathRecordId id) { last_ = id; }
  std::size_t kept() const { return entries_.size() - free_.size(); }

 private:
  struct Entry {
    PathRecord record;
    PathRecordId before = -1;
    std::int32_t users = 0;
  };
  std::vector<Entry> entries_;
  std::vector<PathRecordId> free_;
  PathRecordId last_ = -1;
};

// One piece of a critical path.
struct PathSegment {
  Time since;         // the end of the piece before it; of the first one the begin of the step
  CauseVector own{};  // why time passed from `since` to record.end; adds up to it
  PathRecord record;
};

// From the begin of the step to the end of `last`, in order of time and without a hole. Empty when
// `last` is -1. Summed over the segments `own` is the record's `causes`.
std::vector<PathSegment> critical_path(const PathLog& log, PathRecordId last);

}  // namespace sim
