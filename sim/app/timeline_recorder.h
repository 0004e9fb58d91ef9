// Listens to the engine and writes a timeline: a process per GPU with its streams as tracks,
// kernels and parts of collectives as slices, an arrow from the part that held another one up to
// that one, counters of memory and of the busiest links.
#pragma once

#include <cstdint>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "analysis/records.h"
#include "analysis/timeline.h"
#include "sim/app/link_sampler.h"
#include "sim/core/observer.h"
#include "sim/input/number_ranges.h"
#include "sim/input/whole_file.h"

namespace sim {

// About 160 bytes an event: below 100 MB.
inline constexpr std::int64_t kTimelineLimit = 500'000;

struct TimelineChoice {
  std::string file;
  std::int64_t limit = kTimelineLimit;
  NumberRanges ranks;
  NumberRanges layers;  // chosen: what belongs to no layer is left out too
  NumberRanges steps;
};

struct TimelineReport {
  std::string file;
  std::int64_t events = 0;
  std::int64_t left_out = 0;  // by the limit
};

class TimelineRecorder : public Observer {
 public:
  // "measured", "assumed + fitted", ...: whose word the kernels of a kind on a device rest on; may
  // be "".
  using Label = std::function<std::string(const TaskTag& tag, DeviceId device)>;

  // Keeps no reference to the choice. `devices`: their names. Throws Error when the file cannot be
  // written.
  TimelineRecorder(const TimelineChoice& choice, std::vector<std::string> devices, Label label);

  void on_task(const TaskSpan& span) override;
  void on_part(const PartSpan& span) override;
  void on_memory(const MemoryChange& change) override;

  // Writes the step's link counters; returns its slices for the results database.
  std::vector<SpanRecord> take_step(int step, Time end, LinkSampler& links);
  // Throws Error when not all of it could be written.
  TimelineReport finish();

 private:
  struct Lane {
    int track = 0;
    Time last_end;
  };
  struct Part {
    TaskTag tag;
    Time start;
    Time end;
    int track = -1;  // -1: none yet
  };
  struct Device {
    std::string name;
    bool named = false;
    std::vector<Lane> lanes[4];  // by StreamKind: tracks whose slices do not overlap
    Part last_part;
    std::int64_t memory_bytes = 0;
  };
  static int process_of(DeviceId device) { return device.value() + 1; }
  bool chosen(const TaskTag& tag, DeviceId device) const;
  void use(DeviceId device);
  int track_for(DeviceId device, StreamKind kind, Time start, Time end);
  int new_track(DeviceId device, StreamKind kind, Time last_end);
  int track_at(DeviceId device, Time time);
  void write_slice(const TaskTag& tag, DeviceId device, StreamKind stream, Time start, Time end,
                   const PartSpan* part);
  void write_arrow(const PartSpan& part, int track);

  TimelineChoice choice_;
  WholeFile whole_;
  std::ofstream out_;
  TimelineWriter writer_;
  Label label_;
  std::vector<Device> devices_;
  std::optional<PartSpan> part_;  // told just before its task
  std::vector<SpanRecord> spans_;
  int step_ = 0;  // under way
};

}  // namespace sim
