// The clock and the queue of what happens next. Start reading here.
//
// Events run in the order of (time, sequence): ties run in the order in which they were scheduled.
// The clock moves before the handler runs and never goes back. O(log n) per event. No globals: two
// loops do not see each other. A background event (another tenant's load going on and off) runs in
// its turn as long as others are left, but does not keep the loop going.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "sim/core/units.h"

namespace sim {

class EventLoop {
 public:
  using Handler = std::function<void()>;

  // Names one scheduled event. Cancelling twice, or after it has fired, is harmless.
  struct Handle {
    std::uint64_t sequence = 0;
    std::uint32_t slot = 0;
    bool background = false;
  };

  Time now() const { return now_; }
  Handle at(Time when, Handler handler) { return add(when, std::move(handler), false); }
  Handle at_background(Time when, Handler handler) { return add(when, std::move(handler), true); }
  Handle after(Duration delay, Handler handler) { return at(now_ + delay, std::move(handler)); }
  void cancel(Handle handle);

  // Runs until no event is left but background ones. Returns the number of events run in this call.
  std::uint64_t run();
  bool empty() const { return live_ == 0; }
  std::uint64_t events_run() const { return events_run_; }

 private:
  struct Entry {
    Time time;
    std::uint64_t sequence;
    std::uint32_t slot;
    bool background;
    bool operator>(const Entry& o) const {
      return time != o.time ? time > o.time : sequence > o.sequence;
    }
  };
  struct Slot {
    std::uint64_t sequence = 0;  // 0: free or cancelled
    Handler handler;
  };

  Handle add(Time when, Handler handler, bool background);  // REQUIRES: when >= now()

  Time now_{};
  std::uint64_t next_sequence_ = 1;
  std::uint64_t events_run_ = 0;
  std::uint64_t live_ = 0;  // without background events
  std::vector<Entry> heap_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_slots_;
};

}  // namespace sim
