#include "sim/core/path_log.h"

#include <algorithm>
#include <numeric>

namespace sim {

PathRecordId PathLog::add(const PathRecord& record, PathRecordId before) {
  PathRecordId id = 0;
  if (free_.empty()) {
    id = static_cast<PathRecordId>(entries_.size());
    entries_.emplace_back();
  } else {
    id = free_.back();
    free_.pop_back();
  }
  share(before);
  entries_[static_cast<std::size_t>(id)] = {record, before, 1};
  return id;
}

void PathLog::share(PathRecordId id) {
  if (id >= 0) ++entries_[static_cast<std::size_t>(id)].users;
}

void PathLog::drop(PathRecordId id) {
  while (id >= 0) {
    Entry& entry = entries_[static_cast<std::size_t>(id)];
    if (--entry.users > 0) return;
    free_.push_back(id);
    id = entry.before;
  }
}

std::vector<PathSegment> critical_path(const PathLog& log, PathRecordId last) {
  std::vector<PathSegment> path;
  for (PathRecordId id = last; id >= 0; id = log.before(id)) {
    PathSegment segment;
    segment.record = log.record(id);
    segment.own = segment.record.causes;
    const PathRecordId before = log.before(id);
    if (before >= 0) {
      const CauseVector& earlier = log.record(before).causes;
      for (std::size_t c = 0; c < earlier.size(); ++c) segment.own[c] -= earlier[c];
    }
    const std::int64_t lasted =
        std::accumulate(segment.own.begin(), segment.own.end(), std::int64_t{0});
    segment.since = segment.record.end - Duration(lasted);
    path.push_back(segment);
  }
  std::reverse(path.begin(), path.end());
  return path;
}

}  // namespace sim
