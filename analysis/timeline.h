// A timeline in the JSON of Chrome's trace viewer, which ui.perfetto.dev and chrome://tracing open.
//
// Events are written as they come, so memory does not grow with them. Processes are what the viewer
// groups by, tracks are their rows; both are named when first used. Times are microseconds with six
// decimals (picoseconds); the viewer keeps nanoseconds. Slices of a track must not overlap.
// Format: "Trace Event Format", the Chromium project's document of that name.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "sim/core/units.h"

namespace sim {

struct TimelineArgument {
  std::string_view name;
  std::variant<std::int64_t, double, std::string_view> value;
};

// Where an arrow begins or ends: inside a slice of a track.
struct TimelinePoint {
  int process = 0;
  int track = 0;
  Time time;
};

class TimelineWriter {
 public:
  // Keeps a reference. `limit`: slices, arrow ends and counter values written at most; what comes
  // later is counted and left out. Names are always written.
  TimelineWriter(std::ostream& out, std::int64_t limit);

  void name_process(int process, std::string_view name);  // shown in the order of their numbers
  void name_track(int process, int track, std::string_view name);
  // False when the limit left it out.
  bool slice(int process, int track, std::string_view name, std::string_view category, Time start,
             Duration duration, std::span<const TimelineArgument> arguments);
  void arrow(const TimelinePoint& from, const TimelinePoint& to, std::string_view name);
  void counter(int process, std::string_view name, std::string_view unit, Time time, double value);
  // Ends the JSON; `notes` are shown as the trace's metadata.
  void finish(std::span<const TimelineArgument> notes);

  std::int64_t events() const { return events_; }
  std::int64_t left_out() const { return left_out_; }

 private:
  bool has_room(std::int64_t events);
  void begin(char phase, int process);
  void put_track(int track);
  void put_time(std::string_view key, std::int64_t picoseconds);
  void put_text(std::string_view text);
  void put_arguments(std::span<const TimelineArgument> arguments);
  void end();

  std::ostream& out_;
  std::int64_t limit_;
  std::int64_t events_ = 0;
  std::int64_t left_out_ = 0;
  std::int64_t arrows_ = 0;
  bool any_ = false;
  std::string line_;  // the event that is being put together
};

}  // namespace sim
