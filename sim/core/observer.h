// What happened, as value records, and the interface that receives them.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "sim/core/id.h"
#include "sim/core/units.h"

namespace sim {

// Why time passed. The workload names its causes; the core only carries their picoseconds.
using CauseId = std::uint8_t;
inline constexpr std::size_t kMaxCauses = 24;
using CauseVector = std::array<std::int64_t, kMaxCauses>;  // picoseconds per cause

enum class StreamKind : std::uint8_t { kCompute, kCommunication, kCopy, kHost };

// What a task is to the workload: a kind it defines, and where in the model. -1: does not apply.
struct TaskTag {
  std::int16_t kind = -1;
  std::int16_t layer = -1;
  std::int32_t step = -1;
  std::int16_t micro_batch = -1;
  std::int8_t pass = 0;  // of training: forward, recompute, gradients; the workload's own numbers
};

// What a kernel took: what it would take on an undisturbed device, what a slow device adds, and a
// random spread (which may be negative).
struct KernelTime {
  Duration duration{};  // in all
  Duration slow{};
  Duration jitter{};
};

class KernelChain;

struct TaskSpan {
  TaskTag tag;
  DeviceId device;
  StreamKind stream = StreamKind::kCompute;
  Time start;
  Time end;
  // The kernels it stands for; null: itself. for_each_kernel (kernel_chain.h) visits them. Valid in
  // the call only.
  const KernelChain* chain = nullptr;
  const KernelTime* times = nullptr;  // per kernel of the chain; null: undisturbed
  Duration slow{};                    // of start to end: what a slow device added
  Duration jitter{};                  // and what a random spread did
};

// One rank's part of a collective: from when the rank reached it to when all it sends and receives
// was done.
struct PartSpan {
  TaskTag tag;
  DeviceId device;
  Time entered;
  Time end;
  DeviceId waited_for;  // whose late start held this part up last; its own device when nobody's did
  Duration wait_peer{};  // how long that was
  // What its transfers brought away and in; -1: not counted (TaskGraph::count_bytes).
  std::int64_t sent_bytes = -1;
  std::int64_t received_bytes = -1;
};

// A collective as a whole: from when its first part was past its start-up to its last end, and what
// no network could beat: its bytes over the tightest resource (links, cuts, copying SMs, memory).
struct CollectiveSpan {
  TaskTag tag;
  Duration elapsed{};
  double bound_s = 0;
};

// A compute stream with nothing to run: what released its next task, and whom it waited for.
enum class WaitCause : std::uint8_t { kPeer, kNetwork, kLaunch, kOther, kIdleEnd };

struct StreamWait {
  TaskTag tag;  // of the task that could not start
  DeviceId device;
  DeviceId waited_for;  // invalid when it is nobody
  WaitCause cause = WaitCause::kOther;
  Time start;
  Duration duration{};
  TaskTag released_by;  // the task or part that ended this wait; kind -1: nobody's end did
};

// A device's memory from `time` on: an item grows or shrinks.
struct MemoryChange {
  DeviceId device;
  Time time;
  std::string_view item;  // "activations"; the text need not outlive the call
  std::int64_t delta_bytes = 0;
};

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_task(const TaskSpan&) {}
  virtual void on_part(const PartSpan&) {}
  virtual void on_collective(const CollectiveSpan&) {}
  virtual void on_wait(const StreamWait&) {}
  virtual void on_memory(const MemoryChange&) {}
};

}  // namespace sim
