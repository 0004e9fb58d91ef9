#include "sim/app/timeline_recorder.h"

#include <algorithm>
#include <utility>

#include "sim/core/error.h"
#include "sim/core/kernel_chain.h"
#include "sim/workloads/kinds.h"

namespace sim {
namespace {

constexpr std::string_view kStreamNames[] = {"compute", "communication", "copy", "host"};
constexpr std::string_view kCategories[] = {"kernel", "communication", "copy", "host"};
// Track numbers are unique over all processes: viewers want it so.
constexpr int kTracksPerDevice = 100;
constexpr int kTracksPerKind = kTracksPerDevice / 4;
// The viewer's tick: an arrow's end is this far inside its slice.
constexpr Duration kTick{1000};

bool same(const TaskTag& a, const TaskTag& b) {
  return a.kind == b.kind && a.layer == b.layer && a.step == b.step &&
         a.micro_batch == b.micro_batch && a.pass == b.pass;
}

}  // namespace

TimelineRecorder::TimelineRecorder(const TimelineChoice& choice, std::vector<std::string> devices,
                                   Label label)
    : choice_(choice),
      whole_(choice.file),
      out_(whole_.name(), std::ios::binary | std::ios::trunc),
      writer_(out_, choice.limit),
      label_(std::move(label)) {
  for (std::string& name : devices) {
    devices_.emplace_back();
    devices_.back().name = std::move(name);
  }
}

bool TimelineRecorder::chosen(const TaskTag& tag, DeviceId device) const {
  return choice_.ranks.contains(device.value()) &&
         (choice_.layers.every() || choice_.layers.contains(tag.layer)) &&
         choice_.steps.contains(tag.step);
}

void TimelineRecorder::use(DeviceId device) {
  Device& at = devices_[device.index()];
  if (at.named) return;
  at.named = true;
  writer_.name_process(process_of(device), at.name);
}

int TimelineRecorder::new_track(DeviceId device, StreamKind kind, Time last_end) {
  use(device);
  const std::size_t k = static_cast<std::size_t>(kind);
  std::vector<Lane>& lanes = devices_[device.index()].lanes[k];
  SIM_CHECK(lanes.size() < static_cast<std::size_t>(kTracksPerKind),
            "a device has few streams of one kind");
  const int track = device.value() * kTracksPerDevice + static_cast<int>(k) * kTracksPerKind +
                    static_cast<int>(lanes.size()) + 1;
  std::string name(kStreamNames[k]);
  if (!lanes.empty()) name += " " + std::to_string(lanes.size() + 1);
  writer_.name_track(process_of(device), track, name);
  lanes.push_back({track, last_end});
  return track;
}

// The first track of this kind that is free at `start`.
int TimelineRecorder::track_for(DeviceId device, StreamKind kind, Time start, Time end) {
  for (Lane& lane : devices_[device.index()].lanes[static_cast<std::size_t>(kind)]) {
    if (lane.last_end > start) continue;
    lane.last_end = end;
    return lane.track;
  }
  return new_track(device, kind, end);
}

// Where the communication that runs at `time` and has not ended will be drawn.
int TimelineRecorder::track_at(DeviceId device, Time time) {
  constexpr StreamKind kKind = StreamKind::kCommunication;
  for (const Lane& lane : devices_[device.index()].lanes[static_cast<std::size_t>(kKind)]) {
    if (lane.last_end <= time) return lane.track;
  }
  return new_track(device, kKind, Time{});
}

void TimelineRecorder::on_part(const PartSpan& span) { part_ = span; }

void TimelineRecorder::on_task(const TaskSpan& span) {
  const std::optional<PartSpan> part = std::exchange(part_, std::nullopt);
  if (part && part->device == span.device && same(part->tag, span.tag)) {
    if (chosen(span.tag, span.device))
      write_slice(span.tag, span.device, span.stream, part->entered, span.end, &*part);
    return;
  }
  for_each_kernel(span, [&](const TaskSpan& kernel, Duration) {
    if (kernel.end > kernel.start && chosen(kernel.tag, kernel.device))  // no time: not drawn
      write_slice(kernel.tag, kernel.device, kernel.stream, kernel.start, kernel.end, nullptr);
  });
}

void TimelineRecorder::write_slice(const TaskTag& tag, DeviceId device, StreamKind stream,
                                   Time start, Time end, const PartSpan* part) {
  const int track = track_for(device, stream, start, end);
  const std::string_view name = kTaskKindNames[static_cast<std::size_t>(tag.kind)];
  const std::string label = label_(tag, device);
  std::vector<TimelineArgument> arguments;
  if (tag.layer >= 0) arguments.push_back({"layer", std::int64_t{tag.layer}});
  arguments.push_back({"step", std::int64_t{tag.step}});
  if (tag.micro_batch >= 0) {
    arguments.push_back({"micro_batch", std::int64_t{tag.micro_batch}});
    arguments.push_back({"pass", kPassKindNames[static_cast<std::size_t>(tag.pass)]});
  }
  if (!label.empty()) arguments.push_back({"label", std::string_view(label)});
  if (part != nullptr) {
    if (part->sent_bytes >= 0) {
      arguments.push_back({"sent_bytes", part->sent_bytes});
      arguments.push_back({"received_bytes", part->received_bytes});
    }
    if (part->waited_for.valid() && part->waited_for != device) {
      arguments.push_back({"waited_for_gpu", std::int64_t{part->waited_for.value()}});
      arguments.push_back({"waited_us", static_cast<double>(part->wait_peer.count()) * 1e-6});
    }
  }
  const std::string_view category = kCategories[static_cast<std::size_t>(stream)];
  if (writer_.slice(process_of(device), track, name, category, start, end - start, arguments)) {
    SpanRecord record;
    record.device = device;
    record.stream = kStreamNames[static_cast<std::size_t>(stream)];
    record.name = name;
    if (tag.layer >= 0) record.layer = tag.layer;
    record.start = start;
    record.duration = end - start;
    spans_.push_back(std::move(record));
  }
  if (part == nullptr) return;
  devices_[device.index()].last_part = {tag, start, end, track};
  write_arrow(*part, track);
}

// From the part whose arrival this one's last bytes waited for, to this one's end.
void TimelineRecorder::write_arrow(const PartSpan& part, int track) {
  const DeviceId sender = part.waited_for;
  if (!sender.valid() || sender == part.device || !choice_.ranks.contains(sender.value())) return;
  const Device& from = devices_[sender.index()];
  TimelinePoint begin{process_of(sender), -1, part.entered + part.wait_peer + kTick};
  const TimelinePoint end{process_of(part.device), track, part.end - kTick};
  if (from.last_part.track >= 0 && same(from.last_part.tag, part.tag)) {  // it has ended already
    begin.time = std::min(begin.time, from.last_part.end - kTick);
    begin.track = from.last_part.track;
    if (begin.time < from.last_part.start) return;  // too short to hold on to
  } else {
    begin.track = track_at(sender, begin.time - kTick);
  }
  if (end.time <= begin.time || end.time < part.entered) return;  // shorter than the ticks
  writer_.arrow(begin, end, kTaskKindNames[static_cast<std::size_t>(part.tag.kind)]);
}

void TimelineRecorder::on_memory(const MemoryChange& change) {
  Device& device = devices_[change.device.index()];
  device.memory_bytes += change.delta_bytes;
  if (!choice_.ranks.contains(change.device.value()) || !choice_.steps.contains(step_)) return;
  use(change.device);
  writer_.counter(process_of(change.device), "memory", "bytes", change.time,
                  static_cast<double>(device.memory_bytes));
}

std::vector<SpanRecord> TimelineRecorder::take_step(int step, Time end, LinkSampler& links) {
  if (choice_.steps.contains(step)) {
    links.write(writer_, static_cast<int>(devices_.size()) + 1, end);
  }
  links.clear(end);
  step_ = step + 1;
  return std::exchange(spans_, {});
}

TimelineReport TimelineRecorder::finish() {
  const TimelineArgument notes[] = {
      {"made by", std::string_view("simulate")},
      {"links", std::string_view("the busiest of each step, sampled")}};
  writer_.finish(notes);
  out_.close();
  if (!out_) {
    throw Error(Place{choice_.file}, "the timeline could not be written",
                "is there space on the disk?");
  }
  whole_.keep();
  return {choice_.file, writer_.events(), writer_.left_out()};
}

}  // namespace sim
