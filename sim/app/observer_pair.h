// Two listeners in place of one.
#pragma once

#include "sim/core/observer.h"

namespace sim {

class ObserverPair : public Observer {
 public:
  ObserverPair(Observer& first, Observer& second) : first_(first), second_(second) {}

  void on_task(const TaskSpan& span) override {
    first_.on_task(span);
    second_.on_task(span);
  }
  void on_part(const PartSpan& span) override {
    first_.on_part(span);
    second_.on_part(span);
  }
  void on_collective(const CollectiveSpan& span) override {
    first_.on_collective(span);
    second_.on_collective(span);
  }
  void on_wait(const StreamWait& wait) override {
    first_.on_wait(wait);
    second_.on_wait(wait);
  }
  void on_memory(const MemoryChange& change) override {
    first_.on_memory(change);
    second_.on_memory(change);
  }

 private:
  Observer& first_;
  Observer& second_;
};

}  // namespace sim
