#include <gtest/gtest.h>

#include <filesystem>

#include "models/device_reader.h"
#include "sim/core/error.h"

namespace sim {
namespace {

TEST(Devices, EveryFileReads) {
  int devices = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(MOE_SOURCE_DIR) + "/models/devices")) {
    SCOPED_TRACE(entry.path().filename().string());
    const Device device = read_device(entry.path().string());
    EXPECT_EQ(device.name, entry.path().stem().string());
    EXPECT_FALSE(device.source.empty() || device.efficiency_source.empty());
    EXPECT_GE(peak_rate(device, DType::kBf16), peak_rate(device, DType::kFp32));
    EXPECT_GE(peak_rate(device, DType::kFp8), peak_rate(device, DType::kBf16));
    ++devices;
  }
  EXPECT_GE(devices, 14);
}

TEST(Devices, FormatsThatADeviceLacksRunInBf16) {
  const std::string folder = std::string(MOE_SOURCE_DIR) + "/models/devices/";
  const Device a100 = read_device(folder + "a100-sxm-80gb.yaml");
  EXPECT_EQ(multiplied_on(a100, DType::kFp8), DType::kBf16);
  EXPECT_EQ(peak_rate(a100, DType::kMxfp4), FlopRate(312e12));
  EXPECT_DOUBLE_EQ(compute_efficiency(a100, DType::kFp8), 0.869);
  const Device h100 = read_device(folder + "h100-sxm.yaml");
  EXPECT_EQ(peak_rate(h100, DType::kFp8), FlopRate(1979e12));
  EXPECT_DOUBLE_EQ(compute_efficiency(h100, DType::kFp8), 0.709);
  EXPECT_DOUBLE_EQ(compute_efficiency(h100, DType::kBf16), 0.803);
  EXPECT_EQ(h100.memory_capacity, Bytes(80'000'000'000));
}

std::string message_of(const std::string& text) {
  try {
    parse_device(text, "d.yaml");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Devices, AllMistakesAtOnce) {
  EXPECT_EQ(message_of("name: x\nsource: y\nsms: 0\npeak: {bf16: 100, fp64: 1 TFLOP/s}\n"
                       "memory: {bandwidth: 1 TB/s, capacity: 1 GB}\n"
                       "efficiency: {compute: 1.5, memory: 0.9, label: guessed, source: z}\n"),
            "d.yaml:3:6: 'sms' in device is 0, but must lie between 1 and 100000\n"
            "d.yaml:4:7: peak needs the key 'fp32'\n"
            "d.yaml:4:14: 'bf16' in peak: '100' has no unit; add a unit, like '989 TFLOP/s'\n"
            "d.yaml:4:19: unknown key 'fp64' in peak; did you mean 'fp16'?\n"
            "d.yaml:6:23: 'compute' in efficiency is 1.5, but must be between 0.01 and 1\n"
            "d.yaml:6:48: 'guessed' is not a possible 'label' of efficiency; possible: measured, "
            "fitted, published, assumed");
}

TEST(Devices, RatesMustBePositive) {
  EXPECT_EQ(message_of("name: x\nsource: y\nsms: 1\npeak: {bf16: 0 TFLOP/s, fp32: 1 TFLOP/s}\n"
                       "memory: {bandwidth: 1 TB/s, capacity: 1 GB}\n"
                       "efficiency: {compute: 1, memory: 0.9, label: assumed, source: z}\n"),
            "d.yaml:4:14: a peak must be above 0");
  EXPECT_EQ(message_of("name: x\nsource: y\nsms: 1\npeak: {bf16: 1 TFLOP/s, fp32: 1 TFLOP/s}\n"
                       "memory: {bandwidth: 0 TB/s, capacity: 0 GB}\n"
                       "efficiency: {compute: 1, memory: 0.9, label: assumed, source: z}\n"),
            "d.yaml:5:21: a bandwidth must be above 0\n"
            "d.yaml:5:39: a capacity must be above 0");
}

}  // namespace
}  // namespace sim
