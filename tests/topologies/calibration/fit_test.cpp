#include "topologies/calibration/fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr MachineRates kRates{400e9, 0, 50e9, 8};

std::string written(const std::string& text) {
  const std::string path = (std::filesystem::path(::testing::TempDir()) / "spec.yaml").string();
  std::ofstream(path) << text;
  return path;
}

CalibrationSpec ring_spec(const std::string& more = "") {
  return load_calibration_spec(
      written("cluster: hgx-h100\nform: collective\ntables: [t]\nsource: s\n"
              "fitted: {ranks: [2, 8]}\n" +
              more +
              "fits:\n  - entry: {algorithm: nccl-ring, operation: all-gather, scope: one-node}\n"
              "    free: [base, per_step, nvlink_efficiency]\n"));
}

// All-gather of 2, 4 and 8 ranks with 5 us + 2 us (g-1) + S (g-1)/g / (0.5 * 400 GB/s).
std::vector<MeasuredRow> exact_rows() {
  std::vector<MeasuredRow> rows;
  for (const int ranks : {2, 4, 8}) {
    for (int power = 10; power <= 30; power += 2) {
      MeasuredRow row;
      row.id = "t#" + std::to_string(rows.size() + 1);
      row.table = "t";
      row.operation = "all-gather";
      row.algorithm = "nccl";
      row.ranks = ranks;
      row.bytes = Bytes(std::int64_t{1} << power);
      const double sent = static_cast<double>(row.bytes.count()) * (ranks - 1) / ranks;
      row.time_s = 5e-6 + 2e-6 * (ranks - 1) + sent / 200e9;
      rows.push_back(row);
    }
  }
  return rows;
}

TEST(Fit, FindsTheConstantsThatMadeTheRowsAndPredictsTheOthers) {
  const CalibrationSpec spec = ring_spec();
  const FitResult result = run_fit(spec, spec.fits[0], exact_rows(), kRates);
  ASSERT_EQ(result.sets.size(), 1U);
  EXPECT_NEAR(result.sets[0].values[0], 5e-6, 1e-8);
  EXPECT_NEAR(result.sets[0].values[1], 2e-6, 1e-8);
  EXPECT_NEAR(result.sets[0].values[2], 0.5, 1e-3);
  EXPECT_THAT(result.fitted_to, ::testing::ElementsAre("t#1-11,23-33"));
  EXPECT_EQ(result.kept.fitted.rows, 22);
  EXPECT_EQ(result.kept.tested.rows, 11);
  EXPECT_LT(result.kept.tested.worst, 1e-3);
  EXPECT_EQ(to_catalog_yaml(spec, result, 0),
            "- {algorithm: nccl-ring, operation: all-gather, scope: one-node,\n"
            "  base: 5 us, per_step: 2 us, nvlink_efficiency: 0.5, label: fitted,\n"
            "  source: \"fit spec of s: mean error 0.0 % of 22 rows, 0.0 % of 11 rows it did not "
            "see\",\n  fitted_to: [\"t#1-11,23-33\"]}\n");
}

TEST(Fit, ASpikeMovesTheConstantsLittle) {
  std::vector<MeasuredRow> rows = exact_rows();
  rows[3].time_s *= 20;
  const CalibrationSpec spec = ring_spec();
  const FitResult result = run_fit(spec, spec.fits[0], rows, kRates);
  EXPECT_NEAR(result.sets[0].values[0], 5e-6, 5e-7);
  EXPECT_NEAR(result.sets[0].values[2], 0.5, 0.02);
  EXPECT_NEAR(result.kept.fitted.worst, 0.95, 0.01);
  EXPECT_EQ(result.kept.fitted.worst_row, "t#4");
}

TEST(Fit, ImplausibleRowsAreNeitherFittedNorTested) {
  std::vector<MeasuredRow> rows = exact_rows();
  rows[3].time_s *= 20;
  rows[3].implausible = true;
  const CalibrationSpec spec = ring_spec();
  const FitResult result = run_fit(spec, spec.fits[0], rows, kRates);
  EXPECT_THAT(result.fitted_to, ::testing::ElementsAre("t#1-3,5-11,23-33"));
  EXPECT_LT(result.kept.fitted.worst, 1e-3);
}

TEST(Fit, AProtocolSwitchIsFoundWhereTheTimesJump) {
  std::vector<MeasuredRow> rows = exact_rows();
  for (MeasuredRow& row : rows) {
    if (row.bytes.count() / row.ranks >= 1 << 20) row.time_s += 40e-6;
  }
  const CalibrationSpec spec = ring_spec("protocol_switch: true\n");
  const FitResult result = run_fit(spec, spec.fits[0], rows, kRates);
  ASSERT_EQ(result.sets.size(), 2U);
  EXPECT_NEAR(result.sets[1].from_bytes_per_rank, std::exp2(19.5), 1024);
  EXPECT_NEAR(result.sets[0].values[0], 5e-6, 1e-7);
  EXPECT_NEAR(result.sets[1].values[0], 45e-6, 1e-6);
  EXPECT_LT(result.kept.tested.worst, 0.02);
}

TEST(Fit, TheSameRowsGiveTheSameBytes) {
  const CalibrationSpec spec = ring_spec();
  std::vector<MeasuredRow> rows = exact_rows();
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].time_s *= 1 + 0.05 * std::sin(1.0 * i);
  const auto text = [&] {
    return to_catalog_yaml(spec, run_fit(spec, spec.fits[0], rows, kRates), 2);
  };
  EXPECT_EQ(text(), text());
}

TEST(Fit, TooFewRowsIsOneClearMessage) {
  const CalibrationSpec spec = ring_spec();
  const std::vector<MeasuredRow> rows = exact_rows();
  try {
    run_fit(spec, spec.fits[0], std::span(rows).subspan(0, 2), kRates);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "spec: 2 rows are left to fit 3 constants of nccl-ring all-gather; look at `rows` "
                 "and `fitted` of the specification");
  }
}

TEST(CalibrationSpecs, EveryMistakeIsSaidAtOnce) {
  try {
    load_calibration_spec(
        written("cluster: hgx-h100\nform: collective\nsource: s\n"
                "free: [bass]\nfits:\n  - entry: {algorithm: a}\n    row: {}\n"));
    FAIL();
  } catch (const Error& error) {
    std::string all;
    for (const Mistake& mistake : error.mistakes())
      all += mistake.message + "; " + mistake.hint + "\n";
    EXPECT_THAT(all, ::testing::HasSubstr("no table is named in 'tables'"));
    EXPECT_THAT(all, ::testing::HasSubstr(
                         "the form 'collective' has no parameter 'bass'; did you mean 'base'?"));
    EXPECT_THAT(all, ::testing::HasSubstr("row"));
  }
}

TEST(ErrorSummary, PercentilesBiasAndWorst) {
  std::vector<MeasuredRow> rows(5);
  std::vector<double> predicted;
  for (int i = 0; i < 5; ++i) {
    rows[static_cast<std::size_t>(i)].time_s = 1;
    rows[static_cast<std::size_t>(i)].id = std::string(1, static_cast<char>('a' + i));
    predicted.push_back(i % 2 == 0 ? 1 + 0.1 * i : 1 - 0.1 * i);  // errors 0, 0.1, 0.2, 0.3, 0.4
  }
  const ErrorSummary all = summarise_errors(rows, predicted, std::vector<bool>(5, true));
  EXPECT_NEAR(all.mean, 0.2, 1e-12);
  EXPECT_NEAR(all.median, 0.2, 1e-12);
  EXPECT_NEAR(all.p90, 0.36, 1e-12);
  EXPECT_NEAR(all.bias, (0 - 0.1 + 0.2 - 0.3 + 0.4) / 5, 1e-12);
  EXPECT_NEAR(all.worst, 0.4, 1e-12);
  EXPECT_EQ(all.worst_row, "e");
  EXPECT_EQ(summarise_errors(rows, predicted, std::vector<bool>(5, false)).rows, 0);
}

}  // namespace
}  // namespace sim
