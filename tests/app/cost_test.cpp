// simulate cost: one kernel, and many in a file.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "sim/app/kernel_kinds.h"
#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

// 100 SMs at 1 GHz; every constant is round, so that times follow by hand.
constexpr const char* kDevice = R"(name: toy
source: made up
sms: 100
clock: 1 GHz
peak: {bf16: 100 TFLOP/s, fp8: 200 TFLOP/s, fp32: 10 TFLOP/s}
memory: {bandwidth: 1 TB/s, capacity: 16 GB}
efficiency: {compute: 0.8, memory: 0.5, label: assumed, source: made up}
kernels:
- {kernel: streaming, source: ours, form: streaming, constants: {start: 2 us, memory_share: 0.5}, range: {bytes: [1000, 1000000]}, label: measured, provenance: "by hand"}
)";

class Cost : public Refusal {
 protected:
  void SetUp() override {
    Refusal::SetUp();
    folder_.write("toy.yaml", kDevice);
  }
  nlohmann::json ask(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "cost");
    arguments.push_back("--json");
    const CommandResult result = simulate(folder_, arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return nlohmann::json::parse(result.out, nullptr, false);
  }
};

TEST_F(Cost, AKernelByItsConstantsAndWhetherTheyHoldThere) {
  // 2 us + 400 KB over half of 1 TB/s.
  const auto inside = ask(
      {"--device", "toy.yaml", "--kernel", "norm", "--set", "rows=100", "--set", "hidden=1000"});
  EXPECT_NEAR(inside["time_s"].get<double>(), 2e-6 + 400e3 / 500e9, 1e-12);
  EXPECT_NEAR(inside["fixed_s"].get<double>(), 2e-6, 1e-15);
  EXPECT_NEAR(inside["memory_s"].get<double>(), 0.8e-6, 1e-12);
  EXPECT_NEAR(inside["bytes_per_s"].get<double>(), 400e3 / 2.8e-6, 1e6);
  EXPECT_NEAR(inside["roofline_s"].get<double>(), 400e3 / 500e9, 1e-12);
  EXPECT_EQ(inside["label"], "measured");
  EXPECT_EQ(inside["from"], "by hand");
  EXPECT_EQ(inside["in_range"], true);
  const auto outside = ask({"--device", "toy.yaml", "--kernel", "streaming", "--set", "bytes=2e6"});
  EXPECT_EQ(outside["in_range"], false);
  EXPECT_EQ(outside["outside"].dump(),
            R"([{"extent":"bytes","least":1000.0,"most":1000000.0,"value":2000000.0}])");
}

TEST_F(Cost, WithoutConstantsTheRooflineAnswersAndSaysSo) {
  // 2 x 1000^3 flops at 80 % of 100 TFLOP/s, half of the SMs, half of the clock.
  const auto reply =
      ask({"--device", "toy.yaml", "--kernel", "gemm", "--set", "m=1000", "--set", "n=1000",
           "--set", "k=1000", "--set", "sms=50", "--set", "clock=500 MHz"});
  EXPECT_NEAR(reply["time_s"].get<double>(), 2e9 / 20e12, 1e-12);
  EXPECT_EQ(reply["label"], "roofline");
  EXPECT_EQ(reply["in_range"], false);
}

TEST_F(Cost, RowsThatAreNotGivenAreBalanced) {
  EXPECT_EQ(balanced_rows(8, 2, 8, 1), (std::vector<std::int64_t>(8, 2)));
  EXPECT_EQ(balanced_rows(3, 1, 8, 2), (std::vector<std::int64_t>{1, 0, 1, 0}));  // 2 of 3
  EXPECT_EQ(balanced_rows(1, 2, 8, 8), (std::vector<std::int64_t>{1}));
  const auto reply =
      ask({"--device", "toy.yaml", "--kernel", "expert_ffn", "--set", "hidden=64", "--set",
           "inter=32", "--set", "topk=2", "--set", "experts=4", "--set", "tokens=6"});
  EXPECT_EQ(reply["rows"].dump(), "[3,3,3,3]");
}

TEST_F(Cost, DevicesAndFormatsAsPeopleTypeThem) {
  for (const char* name : {"h100-sxm", "H100_SXM", "h100"}) {
    const auto reply = ask({"--device", name, "--kernel", "gemm", "--set", "m=8", "--set", "n=64",
                            "--set", "k=64", "--set", "dtype=FP8-block"});
    EXPECT_EQ(reply["device"], "h100-sxm");
    EXPECT_EQ(reply["dtype"], "fp8_block");
  }
}

// Whatever they borrow is there, and every kernel has an answer on each of them.
TEST_F(Cost, EveryDeviceOfTheCatalogAnswers) {
  const CommandResult shown = simulate(folder_, {"calibrate", "show"});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  int devices = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(MOE_SOURCE_DIR) + "/models/devices")) {
    const auto reply = ask({"--device", entry.path().stem().string(), "--kernel", "gemm", "--set",
                            "m=64", "--set", "n=4096", "--set", "k=4096"});
    EXPECT_GT(reply["time_s"].get<double>(), 0.5 * reply["roofline_s"].get<double>())
        << entry.path();
    ++devices;
  }
  EXPECT_GE(devices, 18);
}

// The kernel_source column of the public tables, and kernels that only another device was measured
// with: those of the nearest, labelled so, and never what answers without being named.
TEST_F(Cost, SourcesByTheNamesOfTablesAndFromOtherDevices) {
  const std::vector<std::string> question = {"--kernel", "expert_ffn",  "--set", "hidden=4096",
                                             "--set",    "inter=1536",  "--set", "topk=8",
                                             "--set",    "experts=128", "--set", "tokens=512"};
  const auto of = [&](const std::string& device, const std::string& source,
                      const std::string& dtype) {
    std::vector<std::string> arguments = question;
    arguments.insert(arguments.end(),
                     {"--device", device, "--set", "dtype=" + dtype, "--set", "source=" + source});
    return ask(arguments);
  };
  const auto table = of("h100_sxm", "sglang_fused_moe_triton", "bfloat16");
  EXPECT_EQ(table, of("h100-sxm", "sglang-triton", "bf16"));
  EXPECT_EQ(table["label"], "fitted");
  const auto lent = of("b200-sxm", "sglang_fused_moe_triton", "bfloat16");
  EXPECT_EQ(lent["label"], "assumed");
  EXPECT_LT(lent["time_s"], table["time_s"]);
  EXPECT_NE(lent["from"].get<std::string>().find("as h100-sxm"), std::string::npos) << lent["from"];
  std::vector<std::string> unnamed = question;
  unnamed.insert(unnamed.end(), {"--device", "tpu-v3", "--set", "dtype=bf16"});
  EXPECT_EQ(ask(unnamed)["label"], "roofline");
}

// A window hides keys and has costs of its own; the fits know both, and so does the question.
TEST_F(Cost, AWindowIsPricedAsTheFitsPriceIt) {
  const auto decode = [&](const std::string& window) {
    return ask({"--device", "h100", "--kernel", "attention_decode", "--set", "sequences=64",
                "--set", "context=2048", "--set", "heads=64", "--set", "kv_heads=8", "--set",
                "head_dim=64", "--set", "window=" + window})["time_s"]
        .get<double>();
  };
  EXPECT_NEAR(decode("128"), 32.5e-6, 3.5e-6);  // measured, vLLM 0.24 on H100 (aiconfigurator)
  EXPECT_EQ(decode("2048"), decode("0"));       // it hides nothing
}

TEST_F(Cost, CopiesWithoutConstantsAndWholeWordsOfSources) {
  EXPECT_EQ(refused({"cost", "--device", "h100", "--kernel", "copy", "--set", "bytes=1000"}),
            "h100-sxm has no constants of copies between host and device; microbench measures "
            "them; `simulate calibrate fit` makes a device file of it\n");
  const std::string letter =
      refused({"cost", "--device", "h100", "--kernel", "gemm", "--set", "m=1", "--set", "n=64",
               "--set", "k=64", "--set", "source=c"});
  EXPECT_NE(letter.find("has no source 'c' of gemm"), std::string::npos) << letter;
}

TEST_F(Cost, FewerSmsThanWereMeasuredAreFlagged) {
  const auto few = ask({"--device", "h100", "--kernel", "gemm", "--set", "m=64", "--set", "n=4096",
                        "--set", "k=4096", "--set", "sms=66"});
  EXPECT_EQ(few["in_range"], false);
  EXPECT_EQ(few["outside"][0]["extent"], "sms");
}

TEST_F(Cost, EveryMistakeOfAQuestion) {
  EXPECT_EQ(refused({"cost", "--device", "toy.yaml", "--kernel", "gemm", "--set", "m=0", "--set",
                     "n=4", "--set", "q=3", "--set", "sms=101", "--set", "dtype=bf17"}),
            "--set m: '0' is not a whole number from 1 to 16777216\n"
            "--set: gemm needs k; --set k=NUMBER: columns of the input\n"
            "--set dtype: there is no dtype 'bf17'; did you mean 'bf16'?\n"
            "--set q: gemm has no 'q'; did you mean 'm'?\n"
            "--set sms: '101' is not a number of SMs from 1 to 100, which toy has\n");
  EXPECT_EQ(refused({"cost", "--device", "toy.yaml", "--kernel", "norm", "--set", "rows=4", "--set",
                     "hidden=4", "--set", "source=triton"}),
            "--set source: toy has no source 'triton' of norm; there are: ours (bf16)\n");
  EXPECT_EQ(refused({"cost", "--device", "toy.yaml", "--kernel", "gem"}),
            "--kernel: there is no kernel 'gem'; did you mean 'gemm'?\n");
}

TEST_F(Cost, ABatchIsAnsweredRowByRowInAnyOrderOfColumns) {
  folder_.write("in.csv",
                "note,hidden,rows,device,source\nfirst,1000,100,toy.yaml,\n"
                "\"a, b\",1000,1000,toy.yaml,OURS\n\nlast,1000,100,toy.yaml,\n");
  const CommandResult result =
      simulate(folder_, {"cost", "--kernel", "norm", "--batch", "in.csv", "--out", "out.csv"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(
      result.out,
      "3 rows of norm in out.csv: 3 measured; 1 outside a calibrated range; columns copied and not "
      "read: note\n");
  EXPECT_EQ(folder_.read("out.csv"),
            "note,hidden,rows,device,source,time_s,label,in_range\n"
            "first,1000,100,toy.yaml,,2.8e-06,measured,true\n"
            "\"a, b\",1000,1000,toy.yaml,OURS,1e-05,measured,false\n"
            "last,1000,100,toy.yaml,,2.8e-06,measured,true\n");
}

TEST_F(Cost, RowsOfABatchAgreeWithTheSameQuestionsAlone) {
  folder_.write("in.csv",
                "device,source,dtype,hidden,inter,topk,experts,tokens,rows\n"
                "h100,,bf16,2048,768,8,128,64,4 4 0 7\n"
                "h100_sxm,,fp8_block,7168,2048,8,256,512,16 16 16 0\n");
  EXPECT_EQ(
      simulate(folder_, {"cost", "--kernel", "expert_ffn", "--batch", "in.csv", "--out", "out.csv"})
          .exit_code,
      0);
  std::ifstream in(folder_.file("out.csv"));
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    std::vector<std::string> fields;
    std::stringstream row(line);
    for (std::string field; std::getline(row, field, ',');) fields.push_back(field);
    ASSERT_EQ(fields.size(), 12u);
    const auto alone =
        ask({"--device", fields[0], "--kernel", "expert_ffn", "--set", "dtype=" + fields[2],
             "--set", "hidden=" + fields[3], "--set", "inter=" + fields[4], "--set",
             "topk=" + fields[5], "--set", "experts=" + fields[6], "--set", "tokens=" + fields[7],
             "--set", "rows=" + fields[8]});
    EXPECT_NEAR(std::stod(fields[9]) / alone["time_s"].get<double>(), 1, 1e-8);
    EXPECT_EQ(alone["label"], fields[10]);
    EXPECT_EQ(alone["in_range"], fields[11] == "true");
  }
}

TEST_F(Cost, EveryMistakeOfABatchAndNothingIsWritten) {
  folder_.write("in.csv",
                "device,source,dtype,hidden,inter,topk,experts,tokens,rows\n"
                "toy.yaml,,bf17,1,x,3,4,5,1 2 -3\n"
                "h10,,bf16,1,2,3,4,5,1 2\n"
                "toy.yaml,,bf16,1,2\n"
                "toy.yaml,,bf16,1,2,30,4,5,\n"
                "toy.yaml,,bf16,1,,3,4,5,\n");
  EXPECT_EQ(refused({"cost", "--kernel", "expert_ffn", "--batch", "in.csv", "--out", "out.csv"}),
            "in.csv:2:18: inter: 'x' is not a whole number from 1 to 16777216\n"
            "in.csv:2:26: '-3' is not a number of rows; rows are counts with spaces between\n"
            "in.csv:2:11: there is no dtype 'bf17'; did you mean 'bf16'?\n"
            "in.csv:3:1: there is no device type 'h10'; did you mean 'h20'?\n"
            "in.csv:4:1: 5 fields in this row, there are 9 columns\n"
            "in.csv:5:1: topk 30 is more than the 4 experts\n"
            "in.csv:6:18: inter is missing in this row\n");
  folder_.write("head.csv", "hidden,rows,rows,label\n1,2,3,x\n");
  EXPECT_EQ(refused({"cost", "--kernel", "norm", "--batch", "head.csv", "--out", "out.csv"}),
            "head.csv:1:13: the column 'rows' is there twice\n"
            "head.csv:1:18: the column 'label' is one that the result adds; give it another name\n"
            "head.csv:1:1: there is no column 'device'; or name one with --device\n");
}

}  // namespace
}  // namespace sim::testing
