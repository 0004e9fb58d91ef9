#include "models/costs/borrowed_constants.h"

#include <gtest/gtest.h>

#include "models/costs/calibrated_costs.h"

namespace sim {
namespace {

Device device_of(const std::string& name, int sms, double clock_hz, double bytes_per_s) {
  Device device;
  device.name = name;
  device.sms = sms;
  device.clock_hz = clock_hz;
  device.peak = {{DType::kBf16, FlopRate(100e12)}, {DType::kFp32, FlopRate(10e12)}};
  device.memory_bandwidth = Bandwidth(bytes_per_s);
  return device;
}

KernelConstants streaming(double start_s, double memory_share) {
  KernelConstants kernel;
  kernel.family = KernelFamily::kStreaming;
  kernel.source = "ours";
  kernel.form = find_cost_form("streaming");
  for (const FormParameter& parameter : kernel.form->parameters) {
    kernel.values.push_back(parameter.key == "start"          ? start_s
                            : parameter.key == "memory_share" ? memory_share
                                                              : parameter.absent);
  }
  kernel.label = CostLabel::kFitted;
  kernel.provenance = "rows of a table";
  kernel.fitted_to = {"table#1-3"};
  return kernel;
}

double seconds(const Device& device, const KernelConstants& kernel, std::int64_t bytes) {
  Operator op;
  op.name = "norm";
  op.activation_bytes = Bytes(bytes);
  return to_seconds(calibrated_cost(kernel, {.op = &op}, device, device.sms).time);
}

TEST(BorrowedConstants, SharesOfTheDataSheetAndWhoseTheyAre) {
  Device from = device_of("from", 100, 1e9, 1e12);
  from.kernels = {streaming(2e-6, 0.5)};
  const Device to = device_of("to", 50, 2e9, 4e12);
  const BorrowedKernels wish{"from", {}, {}, {}, BorrowScale::kDataSheet, "alike", {}};
  const std::vector<KernelConstants> lent = borrow(wish, from, to);
  ASSERT_EQ(lent.size(), 1u);
  EXPECT_EQ(lent[0].label, CostLabel::kAssumed);
  EXPECT_EQ(lent[0].provenance,
            "as from (alike; the same shares of the data sheet); there: fitted rows of a table");
  EXPECT_EQ(lent[0].fitted_to, std::vector<std::string>{"table#1-3"});  // still fitted to them
  EXPECT_NEAR(seconds(from, from.kernels[0], 1'000'000), 2e-6 + 2e-6, 1e-12);
  EXPECT_NEAR(seconds(to, lent[0], 1'000'000), 2e-6 + 0.5e-6, 1e-12);
}

TEST(BorrowedConstants, TimesBySmCountAndClockWhateverTheMemoryIs) {
  Device from = device_of("from", 100, 1e9, 1e12);
  from.kernels = {streaming(2e-6, 0.5)};
  const Device to = device_of("to", 50, 1e9, 4e12);  // half of the SMs: twice the time
  const BorrowedKernels wish{"from", {}, {}, {}, BorrowScale::kSmClock, "alike", {}};
  EXPECT_NEAR(seconds(to, borrow(wish, from, to)[0], 1'000'000), 2e-6 + 4e-6, 1e-12);
  Device no_clock = to;
  no_clock.clock_hz = 0;
  EXPECT_THROW(borrow(wish, from, no_clock), Error);
}

TEST(BorrowedConstants, OnlyWhatIsAskedForAndSomethingAtLeast) {
  Device from = device_of("from", 100, 1e9, 1e12);
  from.kernels = {streaming(2e-6, 0.5), streaming(3e-6, 0.5)};
  from.kernels[1].source = "theirs";
  const BorrowedKernels theirs{"from", {}, {"theirs"}, {}, BorrowScale::kDataSheet, "why", {}};
  EXPECT_EQ(borrow(theirs, from, from).size(), 1u);
  const BorrowedKernels none{"from", {KernelFamily::kGemm}, {}, {}, BorrowScale::kDataSheet,
                             "why",  {"file", 3, 9}};
  try {
    borrow(none, from, from);
    FAIL() << "nothing was lent";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              "file:3:9: 'from' has no kernels like that to lend; its file says which there are; "
              "what it borrows itself is not lent again");
  }
}

TEST(BorrowedConstants, FormatsThatNobodyMeasuredAreAnsweredByANearOne) {
  Device device = device_of("d", 100, 1e9, 1e12);
  KernelConstants gemm = streaming(1e-6, 0.5);
  gemm.family = KernelFamily::kGemm;
  gemm.form = find_cost_form("dense-gemm");
  gemm.format = *parse_kernel_format("bf16");
  device.kernels = {gemm};
  std::vector<std::string> formats;
  for (const KernelConstants& each : stand_ins(device)) {
    EXPECT_EQ(each.label, CostLabel::kAssumed);
    formats.emplace_back(to_text(each.format));
  }
  // The device multiplies 8-bit formats in bf16.
  EXPECT_EQ(formats, (std::vector<std::string>{"fp16", "fp8_block", "int8"}));
  device.peak[DType::kFp8] = FlopRate(200e12);
  EXPECT_EQ(stand_ins(device).size(), 2u);  // fp8 is another kernel there
}

}  // namespace
}  // namespace sim
