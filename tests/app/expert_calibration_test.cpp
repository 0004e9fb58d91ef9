// The committed constants of experts' kernels, and the committed page of their errors, are what the
// public tables give today.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "models/calibration/expert_calibration.h"
#include "sim/app/accuracy_experts.h"
#include "sim/app/device_choice.h"
#include "tests/support/shared_data.h"

namespace sim {
namespace {

const std::string kSource = MOE_SOURCE_DIR;

// The kernels whose tables are small: all of them take minutes.
TEST(ExpertCalibration, RefittingGivesTheCommittedConstants) {
  MOE_NEEDS_SHARED_DATA();
  const Catalog catalog;
  int compared = 0;
  for (const char* name : {"h100-experts", "h800-experts"}) {
    ExpertSpec spec = load_expert_spec(kSource + "/models/calibration/specs/" + name + ".yaml");
    std::erase_if(spec.kernels,
                  [](const ExpertKernelSpec& kernel) { return kernel.source != "deepgemm"; });
    const Device device = load_device(catalog, spec.device);
    const std::vector<MeasuredKernel> rows = rows_of_tables(spec, testing::shared_dir());
    for (const ExpertKernelSpec& kernel : spec.kernels) {
      ExpertEffort effort;
      effort.splits = false;
      const KernelConstants fitted =
          calibrate_experts(spec, kernel, rows, device, effort).constants;
      const KernelConstants* committed = nullptr;
      for (const KernelConstants& each : device.kernels) {
        if (each.source == kernel.source && each.called(kernel.measured_as) &&
            each.format == kernel.format) {
          committed = &each;
          break;
        }
      }
      ASSERT_NE(committed, nullptr) << kernel.measured_as;
      EXPECT_EQ(committed->label, CostLabel::kFitted);
      EXPECT_EQ(committed->fitted_to, fitted.fitted_to);
      EXPECT_EQ(committed->covers, fitted.covers);
      EXPECT_EQ(committed->corrections.size(), fitted.corrections.size());
      for (std::size_t p = 0; p < fitted.values.size(); ++p) {
        EXPECT_NEAR(committed->values[p], fitted.values[p],
                    0.02 * std::abs(fitted.values[p]) + 1e-12)
            << kernel.measured_as << " " << kGroupedGemmForm.parameters[p].key;
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 40);
}

std::string read_page(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Every line about DeepGEMM, computed anew, stands in the page; MOE_ACCEPT_GOLDEN=1 writes it
// whole.
TEST(ExpertCalibration, ThePageOfErrorsIsWhatTheCommandPrints) {
  MOE_NEEDS_SHARED_DATA();
  const Catalog catalog;
  const std::string path = kSource + "/models/accuracy.md";
  const std::string page = read_page(path);
  if (std::getenv("MOE_ACCEPT_GOLDEN") != nullptr) {
    const std::string head = page.substr(0, page.find("| all kernels together"));
    std::ofstream(path, std::ios::binary)
        << head
        << expert_accuracy_markdown(measure_expert_accuracy(catalog, testing::shared_dir()));
    return;
  }
  const std::string part =
      expert_accuracy_markdown(measure_expert_accuracy(catalog, testing::shared_dir(), "deepgemm"));
  std::istringstream lines(part.substr(part.find("\n| device, kernel")));
  int compared = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    EXPECT_NE(page.find(line + "\n"), std::string::npos)
        << line << "\nis not in models/accuracy.md: MOE_ACCEPT_GOLDEN=1 writes it anew; say why";
    ++compared;
  }
  EXPECT_GT(compared, 20);
}

}  // namespace
}  // namespace sim
