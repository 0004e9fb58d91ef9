// The committed constants and the committed page of GEMM, attention and MLA are what the public
// tables give today; filters and specifications refuse what they do not know.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "models/calibration/dense_accuracy.h"
#include "models/calibration/dense_fit.h"
#include "models/costs/constants_file.h"
#include "models/device_reader.h"
#include "sim/core/error.h"
#include "tests/support/shared_data.h"

namespace sim {
namespace {

namespace fs = std::filesystem;
const std::string kRoot = MOE_SOURCE_DIR;

// The file holds ten digits of a range.
bool same_range(const KernelConstants& a, const KernelConstants& b) {
  return std::equal(a.range.begin(), a.range.end(), b.range.begin(), b.range.end(),
                    [](const auto& x, const auto& y) {
                      return std::abs(x.first - y.first) <= 1e-9 * std::abs(x.first) &&
                             std::abs(x.second - y.second) <= 1e-9 * std::abs(x.second);
                    });
}

bool same_kernel(const KernelConstants& a, const KernelConstants& b) {
  return a.family == b.family && a.source == b.source && a.format == b.format &&
         a.operators == b.operators && same_range(a, b);
}

void expect_committed(const std::string& spec_name) {
  const DenseSpec spec =
      load_dense_spec(kRoot + "/models/calibration/specs/" + spec_name + ".yaml");
  const Device device = read_device(kRoot + "/models/devices/" + spec.device + ".yaml");
  const ConstantsFile file =
      read_constants_file(kRoot + "/models/calibration/constants/" + spec.device + ".yaml");
  for (const DenseKernelSpec& kernel : spec.kernels) {
    std::vector<MeasuredKernel> rows;
    for (const std::string& table : kernel.tables) {
      const std::vector<MeasuredKernel> more = read_kernels(table, testing::shared_dir());
      rows.insert(rows.end(), more.begin(), more.end());
    }
    DenseEffort effort;
    effort.held_out = false;
    const KernelConstants fitted = calibrate_dense(spec, kernel, rows, device, effort).constants;
    const auto committed =
        std::find_if(file.kernels.begin(), file.kernels.end(),
                     [&](const KernelConstants& each) { return same_kernel(each, fitted); });
    const std::string what = spec.name + " " + std::string(to_text(kernel.family)) + " " +
                             kernel.source + " " + std::string(to_text(kernel.format));
    ASSERT_NE(committed, file.kernels.end()) << what;
    EXPECT_EQ(committed->label, fitted.label) << what;
    EXPECT_EQ(committed->fitted_to, fitted.fitted_to) << what;
    for (std::size_t i = 0; i < fitted.values.size(); ++i) {
      EXPECT_NEAR(committed->values[i], fitted.values[i],
                  0.011 * std::abs(fitted.values[i]) + 1e-12)
          << what << " " << kernel.form->parameters[i].key;
    }
  }
}

TEST(DenseCalibration, RefittingGivesTheCommittedConstants) {
  MOE_NEEDS_SHARED_DATA();
  for (const char* name : {"h800-dense", "h20-dense", "rtx-pro-6000-dense"}) expect_committed(name);
}

TEST(DenseCalibration, ThePageIsWhatTheTablesGive) {
  MOE_NEEDS_SHARED_DATA();
  const fs::path page = fs::path(kRoot) / "models" / "accuracy_dense.md";
  const std::string made = dense_accuracy_markdown(kRoot, testing::shared_dir());
  if (std::getenv("MOE_ACCEPT_GOLDEN") != nullptr) {
    std::ofstream(page) << made;
    GTEST_SKIP() << "rewritten";
  }
  std::ifstream file(page);
  const std::string committed{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(committed, made) << "MOE_ACCEPT_GOLDEN=1 rewrites " << page;
}

// Rows made by a form are fitted back to its constants, whichever rows are left out.
TEST(DenseCalibration, FindsTheConstantsThatMadeTheRows) {
  DenseSpec spec;
  spec.name = "made-up";
  spec.device = "h100-sxm";
  DenseKernelSpec kernel;
  kernel.family = KernelFamily::kStreaming;
  kernel.source = "vllm";
  kernel.form = &kStreamingForm;
  kernel.tables = {"made-up"};
  kernel.free = {"start", "memory_share"};
  kernel.held_out = {"megabytes"};
  const Device device = read_device(kRoot + "/models/devices/h100-sxm.yaml");
  std::vector<MeasuredKernel> rows;
  for (int i = 0; i < 20; ++i) {
    MeasuredKernel row;
    row.id = "made-up#" + std::to_string(i + 1);
    row.table = "made-up";
    row.device = "h100-sxm";
    row.source = "vllm";
    row.family = KernelFamily::kStreaming;
    row.op.activation_bytes = Bytes(std::int64_t{1000} << i);
    row.time_s = 2e-6 + std::ldexp(1000.0, i) / (0.5 * device.memory_bandwidth.count());
    rows.push_back(row);
  }
  rows[7].time_s *= 50;
  rows[7].implausible = true;
  const DenseCalibration result = calibrate_dense(spec, kernel, rows, device);
  EXPECT_NEAR(result.constants.values[0], 2e-6, 2e-8);
  EXPECT_NEAR(result.constants.values[1], 0.5, 0.005);
  EXPECT_EQ(result.constants.label, CostLabel::kFitted);
  EXPECT_EQ(result.implausible, 1);
  EXPECT_EQ(result.fitted.rows, 19);
  EXPECT_LT(result.fitted.p90, 0.01);
  EXPECT_LT(result.held_out.p90, 0.01);
  spec.device = "h800-sxm";  // rows of another machine are an assumption about this one
  EXPECT_EQ(calibrate_dense(spec, kernel, rows, device).constants.label, CostLabel::kAssumed);
  rows.resize(2);
  EXPECT_THROW(calibrate_dense(spec, kernel, rows, device), Error);
}

TEST(DenseCalibration, ASpecificationRefusesWhatItDoesNotKnow) {
  const fs::path file = fs::path(::testing::TempDir()) / "wrong-dense.yaml";
  std::ofstream(file) << "kernel: dense\n"
                         "device: h100-sxm\n"
                         "cite: none\n"
                         "kernels:\n"
                         "- kernel: gemm\n"
                         "  source: cublas\n"
                         "  form: dense-gemm\n"
                         "  tables: [aic-h100-vllm-gem]\n"
                         "  rows: {mm: 4}\n"
                         "  free: [start, compute_shar]\n"
                         "  target: [4]\n";
  ASSERT_TRUE(is_dense_spec(file.string()));
  try {
    load_dense_spec(file.string());
    FAIL() << "it was accepted";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(
        text.find("there is no table 'aic-h100-vllm-gem'; did you mean 'aic-h100-vllm-gemm'?"),
        std::string::npos)
        << text;
    EXPECT_NE(text.find("unknown key 'mm'"), std::string::npos) << text;
    EXPECT_NE(text.find("there is no parameter 'compute_shar'; did you mean 'compute_share'?"),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("a target is [median, 90th percentile] in per cent"), std::string::npos)
        << text;
  }
}

}  // namespace
}  // namespace sim
