// Which constants answer a kernel of a run, and the bound that holds them.
#include "models/costs/calibrated_costs.h"

#include <gtest/gtest.h>

namespace sim {
namespace {

Device plain_device() {
  Device device;
  device.name = "plain";
  device.sms = 100;
  device.peak = {{DType::kBf16, FlopRate(100e12)}, {DType::kFp32, FlopRate(10e12)}};
  device.memory_bandwidth = Bandwidth(1e12);
  return device;
}

KernelConstants norm_kernel(const std::string& source, double start_s, double memory_share) {
  KernelConstants kernel;
  kernel.family = KernelFamily::kStreaming;
  kernel.source = source;
  kernel.form = &kStreamingForm;
  for (const FormParameter& parameter : kernel.form->parameters) {
    kernel.values.push_back(parameter.key == "start"          ? start_s
                            : parameter.key == "memory_share" ? memory_share
                                                              : parameter.absent);
  }
  kernel.label = CostLabel::kFitted;
  kernel.provenance = "rows of a table";
  return kernel;
}

Operator norm(std::int64_t bytes) {
  Operator op;
  op.name = "norm";
  op.activation_bytes = Bytes(bytes);
  return op;
}

TEST(CalibratedCosts, ARunIsNeverFasterThanTheDataSheet) {
  Device device = plain_device();
  // Measured in a loop whose data sat in the cache: twice the bandwidth of the memory.
  device.kernels = {norm_kernel("cached", 0, 2)};
  const KernelCost cost = CalibratedCosts().cost(norm(1'000'000), device, 100);
  EXPECT_EQ(cost.time, Duration(1'000'000));  // 1 MB at 1 TB/s
  EXPECT_EQ(cost.label, CostLabel::kRoofline);
  device.kernels = {norm_kernel("cold", 0, 0.5)};
  const KernelCost cold = CalibratedCosts().cost(norm(1'000'000), device, 100);
  EXPECT_EQ(cold.time, Duration(2'000'000));
  EXPECT_EQ(cold.label, CostLabel::kFitted);
}

TEST(CalibratedCosts, TheFirstSourceAnswersUnlessOneIsNamed) {
  Device device = plain_device();
  device.kernels = {norm_kernel("first", 1e-6, 0.5), norm_kernel("second", 3e-6, 0.5)};
  EXPECT_EQ(CalibratedCosts().cost(norm(1'000'000), device, 100).time, Duration(3'000'000));
  const CalibratedCosts named({{KernelFamily::kStreaming, "second"}});
  EXPECT_EQ(named.cost(norm(1'000'000), device, 100).time, Duration(5'000'000));
}

TEST(CalibratedCosts, LentKernelsAnswerOnlyByName) {
  Device device = plain_device();
  device.kernels = {norm_kernel("lent", 1e-6, 0.5)};
  device.kernels.front().only_by_name = true;
  // The roofline: memory_efficiency is 1 here.
  EXPECT_EQ(CalibratedCosts().cost(norm(1'000'000), device, 100).time, Duration(1'000'000));
  const CalibratedCosts named({{KernelFamily::kStreaming, "lent"}});
  EXPECT_EQ(named.cost(norm(1'000'000), device, 100).time, Duration(3'000'000));
}

}  // namespace
}  // namespace sim
