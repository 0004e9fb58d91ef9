#include "sim/policies/schedules/pipeline_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "sim/core/error.h"
#include "sim/policies/schedules/pipeline_choice.h"
#include "tests/policies/unit_time_pipeline.h"

namespace sim {
namespace {

using ::testing::ElementsAre;

PipelineSchedule make(std::string_view name, int stages, int micro_batches, int chunks = 0) {
  return make_pipeline_schedule(name, {stages, micro_batches, chunks});
}

std::string order_of(const PipelineSchedule& schedule, int stage) {
  std::string text;
  for (const Slot& slot : schedule.order[static_cast<std::size_t>(stage)])
    text += (text.empty() ? "" : " ") + to_text(schedule, slot);
  return text;
}

std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(PipelineSchedule, SmallOrdersAreThoseOfTheFigures) {
  const PipelineSchedule gpipe = make("gpipe", 2, 3);
  EXPECT_EQ(order_of(gpipe, 0), "F0 F1 F2 B2 B1 B0");
  EXPECT_EQ(order_of(gpipe, 1), "F0 F1 F2 B2 B1 B0");
  const PipelineSchedule one = make("1f1b", 3, 4);
  EXPECT_EQ(order_of(one, 0), "F0 F1 F2 B0 F3 B1 B2 B3");
  EXPECT_EQ(order_of(one, 1), "F0 F1 B0 F2 B1 F3 B2 B3");
  EXPECT_EQ(order_of(one, 2), "F0 B0 F1 B1 F2 B2 F3 B3");
  const PipelineSchedule interleaved = make("interleaved", 2, 4, 2);
  EXPECT_EQ(order_of(interleaved, 0),
            "F0.0 F1.0 F0.1 F1.1 F2.0 B0.1 F3.0 B1.1 F2.1 B0.0 F3.1 B1.0 B2.1 B3.1 B2.0 B3.0");
  EXPECT_EQ(order_of(interleaved, 1),
            "F0.0 F1.0 F0.1 B0.1 F1.1 B1.1 F2.0 B0.0 F3.0 B1.0 F2.1 B2.1 F3.1 B3.1 B2.0 B3.0");
  const PipelineSchedule zero = make("zero-bubble", 2, 3);
  EXPECT_EQ(order_of(zero, 0), "F0 F1 I0 W0 F2 I1 W1 I2 W2");
  EXPECT_EQ(order_of(zero, 1), "F0 I0 F1 I1 W0 F2 I2 W1 W2");
}

// DeepSeek's figure has 8 stages and 10 micro-batches per direction; this is its smallest sibling.
TEST(PipelineSchedule, DualPipeFeedsBothEnds) {
  const PipelineSchedule schedule = make("dualpipe", 2, 4);
  EXPECT_TRUE(schedule.two_copies());
  EXPECT_THAT(schedule.paths[1], ElementsAre(Position{1, 1}, Position{0, 1}));
  EXPECT_THAT(schedule.path_of, ElementsAre(0, 0, 1, 1));
  EXPECT_EQ(order_of(schedule, 0), "F0.0 F2.1 F1.0 B2.1 F3.1+B0.0 B3.1 I1.0 W1.0");
  EXPECT_EQ(order_of(schedule, 1), "F2.1 F0.0 F3.1 B0.0 F1.0+B2.1 B1.0 I3.1 W3.1");
  EXPECT_FALSE(make("dualpipe-v", 2, 4).two_copies());
}

struct Size {
  int stages;
  int micro_batches;
};
constexpr Size kSizes[] = {{1, 1}, {1, 5}, {2, 2},  {2, 7},  {4, 4},
                           {4, 8}, {5, 3}, {8, 24}, {16, 40}};

// GPipe, section 2.3: each stage idles (p - 1) of (m + p - 1) micro-batch times.
TEST(PipelineSchedule, GPipeAnd1F1BHaveTheBubbleOfTheFormula) {
  for (const char* name : {"gpipe", "1f1b"}) {
    for (const auto& [p, m] : kSizes) {
      const PipelineTimes run = run_unit_times(make(name, p, m), {1, 1.2, 0.9});
      for (const double busy : run.busy) {
        EXPECT_NEAR(1 - busy / run.makespan, (p - 1.0) / (m + p - 1.0), 1e-12) << name << p << m;
      }
    }
  }
}

// Megatron-LM (2104.04473), section 2.2.2: bubble over ideal time is (p - 1) / (v m).
TEST(PipelineSchedule, InterleavingDividesTheBubbleByTheChunks) {
  for (const int v : {2, 3, 4}) {
    for (const auto& [p, m] : {Size{2, 4}, Size{4, 4}, Size{4, 12}, Size{8, 16}, Size{3, 9}}) {
      const PipelineTimes run =
          run_unit_times(make("interleaved", p, m, v), {1.0 / v, 1.0 / v, 1.0 / v});
      EXPECT_NEAR(run.makespan / (3.0 * m) - 1, (p - 1.0) / (v * m), 1e-12) << v << p << m;
    }
  }
}

// Zero Bubble (2401.10241), table 2: ZB-H1 idles (p - 1)(F + I - W), with B of DeepSeek's table for
// I + W: (p - 1)(F + B - 2W).
TEST(PipelineSchedule, ZeroBubbleFillsTheEndWithWeightGradients) {
  for (const PassTimes& times :
       {PassTimes{1, 1, 1}, PassTimes{1, 1.2, 0.8}, PassTimes{1, 1, 0.5}}) {
    for (const auto& [p, m] : {Size{1, 3}, Size{2, 4}, Size{4, 8}, Size{4, 5}, Size{8, 32}}) {
      const PipelineTimes run = run_unit_times(make("zero-bubble", p, m), times);
      EXPECT_NEAR(run.makespan - run.busy[0],
                  (p - 1) * (times.forward + times.input - times.weight), 1e-9)
          << p << " " << m;
    }
  }
}

// ZB-V with equal passes: no stage waits between its first and its last pass.
TEST(PipelineSchedule, ZeroBubbleVNeverWaitsWhenPassesAreEqual) {
  for (const auto& [p, m] : {Size{2, 4}, Size{4, 8}, Size{4, 20}, Size{8, 16}}) {
    const PipelineTimes run = run_unit_times(make("zero-bubble-v", p, m), {1, 1, 1});
    for (std::size_t s = 0; s < run.busy.size(); ++s)
      EXPECT_DOUBLE_EQ(run.end[s] - run.begin[s], run.busy[s]) << p << " " << m << " stage " << s;
  }
}

// DeepSeek-V3 (2412.19437), table 2: (p / 2 - 1)(F&B + B - 3W). At F&B = F + B and at F = I = W; a
// cut DualPipe has the bubble of one twice as deep.
TEST(PipelineSchedule, DualPipeHasTheBubbleOfTheTable) {
  for (const double beside : {3.0, 2.4}) {
    for (const auto& [p, m] : {Size{2, 4}, Size{4, 8}, Size{4, 20}, Size{8, 20}, Size{16, 40}}) {
      const double formula = (beside + 2 - 3);
      const PassTimes times{1, 1, 1, beside};
      const PipelineTimes run = run_unit_times(make("dualpipe", p, m), times);
      const auto middle = static_cast<std::size_t>(p / 2);
      EXPECT_NEAR(run.makespan - run.busy[middle], (p / 2.0 - 1) * formula, 1e-9) << p << " " << m;
      const PipelineTimes cut = run_unit_times(make("dualpipe-v", p, m), times);
      EXPECT_NEAR(cut.makespan - cut.busy.back(), (p - 1.0) * formula, 1e-9) << p << " " << m;
    }
  }
}

TEST(PipelineSchedule, ActivationsInFlightAreThoseOfThePapers) {
  for (int stage = 0; stage < 4; ++stage) {
    EXPECT_EQ(most_in_flight(make("gpipe", 4, 12), stage), 12);
    EXPECT_EQ(most_in_flight(make("1f1b", 4, 12), stage), 4 - stage);
    EXPECT_EQ(most_in_flight(make("1f1b", 4, 2), stage), std::min(2, 4 - stage));
    EXPECT_EQ(most_in_flight(make("zero-bubble", 4, 12), stage), 4);
    EXPECT_EQ(most_in_flight(make("zero-bubble-v", 4, 12), stage), 8);
    EXPECT_EQ(most_in_flight(make("dualpipe", 4, 12), stage), 5);
    EXPECT_EQ(most_in_flight(make("dualpipe-v", 4, 12), stage), 9);
    // Megatron-LM: the warm-up and one more.
    EXPECT_EQ(most_in_flight(make("interleaved", 4, 12, 3), stage), 2 * (3 - stage) + 8 + 1);
  }
}

TEST(PipelineSchedule, EveryScheduleEndsAndOrdersItsSlots) {
  for (const ScheduleInfo& info : kPipelineSchedules) {
    if (info.name == "given") continue;
    int made = 0;
    for (int p = 1; p <= 8; ++p) {
      for (int m = 1; m <= 20; ++m) {
        const int chunks = info.own_chunks == 0 ? 2 + m % 3 : 0;
        PipelineSchedule schedule;
        try {
          schedule = make(info.name, p, m, chunks);
        } catch (const Error&) {
          continue;
        }
        ++made;
        ASSERT_NO_THROW(check_schedule(schedule)) << info.name << p << " " << m;
        std::size_t slots = 0;
        for (const auto& stage : schedule.order) slots += stage.size();
        EXPECT_EQ(dependency_order(schedule).size(), slots);
        run_unit_times(schedule, {});  // throws where a slot comes before what it needs
      }
    }
    EXPECT_GE(made, 20) << info.name;
  }
}

TEST(PipelineSchedule, RefusesWhatDoesNotExistAndSaysWhy) {
  EXPECT_EQ(error_of([] { make("1f1c", 2, 2); }),
            "there is no pipeline schedule '1f1c'; did you mean '1f1b'?");
  EXPECT_EQ(
      error_of([] { make("interleaved", 4, 6, 2); }),
      "interleaved needs a multiple of the 4 stages as micro-batches, not 6; change the number "
      "of micro-batches, or take 1f1b");
  EXPECT_EQ(error_of([] { make("interleaved", 4, 8); }),
            "pipeline schedule interleaved needs at least 2 chunks per stage; set schedule.chunks; "
            "with one chunk it is 1f1b");
  EXPECT_EQ(
      error_of([] { make("zero-bubble", 4, 8, 2); }),
      "pipeline schedule zero-bubble has 1 chunk per stage, not 2; leave schedule.chunks out, "
      "or take interleaved");
  EXPECT_EQ(
      error_of([] { make("dualpipe", 3, 8); }),
      "dualpipe feeds both ends alike: it needs an even number of stages and of micro-batches, "
      "not 3 and 8");
  EXPECT_EQ(error_of([] { make("dualpipe", 8, 10); }),
            "dualpipe needs at least two micro-batches per stage: 16 for 8 stages, not 10");
  EXPECT_EQ(
      error_of([] { make("1f1b", 100000, 100000); }),
      "100000 stages x 100000 micro-batches x 1 chunks are more passes than the 8388608 that a "
      "schedule may have");
}

}  // namespace
}  // namespace sim
