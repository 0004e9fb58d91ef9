#include "sim/input/yaml_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace sim {
namespace {

using ::testing::ElementsAre;

// What `read` finds wrong with the text, as a user sees it.
std::string mistakes_of(const std::string& text, const std::function<void(YamlMap&)>& read,
                        const std::vector<std::string>& assignments = {}) {
  const auto document = YamlDocument::parse(text, "a.yaml");
  for (const std::string& assignment : assignments) document->set(assignment);
  Mistakes mistakes;
  YamlMap map(document->root(), "the scenario", mistakes);
  read(map);
  map.finish();
  try {
    mistakes.throw_if_any();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

std::string error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(YamlReader, ReadsEveryKindOfValue) {
  const auto document = YamlDocument::parse(
      "text: hello\ncount: 1e3\nnumber: 0.5\nflag: yes\ntime: 2 us\nsize: 1 KiB\nrate: 8 Gb/s\n"
      "flops: 2 TFLOP/s\nword: slow\nlist: [1, 2, 3]\nnames: [a, b]\nmap: {inner: 7}\n",
      "a.yaml");
  Mistakes mistakes;
  YamlMap map(document->root(), "the scenario", mistakes);
  const std::vector<std::string> words = {"fast", "slow"};
  EXPECT_EQ(map.text("text"), "hello");
  EXPECT_EQ(map.count("count"), 1000);
  EXPECT_EQ(map.number("number"), 0.5);
  EXPECT_TRUE(map.flag_or("flag", false));
  EXPECT_EQ(map.duration("time"), Duration(2'000'000));
  EXPECT_EQ(map.bytes("size"), Bytes(1024));
  EXPECT_EQ(map.bandwidth("rate"), Bandwidth(1e9));
  EXPECT_EQ(map.flop_rate("flops"), FlopRate(2e12));
  EXPECT_EQ(map.choice("word", words), "slow");
  EXPECT_THAT(map.counts_or_empty("list"), ElementsAre(1, 2, 3));
  EXPECT_THAT(map.texts_or_empty("names"), ElementsAre("a", "b"));
  YamlMap inner = map.map("map");
  EXPECT_EQ(inner.count("inner"), 7);
  inner.finish();
  map.finish();
  EXPECT_TRUE(mistakes.empty()) << to_text(mistakes.list().front());
}

TEST(YamlReader, AnUnknownKeyIsNamedWithItsPlaceAndTheNearestKnownOne) {
  const auto read = [](YamlMap& map) {
    map.count_or("steps", 1);
    if (auto inner = map.map_if("workload")) {
      inner->count_or("context", 1);
      inner->finish();
    }
  };
  EXPECT_EQ(mistakes_of("workload:\n  contxet: 5\nsetps: 3\n", read),
            "a.yaml:2:3: unknown key 'contxet' in workload; did you mean 'context'?\n"
            "a.yaml:3:1: unknown key 'setps' in the scenario; did you mean 'steps'?");
}

TEST(YamlReader, EveryMistakeIsReportedAtOnceInTheOrderOfTheFile) {
  const std::vector<std::string> words = {"fast", "slow"};
  const auto read = [&](YamlMap& map) {  // asked for in another order than the file's
    map.choice("word", words);
    map.duration("time");
    map.number("number");
    map.count("count", {1, 10});
    map.flag_or("flag", true);
    map.text("missing");
    map.list_or_empty("list");
  };
  EXPECT_EQ(
      mistakes_of("count: 11\nnumber: x\ntime: 5\nword: slwo\nflag: maybe\nlist: 3\n", read),
      "a.yaml:1:1: the scenario needs the key 'missing'\n"
      "a.yaml:1:8: 'count' in the scenario is 11, but must lie between 1 and 10\n"
      "a.yaml:2:9: 'number' in the scenario must be a number without a unit, not 'x'\n"
      "a.yaml:3:7: 'time' in the scenario: '5' has no unit; add a unit, like '2 us' or '10 ms'\n"
      "a.yaml:4:7: 'slwo' is not a possible 'word' of the scenario; did you mean 'slow'?\n"
      "a.yaml:5:7: 'flag' in the scenario must be true or false, not 'maybe'\n"
      "a.yaml:6:7: 'list' in the scenario must be a list");
}

TEST(YamlReader, RangesAndKindsOfValues) {
  EXPECT_EQ(mistakes_of("a: 1.5\nb: -1\nc: 2\nd: [1]\n",
                        [](YamlMap& map) {
                          map.count("a");
                          map.number("b");
                          map.number("c", {0, 1});
                          map.text("d");
                        }),
            "a.yaml:1:4: 'a' in the scenario must be a whole number, not '1.5'\n"
            "a.yaml:2:4: 'b' in the scenario is -1, but must be at least 0\n"
            "a.yaml:3:4: 'c' in the scenario is 2, but must be between 0 and 1\n"
            "a.yaml:4:4: 'd' in the scenario must be a single value");
}

TEST(YamlReader, AKeyThatStandsTwiceIsAMistakeAtItsSecondPlace) {
  EXPECT_EQ(mistakes_of("steps: 1\nseed: 2\nsteps: 3\n",
                        [](YamlMap& map) {
                          map.count("steps");
                          map.count("seed");
                        }),
            "a.yaml:3:1: key 'steps' in the scenario stands here twice; keep one of them");
}

TEST(YamlReader, AValueWhereAMappingBelongs) {
  const auto read = [](YamlMap& map) { map.map("workload").count_or("steps", 1); };
  EXPECT_EQ(mistakes_of("workload: 5\n", read),
            "a.yaml:1:11: workload must be a mapping of keys to values");
  EXPECT_EQ(mistakes_of("", [](YamlMap&) {}), "a.yaml: the scenario is empty");
}

TEST(YamlReader, MistakesOfSeveralFilesAreSortedFileByFile) {
  Mistakes mistakes;
  mistakes.add({"a.yaml", 5, 1}, "fifth");
  mistakes.add({"b.yaml", 1, 1}, "of b");
  mistakes.add({"a.yaml", 2, 9}, "second");
  mistakes.add({"a.yaml", 2, 3}, "first");
  EXPECT_EQ(error_of([&] { mistakes.throw_if_any(); }),
            "a.yaml:2:3: first\na.yaml:2:9: second\na.yaml:5:1: fifth\nb.yaml:1:1: of b");
}

TEST(YamlReader, WhatIsNotYamlHasAPlaceToo) {
  EXPECT_EQ(error_of([] { YamlDocument::parse("a: 1\nb: [1, 2\n", "a.yaml"); }),
            "a.yaml:3:1: this is not YAML: end of sequence flow not found; "
            "check quotes, colons and indentation here");
  EXPECT_EQ(error_of([] { YamlDocument::load("no/such/file.yaml"); }),
            "no/such/file.yaml: this file does not exist");
  EXPECT_EQ(error_of([] { YamlDocument::load("/"); }), "/: this is not a file");
}

TEST(YamlReader, SetReplacesAndAddsAndShowsInTheText) {
  const auto document = YamlDocument::parse("workload: {steps: 1, kind: decode}\n", "a.yaml");
  document->set("workload.steps=5");
  document->set("routing.synthetic.zipf=0.5");
  document->set("cluster={use: hgx-h100, nodes: 2}");
  Mistakes mistakes;
  YamlMap map(document->root(), "the scenario", mistakes);
  EXPECT_EQ(map.map("workload").count("steps"), 5);
  EXPECT_EQ(map.map("routing").map("synthetic").number("zipf"), 0.5);
  EXPECT_EQ(map.map("cluster").count("nodes"), 2);
  EXPECT_TRUE(mistakes.empty());
  const std::string again = document->to_text();
  const auto copy = YamlDocument::parse(again, "copy.yaml");
  YamlMap read_again(copy->root(), "the scenario", mistakes);
  EXPECT_EQ(read_again.map("workload").count("steps"), 5) << again;
  EXPECT_EQ(read_again.map("workload").text("kind"), "decode") << again;
}

TEST(YamlReader, AMistakeInAnOverrideNamesTheOverride) {
  EXPECT_EQ(mistakes_of("workload: {steps: 1}\n",
                        [](YamlMap& map) {
                          YamlMap workload = map.map("workload");
                          workload.count("steps");
                          workload.finish();
                        },
                        {"workload.steps=many", "workload.stesp=3"}),
            "--set workload.steps: 'steps' in workload must be a whole number, not 'many'\n"
            "--set workload.stesp: unknown key 'stesp' in workload; did you mean 'steps'?");
}

TEST(YamlReader, AnOverrideThatCannotBe) {
  const auto document = YamlDocument::parse("workload: {steps: 1}\n", "a.yaml");
  EXPECT_EQ(error_of([&] { document->set("workload.steps"); }),
            "--set workload.steps: this is not key=value; write it like workload.steps=5");
  EXPECT_EQ(error_of([&] { document->set("=5"); }),
            "--set =5: this is not key=value; write it like workload.steps=5");
  EXPECT_EQ(error_of([&] { document->set("workload..steps=5"); }),
            "--set workload..steps: a part of this path is empty; write it like workload.steps=5");
  EXPECT_EQ(error_of([&] { document->set("workload.steps.more=5"); }),
            "--set workload.steps.more: 'workload.steps' is not a mapping");
  EXPECT_EQ(error_of([&] { document->set("workload.steps=[1"); }),
            "--set workload.steps:1:1: this is not YAML: end of sequence flow not found; "
            "check quotes, colons and indentation here");
}

TEST(YamlReader, WhatWasReadIsLoggedWithItsDefaults) {
  const auto document = YamlDocument::parse("workload: {steps: 4}\n", "a.yaml");
  Mistakes mistakes;
  YamlMap map(document->root(), "the scenario", mistakes);
  YamlMap workload = map.map("workload");
  workload.count_or("steps", 1);
  workload.duration_or("gap", Duration(500'000));
  map.number_or("zipf", 0.8);
  map.flag_or("fast", false);
  map.bytes_or("reserve", Bytes(2LL << 30));
  std::vector<std::string> lines;
  for (const ReadKey& key : document->read_keys()) {
    lines.push_back(key.path + "=" + key.value + (key.given ? " given" : " default"));
  }
  EXPECT_THAT(
      lines, ElementsAre("workload= given", "workload.steps=4 given", "workload.gap=500 ns default",
                         "zipf=0.8 default", "fast=false default", "reserve=2.00 GiB default"));
}

TEST(YamlReader, AWrongValueLeavesTheDefaultSoThatReadingGoesOn) {
  const auto document = YamlDocument::parse("steps: many\n", "a.yaml");
  Mistakes mistakes;
  YamlMap map(document->root(), "the scenario", mistakes);
  EXPECT_EQ(map.count_or("steps", 7), 7);
  EXPECT_EQ(map.count("absent", {3, 9}), 3);
  EXPECT_EQ(mistakes.list().size(), 2u);
}

}  // namespace
}  // namespace sim
