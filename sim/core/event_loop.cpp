#include "sim/core/event_loop.h"

#include <algorithm>
#include <utility>

#include "sim/core/error.h"

namespace sim {

EventLoop::Handle EventLoop::add(Time when, Handler handler, bool background) {
  SIM_CHECK(when >= now_, "an event cannot be scheduled in the past");
  std::uint32_t slot = 0;
  if (free_slots_.empty()) {
    slot = static_cast<std::uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  const std::uint64_t sequence = next_sequence_++;
  slots_[slot].sequence = sequence;
  slots_[slot].handler = std::move(handler);
  heap_.push_back({when, sequence, slot, background});
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>{});
  live_ += background ? 0 : 1;
  return {sequence, slot, background};
}

void EventLoop::cancel(Handle handle) {
  if (handle.sequence == 0 || handle.slot >= slots_.size()) return;
  Slot& slot = slots_[handle.slot];
  if (slot.sequence != handle.sequence) return;
  slot.sequence = 0;
  slot.handler = nullptr;
  live_ -= handle.background ? 0 : 1;
}

std::uint64_t EventLoop::run() {
  const std::uint64_t before = events_run_;
  while (live_ > 0) {
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>{});
    const Entry entry = heap_.back();
    heap_.pop_back();
    Slot& slot = slots_[entry.slot];
    const bool cancelled = slot.sequence != entry.sequence;
    Handler handler = std::move(slot.handler);
    slot.handler = nullptr;
    slot.sequence = 0;
    free_slots_.push_back(entry.slot);
    if (cancelled) continue;
    SIM_CHECK(entry.time >= now_, "time never goes back");
    now_ = entry.time;
    live_ -= entry.background ? 0 : 1;
    ++events_run_;
    handler();
  }
  return events_run_ - before;
}

}  // namespace sim
