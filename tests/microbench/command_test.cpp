// The command `microbench` as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/calibration/measurement_file.h"
#include "tests/support/run_command.h"

namespace sim {
namespace {

using testing::CommandResult;
using ::testing::HasSubstr;
using testing::TempFolder;

CommandResult microbench(const TempFolder& folder, const std::vector<std::string>& arguments) {
  return testing::simulate(folder, arguments);
}

TEST(MicrobenchCommand, WritesAFileThatIsRead) {
  const TempFolder folder;
  const CommandResult result = microbench(folder, {"--backend", "cpu", "--quick", "--only", "norm",
                                                   "--only", "top_k", "--out", "cpu.yaml"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const MeasurementFile file = read_measurement_file(folder.file("cpu.yaml"));
  EXPECT_FALSE(folder.has("cpu.yaml.part"));
  EXPECT_EQ(file.backend, "cpu");
  EXPECT_EQ(file.device.sms, 1);
  EXPECT_EQ(file.failed_checks, 0);
  EXPECT_THAT(file.device.runtime, HasSubstr("OpenBLAS"));
  EXPECT_GE(file.rows.size(), 20u);
  for (const MeasuredCase& row : file.rows) {
    EXPECT_TRUE(row.what.kernel == "norm" || row.what.kernel == "top_k");
    EXPECT_GE(row.repeats, file.method.least_repeats);
  }
  const std::string count = std::to_string(file.rows.size());
  EXPECT_EQ(result.out, count + " cases checked, 0 wrong, " + count + " timed: cpu.yaml\n");
}

TEST(MicrobenchCommand, CheckWritesNothing) {
  const TempFolder folder;
  const CommandResult result =
      microbench(folder, {"--backend", "cpu", "--quick", "--check", "--only", "activation"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, ::testing::MatchesRegex("[0-9]+ cases checked, 0 wrong\n"));
}

TEST(MicrobenchCommand, MistakesAreNamed) {
  const TempFolder folder;
  const auto message = [&](const std::vector<std::string>& arguments) {
    const CommandResult result = microbench(folder, arguments);
    EXPECT_EQ(result.exit_code, 1);
    return result.err;
  };
  EXPECT_EQ(message({"--backend", "cpu"}),
            "microbench: --out FILE is missing; or --check, which writes none\n");
  EXPECT_EQ(message({"--backend", "cpu", "--check", "--out", "x"}),
            "microbench: --check times nothing, so there is no file to write; leave out --out\n");
  EXPECT_EQ(message({"--backend", "cpu", "--check", "--only", "nrm"}),
            "microbench: --only: 'nrm' is not a kernel; did you mean 'norm'?\n");
  EXPECT_EQ(message({"--backend", "cpu", "--out", "no/such/folder/x.yaml"}),
            "microbench: no/such/folder/x.yaml: cannot be written: No such file or directory\n");
  EXPECT_EQ(message({"--backend", "cpu", "--out", "."}),
            "microbench: .: cannot be written: it is a folder; name a file in it\n");
  EXPECT_EQ(message({"--backend", "cuda", "--check", "--threads", "2"}),
            "microbench: --threads is of the CPU's BLAS; leave it out, or use --backend cpu\n");
  EXPECT_THAT(message({"--backend", "cpu", "--check", "--threads", "100000"}),
              HasSubstr("microbench: --threads is 100000, but this machine has 1 to "));
  EXPECT_THAT(message({"--backend", "tpu", "--check"}), HasSubstr("tpu"));
}

// Kernels that a CPU has not: nothing to measure is an error and leaves no file.
TEST(MicrobenchCommand, NothingMeasured) {
  const TempFolder folder;
  const CommandResult result =
      microbench(folder, {"--backend", "cpu", "--only", "peer_copy", "--out", "x.yaml"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("nothing was measured, so no file is written"));
  EXPECT_FALSE(folder.has("x.yaml"));
  EXPECT_FALSE(folder.has("x.yaml.part"));
}

}  // namespace
}  // namespace sim
