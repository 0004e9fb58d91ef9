// What is compared of a training, by hand; the fit; the committed page of errors.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "tests/traces/temp_file.h"
#include "traces/synthetic/dynamics/dynamics_accuracy.h"
#include "traces/synthetic/dynamics/dynamics_fit.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

using testing::error_text;
using testing::TempFile;

const std::string kSource = MOE_SOURCE_DIR;

// Layer 0 has 6 and 2 of 8 choices: max/mean 1.5. Layer 1 is even: 1. Their mean is 1.25 in every
// step. Capacity at factor 1 is 4: 2 of 16 choices are dropped; at 1.25 it is 5: 1 of 16; at 1.5
// it is 6: none.
TEST(TrainingCurve, ByHand) {
  CurveRecorder recorder;
  for (int step = 0; step < 2 * kWindowSteps + 3; ++step) {
    recorder.add(std::vector<double>{6, 2});
    recorder.add(std::vector<double>{4, 4});
    recorder.end_step();
  }
  const TrainingCurve curve = recorder.curve();
  ASSERT_EQ(curve.imbalance.size(), 2u);  // three steps are no window
  EXPECT_NEAR(curve.imbalance[0], 1.25, 1e-12);
  EXPECT_NEAR(curve.imbalance[1], 1.25, 1e-12);
  EXPECT_NEAR(curve.dropped[0], 2.0 / 16, 1e-12);
  EXPECT_NEAR(curve.dropped[1], 1.0 / 16, 1e-12);
  EXPECT_EQ(curve.dropped[2], 0);
  EXPECT_EQ(curve.dropped[3], 0);
}

TEST(TrainingCurve, ErrorIsTheMeanOverWindows) {
  TrainingCurve expected;
  TrainingCurve recorded;
  expected.imbalance = {1.1, 3.0};
  recorded.imbalance = {1.0, 4.0};
  EXPECT_NEAR(curve_error(expected, recorded), (0.1 + 0.25) / 2, 1e-12);
}

TEST(RecordedRuns, ANameSaysWhatWasTrained) {
  const TrainingRun run = training_run_of("large-k1-switch0.01-s3");
  EXPECT_EQ(run.hidden, 128);
  EXPECT_EQ(run.top_k, 1);
  EXPECT_EQ(run.term, DynamicsTerm::kSwitch);
  EXPECT_EQ(run.coefficient, 0.01);
  EXPECT_EQ(run.seed, 3u);
  EXPECT_EQ(error_text([] { training_run_of("huge-k2-none-s1"); }),
            "'huge-k2-none-s1' is no name of a training run; like small-k2-switch0.01-s1: size, "
            "top-k, term with coefficient, seed");
  for (const char* name : {"small-k2-none0.1-s1", "small-k2-switch.-s1", "small-k2-switch-s1",
                           "small-k2-bias0.1.2-s1"}) {
    EXPECT_NE(error_text([&] { training_run_of(name); }).find("is no name of a training run"),
              std::string::npos)
        << name;
  }
}

TEST(RecordedRuns, AreReadFromTracesOfCounts) {
  const TempFile file("small-k1-none-s1.counts.moetrace");
  TraceHeader header;
  header.kind = TraceKind::kCounts;
  header.model = "small-k1-none-s1";
  header.experts = {2, 2};
  header.top_k = 1;
  header.has_steps = true;
  TraceWriter writer(file.path(), header);
  for (int step = 0; step < kWindowSteps; ++step) {
    writer.append(CountRow{.step = step, .layer = 0, .tokens = 8, .counts = {6, 2}});
    writer.append(CountRow{.step = step, .layer = 1, .tokens = 8, .counts = {4, 4}});
  }
  writer.finish();
  const std::string folder = file.path().substr(0, file.path().rfind('/'));
  const std::vector<RecordedRun> runs = read_recorded_runs(folder);
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].run.layers, 2);
  EXPECT_EQ(runs[0].run.experts, 2);
  EXPECT_EQ(runs[0].run.steps, kWindowSteps);
  EXPECT_EQ(runs[0].run.tokens_per_step, 8);
  ASSERT_EQ(runs[0].curve.imbalance.size(), 1u);
  EXPECT_NEAR(runs[0].curve.imbalance[0], 1.25, 1e-12);
}

TEST(RecordedRuns, SwitchValuesAreOfEveryWindow) {
  RecordedRun recorded;
  recorded.name = "small-k2-none-s1";
  recorded.curve.imbalance = {3, 2};
  std::vector<RecordedRun> runs = {recorded};
  const std::string head = "run,window,switch_value\n";
  const TempFile file("switch.csv", head +
                                        "other,0,9\nsmall-k2-none-s1,0,1.5\n"
                                        "small-k2-none-s1,1,1.25\n");
  add_switch_values(file.path(), runs);
  EXPECT_EQ(runs[0].curve.switch_value, (std::vector<double>{1.5, 1.25}));
  runs = {recorded};
  file.write(head + "small-k2-none-s1,0,1.5\n");
  EXPECT_EQ(error_text([&] { add_switch_values(file.path(), runs); }),
            file.path() + " has 1 of 2 windows of small-k2-none-s1");
  runs = {recorded};
  file.write(head + "small-k2-none-s1,1,1.5\n");
  EXPECT_NE(error_text([&] {
              add_switch_values(file.path(), runs);
            }).find("window 0 of small-k2-none-s1 comes next"),
            std::string::npos);
}

// A run of the model itself, and a start that is off: the search comes nearer, the same way twice.
TEST(DynamicsFit, FindsItsWayBack) {
  RecordedRun recorded;
  recorded.name = "small-k2-none-s1";
  recorded.run = training_run_of(recorded.name);
  recorded.run.steps = 60;
  recorded.run.layers = 1;
  recorded.curve = expected_curve({}, recorded.run, 1);
  ASSERT_EQ(recorded.curve.switch_value.size(), 3u);
  DynamicsConstants off;
  off.rate = 0.1;
  const std::vector<RecordedRun> runs = {recorded};
  const double before = dynamics_loss(off, runs, 1);
  EXPECT_EQ(dynamics_loss({}, runs, 1), 0);
  const auto silent = [](int, double) {};
  const DynamicsConstants found = fit_dynamics(off, runs, 40, 1, silent);
  EXPECT_LT(dynamics_loss(found, runs, 1), 0.7 * before);
  EXPECT_EQ(dynamics_constants_yaml(fit_dynamics(off, runs, 40, 1, silent)),
            dynamics_constants_yaml(found));
}

TEST(DynamicsConstants, AreReadBackAndRefusedByName) {
  const TempFile file("constants.yaml");
  DynamicsConstants constants;
  constants.label = "fitted";
  constants.provenance = "here";
  constants.fitted_to = {"a", "b"};
  file.write(dynamics_constants_yaml(constants));
  EXPECT_EQ(dynamics_constants_yaml(read_dynamics_constants(file.path())),
            dynamics_constants_yaml(constants));
  file.write("constants: {rate: 1, speed: 2}\nlabel: fitted\nprovenance: here\n");
  const std::string error = error_text([&] { read_dynamics_constants(file.path()); });
  EXPECT_NE(error.find("speed"), std::string::npos) << error;
  EXPECT_NE(error.find("cluster_skew"), std::string::npos) << error;
}

// For the runs that the page names: a new sample does not make it wrong.
TEST(DynamicsAccuracy, ThePageIsWhatTheSamplesGiveToday) {
  const std::string folder = kSource + "/traces/synthetic/dynamics/";
  std::ifstream file(folder + "accuracy.md");
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  std::vector<RecordedRun> runs = read_recorded_runs(kSource + "/traces/samples/training");
  std::erase_if(runs, [&](const RecordedRun& run) {
    return page.find("| " + run.name + " |") == std::string::npos;
  });
  ASSERT_GE(runs.size(), 28u);
  const DynamicsConstants constants = read_dynamics_constants(folder + "constants.yaml");
  const DynamicsAccuracy accuracy = measure_dynamics(constants, runs, kAccuracySeeds);
  const std::string tables = dynamics_accuracy_markdown(accuracy);
  EXPECT_NE(page.find(tables), std::string::npos) << tables;
  // What holds whatever the page says.
  double predicted = 0;
  double count = 0;
  for (const RunAccuracy& run : accuracy.runs) {
    if (run.fitted) {
      EXPECT_LE(run.error, kImbalanceTarget) << run.recorded->name;
    } else {
      predicted += run.error;
      ++count;
    }
  }
  EXPECT_LT(predicted / count, 0.20);
  EXPECT_EQ(accuracy.predicted_order.right, accuracy.predicted_order.pairs);
  EXPECT_EQ(accuracy.predicted_order.pairs, 15);
  EXPECT_EQ(accuracy.fitted_order.pairs, 3);
  for (const RecordedRun& run : runs) {
    const auto& names = constants.fitted_to;
    EXPECT_EQ(fitting_run(run), std::find(names.begin(), names.end(), run.name) != names.end())
        << run.name;
  }
}

}  // namespace
}  // namespace sim
