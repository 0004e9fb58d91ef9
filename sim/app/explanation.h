// Why the steps of a run took as long as they did, found in what the engine recorded: the causes
// along the critical path, and for each the ranks, layers, experts and links it lay on.
//
// Nothing here reads the scenario's list of disturbances: a slow device or link shows in the
// records or it had no effect.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/app/scenario.h"
#include "sim/app/step_evidence.h"
#include "sim/workloads/kinds.h"

namespace sim {

// Time of a cause that lies on one rank, layer or link.
struct CausePlace {
  std::string name;  // "gpu 3", "layer 12", "node0/gpu3/nvlink-up"
  Duration time{};
};

struct ExplainedCause {
  Cause cause = Cause::kExpert;
  Duration time{};                  // summed over the steps explained
  std::vector<CausePlace> devices;  // most time first, as the next two
  std::vector<CausePlace> layers;
  std::vector<CausePlace> links;  // of network and congestion: where the bytes took longest
};

// A device that ran its kernels slower than it should have, as the critical path saw it.
struct SlowDevice {
  DeviceId device;
  double factor = 1;  // time over what it would have been
  Time from;          // the first and the last such kernel of the path
  Time until;
  bool throughout = false;  // from the first to the last kernel of the path on this device
  Duration cost{};
};

// An expert of a rank that was waited for.
struct BusyExpert {
  DeviceId device;
  int layer = 0;
  ExpertId expert;
  std::int64_t rows = 0;  // in the steps explained
  double mean_rows = 0;   // of an expert of the layer
  int copies = 1;
};

// A link that bounded exchanges of the path.
struct BoundingLink {
  std::string name;
  Duration time{};            // of the path
  double busy = 0;            // share of the steps with bytes on it
  double used = 0;            // of its capacity while busy
  double capacity_share = 1;  // of the greatest capacity of a link of its kind
  bool known = false;         // a link of the table: the four above hold
};

struct Saving {
  std::string name;
  std::string means;
  std::string not_run;           // why it has no effect; empty: it ran
  std::optional<Duration> step;  // mean per step explained
};

struct Explanation {
  std::optional<int> step;             // the only one that is explained
  int steps = 0;                       // that are explained
  Duration time{};                     // of them all
  std::vector<ExplainedCause> causes;  // most time first; they add up to `time`
  std::vector<SlowDevice> slow;        // most cost first
  std::vector<BusyExpert> experts;     // of the stragglers, by rows over mean
  std::vector<BoundingLink> links;     // most time first
  std::vector<CausePlace> stages;      // of a pipeline: time of the path on each
  Duration pipeline_bubble{};          // mean over ranks, summed over steps
  Duration exposed{};                  // waiting for peers and the network, likewise
  std::string verdict;
  std::vector<Saving> savings;
};

class Explainer {
 public:
  // Keeps a reference. `step`: the only one to explain; absent: all.
  Explainer(const Scenario& scenario, std::optional<int> step);

  void add(const StepEvidence& evidence);
  Explanation result() const;  // without savings. REQUIRES: a step was added

 private:
  struct Places {
    Duration time{};
    std::map<int, Duration> devices;
    std::map<int, Duration> layers;
    std::map<std::string, Duration> links;
  };
  struct Slow {
    Duration cost{};
    Duration kernels{};  // of the same kernels, cost included
    std::optional<Time> from;
    Time until;
  };
  struct LinkSum {
    double bytes = 0;
    Duration busy{};
    double capacity = 0;
  };
  struct ExpertSum {
    std::int64_t rows = 0;
    int copies = 1;
  };
  void add_segment(const PathSegment& segment, const StepEvidence& evidence);
  void add_records(const StepEvidence& evidence);
  std::vector<BusyExpert> busy_experts() const;
  std::vector<BoundingLink> bounding_links() const;
  std::vector<SlowDevice> slow_devices() const;

  const Scenario& scenario_;
  std::optional<int> step_;
  int steps_ = 0;
  Duration time_{};
  Places causes_[kCauseNames.size()];
  std::map<int, Slow> slow_;                            // by device
  std::map<int, std::pair<Time, Time>> device_spans_;   // of its kernels on the path
  std::map<std::pair<int, int>, Duration> stragglers_;  // by (device, layer)
  std::map<std::pair<int, int>, ExpertSum> experts_;    // by (layer, expert)
  std::map<std::string, LinkSum> links_;
  std::map<int, Duration> stages_;
  Duration bubble_{};
  Duration exposed_{};
  std::vector<ExpertPlacement> placements_;
};

// One sentence from the rest.
std::string verdict_of(const Explanation& explanation, const Scenario& scenario);

}  // namespace sim
