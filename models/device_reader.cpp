#include "models/device_reader.h"

#include <array>

#include "models/costs/constants_file.h"
#include "sim/core/error.h"
#include "sim/input/yaml_reader.h"

namespace sim {

namespace {

constexpr std::array<DType, 8> kMultiplied = {DType::kFp32,  DType::kTf32, DType::kBf16,
                                              DType::kFp16,  DType::kFp8,  DType::kInt8,
                                              DType::kMxfp4, DType::kNvfp4};

void read_efficiency(YamlMap map, Device& device) {
  const NumberRange share{0.01, 1};
  device.compute_efficiency = map.number("compute", share);
  device.memory_efficiency = map.number("memory", share);
  for (const DType dtype : kMultiplied) {
    if (map.has(to_text(dtype))) {
      device.efficiency_of[dtype] = map.number(to_text(dtype), share);
    }
  }
  static const std::vector<std::string> labels = {"measured", "fitted", "published", "assumed"};
  device.efficiency_label = map.choice("label", labels);
  device.efficiency_source = map.text("source");
  map.finish();
}

// A file of the microbenchmark lacks every key of a device: one message instead.
void check_not_measurement(const YamlNode& root) {
  if (!root.is_map()) return;
  for (const auto& [key, value] : root.entries()) {
    if (key != "format" || !value.is_scalar() || value.text() != "moe-microbench") continue;
    throw Error(value.place(), "this is a measurement",
                "`simulate calibrate fit` makes a device of it");
  }
}

Device read(YamlDocument& document) {
  check_not_measurement(document.root());
  Mistakes mistakes;
  YamlMap root(document.root(), "device", mistakes);
  Device device;
  device.name = root.text("name");
  device.source = root.text("source");
  device.sms = static_cast<int>(root.count("sms", {1, 100'000}));
  if (root.has("clock")) {
    device.clock_hz = root.frequency("clock");
    if (device.clock_hz < 1e6) root.mistake("clock", "a clock is at least 1 MHz");
  }
  YamlMap peak = root.map("peak");
  for (const DType dtype : kMultiplied) {
    const bool required = dtype == DType::kBf16 || dtype == DType::kFp32;
    if (!required && !peak.has(to_text(dtype))) continue;
    const std::size_t before = mistakes.list().size();
    device.peak[dtype] = peak.flop_rate(to_text(dtype));
    if (mistakes.list().size() == before && device.peak[dtype] <= FlopRate(0)) {
      peak.mistake(to_text(dtype), "a peak must be above 0");
    }
  }
  peak.finish();
  YamlMap memory = root.map("memory");
  const std::size_t before = mistakes.list().size();
  device.memory_bandwidth = memory.bandwidth("bandwidth");
  device.memory_capacity = memory.bytes("capacity");
  if (mistakes.list().size() == before) {
    if (device.memory_bandwidth <= Bandwidth(0)) {
      memory.mistake("bandwidth", "a bandwidth must be above 0");
    }
    if (device.memory_capacity <= Bytes(0)) {
      memory.mistake("capacity", "a capacity must be above 0");
    }
  }
  memory.finish();
  read_efficiency(root.map("efficiency"), device);
  device.kernels = read_kernel_list(root.list_or_empty("kernels"), mistakes);
  root.finish();
  mistakes.throw_if_any();
  return device;
}

}  // namespace

Device read_device(const std::string& path) { return read(*YamlDocument::load(path)); }

Device parse_device(const std::string& text, const std::string& file) {
  return read(*YamlDocument::parse(text, file));
}

Device at_clock(const Device& device, double hz) {
  SIM_CHECK(device.clock_hz > 0 && hz > 0, "a device whose clock is set has one");
  Device result = device;
  for (auto& [dtype, peak] : result.peak) peak = FlopRate(peak.count() * hz / device.clock_hz);
  result.clock_hz = hz;
  return result;
}

DType multiplied_on(const Device& device, DType dtype) {
  if (device.peak.contains(dtype)) return dtype;
  if (dtype == DType::kTf32) return DType::kFp32;
  return DType::kBf16;
}

FlopRate peak_rate(const Device& device, DType dtype) {
  return device.peak.at(multiplied_on(device, dtype));
}

double compute_efficiency(const Device& device, DType dtype) {
  const auto found = device.efficiency_of.find(multiplied_on(device, dtype));
  return found == device.efficiency_of.end() ? device.compute_efficiency : found->second;
}

}  // namespace sim
