// Kernels, host work and collectives on in-order streams, run on the event loop.
//
// A task starts when it is the oldest of its stream, everything it comes after has ended, and what
// it holds (SMs) is free. Tasks are fixed-size records in an arena whose slots are reused, and the
// graph may grow while it runs, so memory is bounded by what is in flight.
//
// Causes: every task carries, per cause, the picoseconds of the path that ends in it: those of the
// predecessor that released it last, plus its own. At the end of a step the path's causes therefore
// add up to the step exactly, and no history is kept. A task added by a callback (when_done) when
// all it comes after has ended goes on from the callback's path, unless a new step was begun.
//
// A task may only come after tasks that exist already, so no circle can be built and a run always
// ends.
//
// A collective is one object with a part per rank. A transfer of it begins when its sender has
// reached its part and the transfer's stage (one-sided) or when both have (rendezvous); a part ends
// when all it sends and receives is done (collective_body.h). No barrier is added.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/core/collective_body.h"
#include "sim/core/device_speeds.h"
#include "sim/core/event_loop.h"
#include "sim/core/fluid_network.h"
#include "sim/core/held_resource.h"
#include "sim/core/kernel_chain.h"
#include "sim/core/observer.h"
#include "sim/core/path_log.h"
#include "sim/core/port_run.h"

namespace sim {

using StreamId = Id<struct StreamTag>;
using HeldId = Id<struct HeldTag>;

struct TaskId {
  std::int32_t index = -1;
  std::uint32_t generation = 0;
  bool valid() const { return index >= 0; }
};

struct TaskSpec {
  StreamId stream;
  TaskTag tag;
  Duration duration{};
  CauseShare shares[2] = {};  // how the duration is booked; what is missing goes to shares[0].cause
  HeldId held;                // invalid: holds nothing
  std::int64_t held_amount = 0;
  Duration gap_inside{};  // of the stream's gap, what the duration holds already
  // Several kernels as one task: then duration, shares and gap_inside are the chain's. It was built
  // for the gap of the stream, and lives until the task has ended.
  const KernelChain* chain = nullptr;
};

struct PartSpec {
  StreamId stream;
  std::vector<TaskId> after;
  HeldId held;
  std::int64_t held_amount = 0;
};

class TaskGraph {
 public:
  // Which causes the core books itself.
  struct CoreCauses {
    CauseId network = 0;     // a part's own bytes on idle links
    CauseId congestion = 0;  // what sharing links with others adds
    CauseId startup = 0;     // serial start of a collective
    CauseId launch = 0;      // gaps between kernels of one stream
    // Both only with set_speeds.
    CauseId slow_device = 0;  // what a slow device adds to a kernel
    CauseId jitter = 0;       // what a random spread of kernel times does
  };

  TaskGraph(EventLoop& loop, Observer& observer, CoreCauses causes);
  ~TaskGraph();
  TaskGraph(const TaskGraph&) = delete;
  TaskGraph& operator=(const TaskGraph&) = delete;

  // Both before the first stream; null: none. Kept by reference.
  void set_path_log(PathLog* log) { path_log_ = log; }
  void set_speeds(DeviceSpeeds* speeds) { speeds_ = speeds; }

  FluidNetwork& network() { return network_; }
  Time now() const { return loop_.now(); }
  // `gap`: least time between the end of one task of the stream and the start of the next.
  StreamId add_stream(DeviceId device, StreamKind kind, Duration gap);
  HeldId add_held(std::int64_t capacity);

  TaskId add_task(const TaskSpec& spec, std::span<const TaskId> after);
  using BodyMaker = std::function<void(CollectiveBody&)>;
  // Returns the part's task of every rank, in the order of `parts`.
  std::vector<TaskId> add_collective(TaskTag tag, std::span<const PartSpec> parts,
                                     BodyMaker make_body);
  // Runs `done` when everything in `after` has ended, with the causes of the path that ended last.
  using Done = std::function<void(Time, const CauseVector&)>;
  void when_done(std::span<const TaskId> after, Done done);

  // From now on the parts of collectives tell the bytes they send and receive.
  void count_bytes() { count_bytes_ = true; }

  // A stream's idle time and the causes of a path are counted from here on; called when a step
  // begins.
  void mark_step_begin();
  // Reports the compute streams' idle time from their last task to now.
  void report_idle_end(TaskTag tag);

  std::uint64_t tasks_run() const { return tasks_run_; }
  std::size_t unfinished() const { return live_; }
  // Why nothing moves though tasks are left: the cycle of tasks that wait for each other, or
  // transfers without bandwidth.
  std::string describe_stuck(const std::function<std::string(TaskTag, DeviceId)>& name) const;
  // The device that has stopped (DeviceSpeeds::stops) and that others waited for first.
  struct StoppedDevice {
    DeviceId device;
    Time stopped;
    // Who reached a collective that the device never did, and when. Nobody: all others ended their
    // work, the last one at that time.
    DeviceId noticed_by;
    Time waiting_since;
    TaskTag in;
  };
  // None: no device has left work undone because it stopped. REQUIRES: no event is left.
  std::optional<StoppedDevice> stopped_device() const;

 private:
  // kStopped: its device begins nothing any more.
  enum class State : std::uint8_t { kFree, kWaiting, kQueuedForHeld, kRunning, kStopped };
  enum class ReleaseKind : std::uint8_t { kNone, kTask, kHost, kPart };
  struct Releaser {
    ReleaseKind kind = ReleaseKind::kNone;
    DeviceId peer;    // of a part: whose arrival its path began with
    Time peer_ready;  // and when that was
    TaskTag tag;
  };
  // What let tasks go: shared by all that one end released, copied by the one that adds to it.
  struct Release {
    CauseVector causes{};
    Releaser by;
    Releaser before;           // of a part: what had released the peer, where that was a part too
    PathRecordId record = -1;  // of what released, with a path log
    std::int32_t users = 0;
  };
  struct Task {
    TaskSpec spec;
    std::int32_t pending = 0;      // predecessors that have not ended
    std::int32_t first_edge = -1;  // to its successors
    std::int32_t next_in_stream = -1;
    std::int32_t collective = -1;
    std::int32_t part = -1;
    std::int32_t callback = -1;
    std::int32_t release = -1;  // slot of its Release; -1 until released
    std::uint32_t generation = 0;
    State state = State::kFree;
    Time start;
    Duration slow{};          // of its duration
    Duration jitter{};        // likewise
    std::int32_t times = -1;  // slot of its kernels' times, of a disturbed chain
  };
  struct Edge {
    std::int32_t task;
    std::int32_t next;
  };
  struct Stream {
    DeviceId device;
    StreamKind kind;
    Duration gap;
    std::int32_t head = -1;
    std::int32_t tail = -1;
    Time last_end;
    Time stops = Time::max();
    bool has_run = false;
  };
  struct PartState {
    std::int32_t task = -1;
    DeviceId device;
    std::int32_t stages_left = 0;
    bool entered = false;
    bool done = false;
    Time entered_at;
    std::int32_t release = -1;  // its task's when it was ready, kept until the collective ends
  };
  // What a path through a collective adds to the causes of the part that it began with.
  struct PathInside {
    Duration startup{};
    Duration network{};
    Duration congestion{};
  };
  // A stage of one part. Its slot is part * stage_count + stage.
  struct StageState {
    std::int32_t outstanding = 0;  // transfers it sends or receives that have not ended
    std::int32_t before = 0;       // stages of this part that come first and are not done
    bool open = false;
    Time opened_at;
    Duration alone{};        // its own bytes on idle links
    ResourceId tightest;     // of them
    PathInside path;         // that opened it
    std::int32_t root = -1;  // the part whose arrival that path began with
  };
  struct TransferState {
    std::int32_t waits = 0;       // parties that have not reached it
    std::int32_t initiator = -1;  // slot of the stage that reached it last
  };
  struct Collective {
    TaskTag tag;
    BodyMaker make_body;
    CollectiveBody body;
    std::vector<PartState> parts;
    std::int32_t stage_count = 1;
    std::vector<StageState> stages;               // by slot
    std::vector<std::vector<StageId>> followers;  // by stage: who comes after it; empty: one stage
    std::vector<TransferState> transfers;
    // Transfers grouped by slot: of slot i those it sends are by_part[begin[2i], begin[2i + 1]),
    // those it receives by_part[begin[2i + 1], begin[2i + 2]).
    std::vector<std::uint32_t> by_part;
    std::vector<std::uint32_t> begin;
    std::unique_ptr<PortRun> port_run;  // of a body with ports
    double bound_s = 0;                 // its bytes over the tightest resource
    ResourceId tightest;
    std::uint64_t capacity_changes = 0;  // of the network when the bound was taken
    std::optional<Time> first_open;
    std::int32_t parts_left = 0;
    bool filled = false;
    bool live = false;
  };

  std::int32_t new_task(const TaskSpec& spec);
  void connect(std::int32_t task, std::span<const TaskId> after);
  void enlist(std::int32_t task);
  std::int32_t new_release();
  void drop_release(std::int32_t slot);
  void share_release(std::int32_t task, std::int32_t slot);
  CauseVector& own_causes(Task& task);
  void try_start(std::int32_t task);
  void start(std::int32_t task);
  void end_task(std::int32_t task);
  bool disturb(Task& task, const Stream& stream);
  void report_wait(std::int32_t task);
  void finish(std::int32_t task, const Releaser& by, const Releaser& before,
              const PathRecord* part = nullptr);
  void run_callback(std::int32_t task);

  void enter_part(std::int32_t task);
  void fill_body(Collective& collective);
  static void link_stages(Collective& collective);
  void fill_ports(Collective& collective);
  void bound(Collective& collective);
  void compute_alone(Collective& collective);
  void part_ready(std::int32_t collective, std::int32_t part);
  void delay_stage(std::int32_t collective, std::int32_t slot);
  void open_stage(std::int32_t collective, std::int32_t slot);
  void reach_transfer(std::int32_t collective, std::uint32_t transfer, std::int32_t slot);
  void launch_transfer(std::int32_t collective, std::uint32_t transfer);
  void transfer_ended(std::uint64_t tag);
  void stage_served(std::int32_t collective, std::int32_t slot, std::int32_t initiator);
  void ports_served(std::int32_t collective);
  void part_served(std::int32_t collective, std::int32_t slot, std::int32_t initiator);
  PathInside path_to_now(const StageState& initiator, const StageState& served) const;
  void certify(const Collective& collective);
  void add_bytes(const Collective& collective, std::int32_t part, PartSpan& span) const;
  enum class EndedBy : std::uint8_t { kTransfers, kFloor };
  void end_part(std::int32_t collective, std::int32_t slot, std::int32_t initiator, EndedBy by);

  EventLoop& loop_;
  Observer& observer_;
  CoreCauses causes_;
  FluidNetwork network_;
  std::vector<Stream> streams_;
  std::vector<HeldResource> held_;
  std::vector<Task> tasks_;
  std::vector<std::int32_t> free_tasks_;
  std::vector<Edge> edges_;
  std::int32_t free_edge_ = -1;
  std::vector<Release> releases_;
  std::vector<std::int32_t> free_releases_;
  std::vector<std::unique_ptr<Collective>> collectives_;
  std::vector<std::int32_t> free_collectives_;
  std::vector<Done> callbacks_;
  std::vector<std::int32_t> free_callbacks_;
  std::vector<double> load_scratch_;
  std::vector<std::int32_t> ready_;  // scratch of finish(), which may be called inside itself
  std::int32_t context_ = -1;        // release of the callback under way
  PathLog* path_log_ = nullptr;
  DeviceSpeeds* speeds_ = nullptr;
  std::vector<std::vector<KernelTime>> times_;  // of disturbed chains under way
  std::vector<std::int32_t> free_times_;
  Time step_begin_;
  std::uint64_t tasks_run_ = 0;
  std::size_t live_ = 0;
  bool count_bytes_ = false;
};

}  // namespace sim
