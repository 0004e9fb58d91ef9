#include "sim/policies/schedules/pipeline_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "sim/core/error.h"

namespace sim {
namespace {

// The schedule that a text asks for, of two stages and two micro-batches; or its mistakes.
PipelineSchedule read(const std::string& text, int stages = 2, int micro_batches = 2) {
  const auto document = YamlDocument::parse(text, "s.yaml");
  Mistakes mistakes;
  YamlMap map(document->root(), "schedule", mistakes);
  const PipelineChoice choice = read_pipeline_choice(map);
  map.finish();
  mistakes.throw_if_any();
  return make_pipeline_schedule(choice, stages, micro_batches);
}

std::string error_of(const std::string& text, int stages = 2, int micro_batches = 2) {
  try {
    read(text, stages, micro_batches);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(PipelineChoice, AGivenOrderIsTheOneThatANameStandsFor) {
  const PipelineSchedule given =
      read("pipeline: given\norder: [[F0, F1, B0, B1], [F0, B0, F1, B1]]\n");
  const PipelineSchedule named = read("pipeline: 1f1b\n");
  EXPECT_EQ(given.order, named.order);
  EXPECT_EQ(read("{}").order, named.order);
  const PipelineSchedule two_ways = read(
      "pipeline: given\nchunk_layout: two-ways\n"
      "order: [[F0.0, F2.1, F1.0, B2.1, F3.1+B0.0, B3.1, I1.0, W1.0],\n"
      "        [F2.1, F0.0, F3.1, B0.0, F1.0+B2.1, B1.0, I3.1, W3.1]]\n",
      2, 4);
  EXPECT_EQ(two_ways.order, read("pipeline: dualpipe\n", 2, 4).order);
}

TEST(PipelineChoice, ADeadlockIsRefusedWithItsCycle) {
  EXPECT_EQ(
      error_of("pipeline: given\norder: [[F0, B0, F1, B1], [F0, F1, B0, B1]]\n"),
      "s.yaml:2:8: the schedule never ends: stage 0 B0 waits for stage 1 B0, which waits for "
      "stage 1 F1, which waits for stage 0 F1, which waits for stage 0 B0; change the order of "
      "one of these stages");
  // In a V the last part lies on stage 0 again: its forward cannot come before stage 1's.
  EXPECT_EQ(
      error_of("pipeline: given\nchunk_layout: v\n"
               "order: [[F0.0, F0.1, B0.1, B0.0], [F0.1, F0.0, B0.1, B0.0]]\n",
               2, 1),
      "s.yaml:3:8: the schedule never ends: stage 1 F0.1 waits for stage 1 F0.0, which waits for "
      "stage 1 F0.1; change the order of one of these stages");
}

TEST(PipelineChoice, EveryPassStandsThereOnceAndInOrder) {
  const auto given = [](const std::string& second) {
    return error_of("pipeline: given\norder: [[F0, F1, B0, B1], [" + second + "]]\n");
  };
  EXPECT_EQ(given("F0, B0, F1"), "s.yaml:2:8: stage 1 never runs the backward (B1)");
  EXPECT_EQ(given("F0, B0, F1, F1, B1"), "s.yaml:2:8: stage 1 runs F1, which it ran before");
  EXPECT_EQ(given("F0, B0, I0, F1, B1"),
            "s.yaml:2:8: stage 1 runs I0, whose input gradient it computed before");
  EXPECT_EQ(given("F0, B0, F1, B1, W1"),
            "s.yaml:2:8: stage 1 runs a whole backward pass and then again computes the weight "
            "gradient (W1)");
  EXPECT_EQ(given("F0, I0, F1, B1"), "s.yaml:2:8: stage 1 never runs the weight gradient (W0)");
  EXPECT_EQ(
      given("F0, W0, I0, F1, B1"),
      "s.yaml:2:8: stage 1 has no input gradient yet when it computes the weight gradient (W0)");
  EXPECT_EQ(given("B0, F0, F1, B1"),
            "s.yaml:2:8: stage 1 computes gradients before, or beside, the forward (F0)");
  EXPECT_EQ(given("F0, B0, F1, B1, F2"),
            "s.yaml:2:8: stage 1 runs F2, but there are only micro-batches 0 to 1");
  EXPECT_EQ(given("F0, B0, F1, B1.1"),
            "s.yaml:2:8: stage 1 runs B1, but a stage has 1 chunk(s), counted from 0");
}

TEST(PipelineChoice, MistakesOfTheTextHaveTheirPlace) {
  EXPECT_EQ(
      error_of("pipeline: given\norder: [[F0, G0, F1], [F0, F1+]]\n"),
      "s.yaml:2:14: 'G0' is no pass; write F0 (forward), B0 (backward), I0 (input gradient), W0 "
      "(weight gradient), B0.1 for chunk 1, F3+B0 for two beside each other\n"
      "s.yaml:2:28: 'F1+' is no pass; write F0 (forward), B0 (backward), I0 (input gradient), "
      "W0 (weight gradient), B0.1 for chunk 1, F3+B0 for two beside each other");
  EXPECT_EQ(error_of("pipeline: given\n"),
            "s.yaml:1:1: pipeline: given needs schedule.order; a list per stage, such as [[F0, F1, "
            "B0, B1], [F0, B0, F1, B1]]");
  EXPECT_EQ(
      error_of("pipeline: 1f1b\norder: [[F0]]\n"),
      "s.yaml:2:8: schedule.order goes with pipeline: given; pipeline schedule 1f1b has its own");
  EXPECT_EQ(
      error_of("pipeline: given\norder: [[F0, B0]]\n"),
      "s.yaml:2:8: the order is of 1 stages, the pipeline has 2; schedule.order holds one list "
      "per stage (parallel.pp)");
  EXPECT_EQ(
      error_of("pipeline: dualpipe\n"),
      "s.yaml:1:11: dualpipe needs at least two micro-batches per stage: 4 for 2 stages, not 2");
}

}  // namespace
}  // namespace sim
