#include "models/calibration/measurement_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "sim/core/error.h"

namespace sim {
namespace {

using ::testing::HasSubstr;

// A small file that is right; `rows` is what comes after "rows:".
std::string file_with(const std::string& rows) {
  return "format: moe-microbench\nversion: 1\nwritten_by: test\ndate: 2026-11-22\nbackend: cpu\n"
         "device: {name: x, sms: 1, memory_bytes: 1000}\n"
         "method: {warm_up: 1, least_repeats: 5, least_time_s: 0.01, rotating_bytes: 0, statistic: "
         "median}\n"
         "units: {time: us, bytes: B}\n"
         "rows:" +
         rows + "\n";
}

const char* const kGemm =
    "{kernel: gemm, implementation: vendor, dtype: fp32, pass: forward, sizes: {m: 1, n: 2, k: 3}, "
    "median: 2, p10: 1, p90: 3, repeats: 5}";

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const std::size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), with);
}

std::string message_of(const std::string& text) {
  try {
    parse_measurement_file(text, "m.yaml");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// The message about one row, which stands in line 10 from column 3.
std::string row_message(const std::string& what, const std::string& with) {
  return message_of(file_with("\n- " + replaced(kGemm, what, with)));
}

TEST(MeasurementFile, WrittenAndReadBackIsTheSame) {
  MeasurementFile file;
  file.written_by = "microbench 0.1.0";
  file.date = "2026-11-22";
  file.backend = "cpu";
  file.device = {"A \"quoted\" CPU \\ 2", 4, 2300.5, "base", 25'276'510'208, "", "BLAS, 1 thread"};
  file.method = {2, 9, 0.125, 1 << 28, "weights", "steady", "median"};
  file.left_out = {{"peer_copy", "one device: no peer"}};
  file.failed_checks = 3;
  MeasuredCase row;
  row.what.kernel = "grouped_gemm";
  row.what.implementation = "own";
  row.what.dtype = "bf16";
  row.what.pass = "wgrad";
  row.what.sizes = {{"n", 1536}, {"k", 1024}, {"tile", 16}};
  row.what.rows = {12, 0, 40, 7};
  row.what.options = {{"layout", "padded"}};
  row.what.sms = 16;
  row.what.launch = "graph";
  row.median_us = 812.125;
  row.p10_us = 800.5;
  row.p90_us = 1234567;
  row.repeats = 31;
  file.rows = {row};
  const std::string text = to_yaml(file);
  const MeasurementFile read = parse_measurement_file(text, "m.yaml");
  EXPECT_EQ(read.written_by, file.written_by);
  EXPECT_EQ(read.date, file.date);
  EXPECT_EQ(read.backend, file.backend);
  EXPECT_EQ(read.device, file.device);
  EXPECT_EQ(read.method, file.method);
  EXPECT_EQ(read.left_out, file.left_out);
  EXPECT_EQ(read.failed_checks, 3);
  ASSERT_EQ(read.rows.size(), 1u);
  EXPECT_EQ(read.rows[0].what, row.what);
  EXPECT_EQ(read.rows[0].median_us, 812.125);
  EXPECT_EQ(read.rows[0].p10_us, 800.5);
  EXPECT_EQ(read.rows[0].p90_us, 1234567);
  EXPECT_EQ(read.rows[0].repeats, 31);
  EXPECT_EQ(read.rows[0].line, 14);  // after 4 + 2 lines, units, left_out + 1, checks, counts
  EXPECT_EQ(to_yaml(read), text);
}

TEST(MeasurementFile, DefaultsAreFilledIn) {
  const MeasurementFile file = parse_measurement_file(
      file_with("\n- " + replaced(kGemm, "implementation: vendor, ", "")), "m.yaml");
  EXPECT_EQ(file.rows[0].what.implementation, "own");
  EXPECT_EQ(file.rows[0].what.launch, "eager");
  EXPECT_EQ(file.rows[0].what.sms, 0);
  EXPECT_EQ(file.device.clock_mhz, 0);
}

TEST(MeasurementFile, OtherFormatsAreRefusedAtOnce) {
  const std::string right = file_with("\n- " + std::string(kGemm));
  EXPECT_EQ(message_of(right), "no error");
  EXPECT_EQ(message_of("model: x\n"),
            "m.yaml:1:1: this is not a microbenchmark's file: it has no key 'format'; write one "
            "with: microbench --backend cpu --quick --out FILE");
  EXPECT_EQ(message_of(replaced(right, "moe-microbench", "nccl-tests")),
            "m.yaml:1:9: this is not a microbenchmark's file: its format is 'nccl-tests'; the "
            "format is 'moe-microbench'");
  EXPECT_EQ(message_of(replaced(right, "version: 1", "version: 9")),
            "m.yaml:2:10: this file has version 9, this program reads 1 at most; use a newer "
            "simulate, or measure again with the microbench beside this one");
  EXPECT_EQ(message_of(replaced(right, "version: 1\n", "")),
            "m.yaml:1:1: the file needs the key 'version'");
}

TEST(MeasurementFile, UnitsAreNamed) {
  const std::string right = file_with("\n- " + std::string(kGemm));
  EXPECT_EQ(message_of(replaced(right, "time: us", "time: ms")),
            "m.yaml:8:15: 'ms' is not a unit of 'time' in this format; the only one is 'us'");
  EXPECT_EQ(message_of(replaced(right, "bytes: B}", "bytes: MiB}")),
            "m.yaml:8:26: 'MiB' is not a unit of 'bytes' in this format; the only one is 'B'");
  EXPECT_EQ(message_of(replaced(right, "time: us, ", "")),
            "m.yaml:8:8: units needs the key 'time'; the only one is 'us'");
  EXPECT_EQ(message_of(replaced(right, "units: {time: us, bytes: B}\n", "")),
            "m.yaml:1:1: the file needs the key 'units'");
}

TEST(MeasurementFile, RowsMustBeThere) {
  const std::string nothing =
      "the file has no rows, so nothing was measured; microbench left everything out or every "
      "check "
      "failed";
  EXPECT_EQ(message_of(file_with(" []")), "m.yaml:9:7: " + nothing);
  EXPECT_EQ(message_of(replaced(file_with(""), "rows:\n", "")), "m.yaml:1:1: " + nothing);
}

TEST(MeasurementFile, TimesArePositiveAndInOrder) {
  EXPECT_EQ(row_message("median: 2", "median: 0"),
            "m.yaml:10:105: 'median' of a row is 0, but a time must be above 0");
  EXPECT_EQ(row_message("median: 2", "median: -2.5"),
            "m.yaml:10:105: 'median' of a row is -2.5, but a time must be above 0");
  EXPECT_EQ(row_message("median: 2", "median: .nan"),
            "m.yaml:10:105: 'median' in a row must be a number without a unit, not '.nan'");
  EXPECT_EQ(row_message("median: 2", "median: 2 ms"),
            "m.yaml:10:105: 'median' in a row must be a number without a unit, not '2 ms'");
  EXPECT_EQ(row_message("p10: 1", "p10: 2.5"), "m.yaml:10:113: 'p10' 2.5 is above 'median' 2");
  EXPECT_EQ(row_message("p90: 3", "p90: 1.5"), "m.yaml:10:105: 'median' 2 is above 'p90' 1.5");
  EXPECT_EQ(row_message("repeats: 5", "repeats: 0"),
            "m.yaml:10:133: 'repeats' in a row is 0, but must lie between 1 and 2147483647");
}

TEST(MeasurementFile, CasesAreWhole) {
  EXPECT_EQ(row_message("kernel: gemm", "kernel: gem"),
            "m.yaml:10:3: 'gem' is not a kernel; did you mean 'gemm'?");
  EXPECT_EQ(row_message(", k: 3", ""), "m.yaml:10:3: gemm needs the size 'k'");
  EXPECT_EQ(row_message("k: 3", "k: 3, kk: 1"),
            "m.yaml:10:3: 'kk' is not a size of gemm; did you mean 'k'?");
  EXPECT_EQ(row_message("m: 1", "m: 0"), "m.yaml:10:3: size 'm' is 0, but must be at least 1");
  EXPECT_EQ(row_message("dtype: fp32", "dtype: fp31"),
            "m.yaml:10:3: 'fp31' is not a number format");
  EXPECT_EQ(row_message("pass: forward", "pass: backward"),
            "m.yaml:10:3: 'backward' is not a possible 'pass' of gemm; possible: forward, dgrad, "
            "wgrad");
  EXPECT_EQ(row_message("vendor", "vendors"),
            "m.yaml:10:3: 'vendors' is not a possible 'implementation' of gemm; did you mean "
            "'vendor'?");
  EXPECT_EQ(row_message("repeats: 5", "repeats: 5, options: {gate: softmax}"),
            "m.yaml:10:3: 'gate' is not an option of gemm");
  EXPECT_EQ(row_message("repeats: 5", "repeats: 5, rows: [1]"), "m.yaml:10:3: gemm has no 'rows'");
  EXPECT_EQ(row_message("repeats: 5", "repeats: 5, size: 3"),
            "m.yaml:10:136: unknown key 'size' in a row; did you mean 'sizes'?");
}

TEST(MeasurementFile, RowsPerExpert) {
  const std::string grouped =
      "\n- {kernel: grouped_gemm, dtype: fp32, pass: forward, sizes: {n: 2, k: 3}, rows: [4, 0, "
      "1], "
      "median: 2, p10: 1, p90: 3, repeats: 5}";
  EXPECT_EQ(message_of(file_with(grouped)), "no error");
  EXPECT_EQ(message_of(file_with(replaced(grouped, "[4, 0, 1]", "[4, -1]"))),
            "m.yaml:10:3: a number of 'rows' is negative");
  EXPECT_EQ(message_of(file_with(replaced(grouped, "[4, 0, 1]", "[4, 1.5]"))),
            "m.yaml:10:85: 'rows' in a row must be a whole number, not '1.5'");
  EXPECT_EQ(message_of(file_with(replaced(grouped, "rows: [4, 0, 1], ", ""))),
            "m.yaml:10:3: grouped_gemm needs 'rows', a number per expert");
  const std::string ffn =
      "\n- {kernel: expert_ffn, dtype: fp32, pass: forward, sizes: {hidden: 2, inter: 3, top_k: 2, "
      "experts: 2, tokens: 3}, rows: [3, 3], median: 2, p10: 1, p90: 3, repeats: 5}";
  EXPECT_EQ(message_of(file_with(ffn)), "no error");
  EXPECT_EQ(message_of(file_with(replaced(ffn, "[3, 3]", "[3, 4]"))),
            "m.yaml:10:3: 'rows' adds up to 7, which is more than tokens x top_k");
  EXPECT_EQ(message_of(file_with(replaced(ffn, "[3, 3]", "[1, 1, 1]"))),
            "m.yaml:10:3: 'rows' holds 3 experts, but there are 2");
}

TEST(MeasurementFile, SharesOfExperts) {
  const auto message = [](const std::string& kernel, int experts, const std::string& rows) {
    const std::string inter = kernel == "permute" ? "" : "inter: 3, ";
    return message_of(
        file_with("\n- {kernel: " + kernel + ", dtype: fp32, pass: forward, sizes: {hidden: 2, " +
                  inter + "top_k: 2, experts: " + std::to_string(experts) +
                  ", tokens: 9}, rows: " + rows + ", median: 2, p10: 1, p90: 3, repeats: 5}"));
  };
  // The experts of one of two ranks; a permutation knows of all.
  EXPECT_EQ(message("expert_ffn", 8, "[1, 1, 1, 1]"), "no error");
  EXPECT_EQ(message("expert_ffn", 8, "[1, 1, 1]"),
            "m.yaml:10:3: 'rows' holds 3 experts, but there are 8, of which a rank holds an equal "
            "share");
  EXPECT_EQ(message("permute", 8, "[1, 1, 1, 1]"),
            "m.yaml:10:3: 'rows' holds 4 experts, but there are 8");
  EXPECT_EQ(message("moe_layer", 8, "[1, 1, 1, 1]"),
            "m.yaml:10:3: 'rows' holds 4 experts, but there are 8");
}

TEST(MeasurementFile, SizesHaveALimit) {
  EXPECT_EQ(row_message("m: 1", "m: 2147483648"), "no error");
  EXPECT_EQ(row_message("m: 1", "m: 2147483649"),
            "m.yaml:10:3: size 'm' is 2147483649, but must be at most 2147483648");
  const std::string copy =
      "\n- {kernel: peer_copy, dtype: fp32, pass: forward, sizes: {bytes: 17592186044416}, "
      "median: 2, p10: 1, p90: 3, repeats: 5}";
  EXPECT_EQ(message_of(file_with(copy)), "no error");
  EXPECT_EQ(message_of(file_with(replaced(copy, "44416", "44417"))),
            "m.yaml:10:3: size 'bytes' is 17592186044417, but must be at most 17592186044416");
  const std::string grouped =
      "\n- {kernel: grouped_gemm, dtype: fp32, pass: forward, sizes: {n: 2, k: 3}, rows: "
      "[4, 2147483649], median: 2, p10: 1, p90: 3, repeats: 5}";
  EXPECT_EQ(message_of(file_with(grouped)),
            "m.yaml:10:3: a number of 'rows' is 2147483649, but must be at most 2147483648");
}

TEST(MeasurementFile, TheHeadIsChecked) {
  const std::string right = file_with("\n- " + std::string(kGemm));
  EXPECT_EQ(message_of(replaced(right, "backend: cpu", "backend: cud")),
            "m.yaml:5:10: 'cud' is not a possible 'backend' of the file; did you mean 'cuda'?");
  EXPECT_EQ(message_of(replaced(right, "2026-11-22", "22.11.2026")),
            "m.yaml:4:7: '22.11.2026' is not a date; write it as 2026-11-22");
  EXPECT_EQ(message_of(replaced(right, "2026-11-22", "2026-02-30")),
            "m.yaml:4:7: '2026-02-30' is not a date; write it as 2026-11-22");
  EXPECT_EQ(message_of(replaced(right, "sms: 1,", "sms: 1, clock_mhz: 100000,")), "no error");
  EXPECT_EQ(message_of(replaced(right, "sms: 1,", "sms: 1, clock_mhz: 2300000000,")),
            "m.yaml:6:38: 'clock_mhz' in device is 2300000000, but must be between 0 and 100000");
}

TEST(MeasurementFile, AMissingSectionIsOneMessage) {
  const std::string right = file_with("\n- " + std::string(kGemm));
  EXPECT_EQ(message_of(replaced(right, "device: {name: x, sms: 1, memory_bytes: 1000}\n", "")),
            "m.yaml:1:1: the file needs the key 'device'");
  EXPECT_EQ(message_of(replaced(right, "{name: x, sms: 1, memory_bytes: 1000}", "")),
            "m.yaml:7:1: device must be a mapping of keys to values");
  EXPECT_EQ(message_of(replaced(right, "method: {", "units2: {")).substr(0, 43),
            "m.yaml:1:1: the file needs the key 'method'");
  EXPECT_EQ(message_of(replaced(right, "units: {time: us, bytes: B}", "units:")),
            "m.yaml:9:1: units must be a mapping of keys to values");
  EXPECT_EQ(message_of(file_with("\n- " + std::string(kGemm) + "\n- 7")),
            "m.yaml:11:3: a row must be a mapping of keys to values");
}

TEST(MeasurementFile, ACutFileIsNoticed) {
  const std::string three =
      file_with("\n- " + std::string(kGemm) + "\n- " + kGemm + "\n- " + kGemm);
  const auto stated = [&](const std::string& count) {
    return message_of(replaced(three, "rows:\n", "row_count: " + count + "\nrows:\n"));
  };
  EXPECT_EQ(stated("3"), "no error");
  EXPECT_EQ(
      stated("40"),
      "m.yaml:9:12: the file states 40 rows, but holds 3: 37 are missing; it was cut; copy it "
      "again, or measure again");
  EXPECT_EQ(stated("2"),
            "m.yaml:9:12: the file states 2 rows, but holds 3; state the rows that there are, if "
            "they were added on purpose");
}

TEST(MeasurementFile, NoneOfOurs) {
  const std::string write_one = "; write one with: microbench --backend cpu --quick --out FILE";
  EXPECT_EQ(message_of(""), "m.yaml: the file is empty" + write_one);
  EXPECT_EQ(message_of("some words\n"),
            "m.yaml:1:1: this is not a microbenchmark's file: it has no key 'format'" + write_one);
  EXPECT_EQ(message_of("- 1\n- 2\n"),
            "m.yaml:1:1: this is not a microbenchmark's file: it has no key 'format'" + write_one);
}

TEST(MeasurementFile, EveryMistakeAtOnce) {
  std::string text = file_with("\n- " + replaced(kGemm, "median: 2", "median: 0") + "\n- " +
                               replaced(kGemm, "gemm", "gem"));
  text = replaced(text, "sms: 1", "sms: 0");
  text = replaced(text, "time: us", "time: ms");
  EXPECT_EQ(message_of(text),
            "m.yaml:6:24: 'sms' in device is 0, but must lie between 1 and 1000000\n"
            "m.yaml:8:15: 'ms' is not a unit of 'time' in this format; the only one is 'us'\n"
            "m.yaml:10:105: 'median' of a row is 0, but a time must be above 0\n"
            "m.yaml:11:3: 'gem' is not a kernel; did you mean 'gemm'?");
}

TEST(MeasurementFile, AFileTooLargeOrMissing) {
  const std::string path = ::testing::TempDir() + "large-measurement.yaml";
  std::ofstream(path) << file_with("\n- " + std::string(kGemm));
  std::filesystem::resize_file(path, (16 << 20) + 1);  // sparse: no bytes are written
  try {
    read_measurement_file(path);
    ADD_FAILURE() << "a file above the limit was read";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              path +
                  ": this file is larger than 16 MiB; a "
                  "microbenchmark's file is much smaller; is it a trace?");
  }
  std::filesystem::remove(path);
  EXPECT_THROW(read_measurement_file(path), Error);
}

// A file of a GPU has thousands of rows with hundreds of experts each: reading stays quick.
TEST(MeasurementFile, ManyRows) {
  std::string rows;
  for (int i = 0; i < 2000; ++i) {
    rows += "\n- {kernel: grouped_gemm, dtype: fp32, pass: forward, sizes: {n: 2, k: 3}, rows: [1";
    for (int e = 1; e < 64; ++e) rows += ",1";
    rows += "], median: 2, p10: 1, p90: 3, repeats: 5}";
  }
  EXPECT_EQ(parse_measurement_file(file_with(rows), "m.yaml").rows.size(), 2000u);
}

}  // namespace
}  // namespace sim
