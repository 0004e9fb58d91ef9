// What a run leaves behind, as values: one struct per table of the results database.
//
// Each struct is a row of the table named beside it, without run_id, which the store adds, and
// without step where the row sits in a StepBatch. Column names are in analysis/schema.sql.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/core/id.h"
#include "sim/core/units.h"

namespace sim {

struct RunRecord {  // runs
  std::string name;
  std::string kind;  // layer | prefill | decode | training
  std::string model;
  std::string cluster;
  int devices = 0;
  std::string scenario;  // the whole scenario as run, defaults included, as YAML text
  std::uint64_t seed = 0;
  std::string version;
  std::string started_at;  // wall clock, ISO 8601; not in the dump
};

struct StepRecord {  // steps
  std::int64_t step = 0;
  Time start{};
  Duration duration{};
  std::int64_t tokens = 0;  // that leave: decode accepted, prefill prompt, training global batch
  std::int64_t dropped_choices = 0;
  double exposed_communication_fraction = 0;  // mean over ranks
};

// Times are means over ranks of the routed block `layer` in this step, micro-batches summed.
struct LayerRecord {  // layers
  int layer = 0;
  Duration attention{};
  Duration gate{};
  Duration dispatch{};          // entry to end
  Duration dispatch_network{};  // without waiting for peers
  Duration expert{};
  Duration shared_expert{};
  Duration combine{};
  Duration combine_network{};
  double imbalance_max_over_mean = 1;         // rows per rank after replication
  double expert_imbalance_max_over_mean = 1;  // rows per logical expert
  std::int64_t tokens = 0;
  std::int64_t rows = 0;     // (token, expert) pairs computed
  std::int64_t dropped = 0;  // (token, expert) pairs over capacity
};

// The compute stream of one device: the busy and the waiting times add up to the step.
struct DeviceRecord {  // devices
  DeviceId device;
  Duration attention{};
  Duration expert{};
  Duration dense{};          // dense and shared FFN, LM head
  Duration communication{};  // communication kernels on the compute stream
  Duration other{};          // norms, gate, permute, sampling, ...
  Duration wait_peer{};
  Duration network{};
  Duration launch{};
  Duration pipeline_bubble{};
  Duration idle_end{};
  Bytes memory;  // peak of the step
};

struct LinkRecord {  // links
  std::string link;  // its name in the cluster
  Bytes bytes;
  Duration busy{};  // with at least one transfer on it
  Bandwidth capacity;
  double utilisation = 0;  // bytes over capacity times the step
};

struct ExpertRecord {  // experts
  int layer = 0;
  ExpertId expert;
  std::int64_t rows = 0;
  int replicas = 1;
};

struct RequestRecord {  // requests: that finished in this step
  std::int64_t request = 0;
  DeviceId device;
  Time arrival{};
  Time first_token{};
  Time finish{};
  std::int64_t prompt_tokens = 0;
  std::int64_t output_tokens = 0;
};

struct CauseRecord {  // causes: along the critical path; they add up to the step exactly
  std::string cause;
  Duration duration{};
};

struct WaitRecord {  // waits
  std::optional<int> layer;
  DeviceId device;
  std::optional<DeviceId> waited_for;
  std::string cause;
  Duration duration{};
};

struct SpanRecord {  // spans: only with a timeline
  DeviceId device;
  std::string stream;
  std::string name;
  std::optional<int> layer;
  Time start{};
  Duration duration{};
};

// All of one step; committed together or not at all.
struct StepBatch {
  StepRecord step;
  std::vector<LayerRecord> layers;
  std::vector<DeviceRecord> devices;
  std::vector<LinkRecord> links;
  std::vector<ExpertRecord> experts;
  std::vector<RequestRecord> requests;
  std::vector<CauseRecord> causes;
  std::vector<WaitRecord> waits;
  std::vector<SpanRecord> spans;
};

struct MetricRecord {  // metrics; REQUIRES: value is finite, names are unique in a run
  std::string name;
  double value = 0;
  std::string unit;  // "s", "tokens/s", "bytes"; "" for a ratio
};

struct TrafficRecord {  // traffic: payload from device to device, summed over the steps
  int layer = 0;
  DeviceId source;
  DeviceId destination;
  std::string phase;  // dispatch | combine | ...
  Bytes bytes;
};

struct CostRecord {  // costs: time that rests on one kernel's estimate, summed over the run
  std::string kernel;
  std::string device;  // device type
  std::string label;   // measured | fitted | published | roofline | assumed
  std::string source;
  Duration duration{};
  bool in_range = true;  // false: asked outside the calibrated range
};

struct MemoryRecord {  // memory: the items of a device add up to its peak
  DeviceId device;
  std::string item;
  Bytes bytes;
};

// What is known when the run ends; committed together with its status.
struct RunResult {
  std::string fingerprint;
  double wall_s = 0;    // not in the dump
  bool failed = false;  // the run was aborted, as when a rank stops
  std::vector<MetricRecord> metrics;
  std::vector<TrafficRecord> traffic;
  std::vector<CostRecord> costs;
  std::vector<MemoryRecord> memory;
};

}  // namespace sim
