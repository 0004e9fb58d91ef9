// An amount that a task takes when it starts and keeps to its end, whatever its speed: SMs, copy
// engines.
//
// Waiters are served in the order in which they asked; nobody overtakes, so a large request cannot
// starve.
#pragma once

#include <cstdint>
#include <deque>

namespace sim {

class HeldResource {
 public:
  explicit HeldResource(std::int64_t capacity) : capacity_(capacity), free_(capacity) {}

  // True when the amount was taken at once; else the task waits in line. REQUIRES: 0 <= amount <=
  // capacity.
  bool take_or_wait(std::int64_t amount, std::int32_t task) {
    if (waiting_.empty() && amount <= free_) {
      free_ -= amount;
      return true;
    }
    waiting_.push_back({amount, task});
    return false;
  }
  void give_back(std::int64_t amount) { free_ += amount; }
  // The next waiter that fits now, with its amount taken; -1 when none does. Call until -1 after
  // giving back.
  std::int32_t next_served() {
    if (waiting_.empty() || waiting_.front().amount > free_) return -1;
    const Waiter waiter = waiting_.front();
    waiting_.pop_front();
    free_ -= waiter.amount;
    return waiter.task;
  }
  std::int64_t capacity() const { return capacity_; }
  std::int64_t free() const { return free_; }

 private:
  struct Waiter {
    std::int64_t amount;
    std::int32_t task;
  };
  std::int64_t capacity_;
  std::int64_t free_;
  std::deque<Waiter> waiting_;
};

}  // namespace sim
