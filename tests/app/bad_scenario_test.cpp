// Every kind of mistake in a scenario through the real command: one clear message with its place,
// exit 1, no results database.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

const std::string kModel = "model: model.yaml\n";
const std::string kCluster = "cluster: {use: hgx-h100, nodes: 1}\n";
const std::string kWorkload = "workload: {kind: decode, tokens_per_gpu: 8, context: 100}\n";
const std::string kRouting = "routing: {synthetic: {zipf: 0.8}}\n";
const std::string kBase = kModel + kCluster + kWorkload + kRouting;  // four lines

struct Case {
  const char* name;
  std::string yaml;
  std::string message;
};

const std::string kNeedsCluster = "scenario.yaml:1:1: the scenario needs the key 'cluster'\n";

const Case kCases[] = {
    {"UnknownKey", kBase + "paralel: {ep: 8}\n",
     "scenario.yaml:5:1: unknown key 'paralel' in the scenario; did you mean 'parallel'?\n"},
    {"MissingKey", kModel + kWorkload + kRouting, kNeedsCluster},
    {"MissingUnit", kBase + "host: {gap: 5}\n",
     "scenario.yaml:5:13: 'gap' in host: '5' has no unit; add a unit, like '2 us' or '10 ms'\n"},
    {"UnknownUnit", kBase + "host: {gap: 5 parsecs}\n",
     "scenario.yaml:5:13: 'gap' in host: 'parsecs' is not a unit of a duration; the units are ps, "
     "ns, us, ms, s, min, h\n"},
    {"KeyTwice", kBase + "seed: 1\nseed: 2\n",
     "scenario.yaml:6:1: key 'seed' in the scenario stands here twice; keep one of them\n"},
    {"NotYaml", kBase + "host: {gap: [5\n",
     "scenario.yaml:6:1: this is not YAML: end of sequence flow not found; check quotes, colons "
     "and indentation here\n"},
    {"TabForIndentation", kBase + "host:\n\tgap: 5 us\n",
     "scenario.yaml:6:5: this is not YAML: illegal map value; check quotes, colons and indentation "
     "here\n"},
    {"EmptyFile", "", "scenario.yaml: the scenario is empty\n"},
    {"AList", "- a\n- b\n",
     "scenario.yaml:1:1: the scenario must be a mapping of keys to values\n"},
    {"ScalarForAMapping", kBase + "parallel: 8\n",
     "scenario.yaml:5:11: parallel must be a mapping of keys to values\n"},
    {"ExpertGroupsDisagree", kBase + "parallel: {ep: 4, edp: 4}\n",
     "scenario.yaml:5:11: ep x edp is 16, but the cluster has 8 GPUs; leave one of them out, or "
     "change the cluster's nodes\n"},
    {"TpDoesNotDivide", kBase + "parallel: {tp: 3}\n",
     "scenario.yaml:5:11: tp 3 does not divide the GPUs: the cluster has 8 GPUs; change it, or the "
     "cluster's nodes\n"},
    {"UnknownModel", "model: deepseek-v33\n" + kCluster + kWorkload + kRouting,
     "scenario.yaml:1:8: there is no model 'deepseek-v33'; did you mean 'deepseek-v3'?\n"},
    {"FolderAsModel", "model: ..\n" + kCluster + kWorkload + kRouting,
     "scenario.yaml:1:8: '..' is a folder, not a model; name a file in it\n"},
    {"UnknownCluster", kModel + "cluster: {use: hgx-h1000}\n" + kWorkload + kRouting,
     "scenario.yaml:2:16: no cluster is called 'hgx-h1000'; did you mean 'hgx-h100'?\n"},
    {"UnknownPolicy", kBase + "placement: {policy: epbl}\n",
     "scenario.yaml:5:21: 'epbl' is not a possible 'policy' of placement; did you mean 'eplb'?\n"},
    {"UnknownAlgorithm", kBase + "communication: {dispatch: deepep-low-latncy}\n",
     "scenario.yaml:5:27: 'deepep-low-latncy' is not a possible 'dispatch' of communication; did "
     "you mean 'deepep-low-latency'?\n"},
    {"UnknownPrecision", kBase + "communication: {precision: {dispatch: fp7}}\n",
     "scenario.yaml:5:39: 'fp7' is not a possible 'dispatch' of precision; did you mean 'fp8'?\n"},
    {"ClusterWithoutNodes", kModel + "cluster: {use: hgx-h100, nodes: 0}\n" + kWorkload + kRouting,
     "scenario.yaml:2:33: 'nodes' in cluster is 0, but must lie between 1 and 1048576\n"},
    {"ZeroBandwidth",
     kModel + "cluster: {use: hgx-h100, nic: {bandwidth: 0 GB/s}}\n" + kWorkload + kRouting,
     "scenario.yaml:2:43: 'bandwidth' in nic must be positive\n"},
    {"UnreachableGpu",
     kModel +
         "cluster:\n  generator: custom\n"
         "  nodes: [{name: n, device: h100-sxm, gpus: 3}]\n  switches: [s]\n  links:\n"
         "    - {from: n/gpu0, to: s, bandwidth: 1 GB/s}\n"
         "    - {from: n/gpu1, to: s, bandwidth: 1 GB/s}\n" +
         kWorkload + kRouting,
     "scenario.yaml:3:3: cluster 'custom': gpu 0 of node 'n' cannot reach gpu 2 of node 'n'; GPUs "
     "forward nothing for others: join their switches in both directions\n"},
    {"TooManyTokens",
     kModel + kCluster + "workload: {kind: decode, tokens_per_gpu: 1000000000, context: 100}\n" +
         kRouting,
     "scenario.yaml:3:42: 'tokens_per_gpu' in workload is 1000000000, but must lie between 1 and "
     "1048576\n"},
    // 1024 GPUs x 1,000,000 sequences.
    {"TooManyTokensTogether",
     kModel + "cluster: {use: hgx-h100, nodes: 128}\n" +
         "workload: {kind: decode, tokens_per_gpu: 1000000, context: 100}\n" + kRouting,
     "scenario.yaml:3:11: this asks for 1024000000 sequences at once over 1024 GPUs; the most is "
     "16777216; lower tokens_per_gpu\n"},
    {"NegativeCount",
     kModel + kCluster + "workload: {kind: decode, tokens_per_gpu: -3, context: 100}\n" + kRouting,
     "scenario.yaml:3:42: 'tokens_per_gpu' in workload is -3, but must lie between 1 and "
     "1048576\n"},
    {"HalfAToken",
     kModel + kCluster + "workload: {kind: decode, tokens_per_gpu: 8.5, context: 100}\n" + kRouting,
     "scenario.yaml:3:42: 'tokens_per_gpu' in workload must be a whole number, not '8.5'\n"},
    {"NoSteps",
     kModel + kCluster + "workload: {kind: decode, tokens_per_gpu: 8, context: 100, steps: 0}\n" +
         kRouting,
     "scenario.yaml:3:66: 'steps' in workload is 0, but must lie between 1 and 1000000\n"},
    {"SeedIsAWord", kBase + "seed: seven\n",
     "scenario.yaml:5:7: 'seed' in the scenario must be a whole number, not 'seven'\n"},
    {"NotANumber", kModel + kCluster + kWorkload + "routing: {synthetic: {zipf: .nan}}\n",
     "scenario.yaml:4:29: 'zipf' in synthetic must be a number without a unit, not '.nan'\n"},
    // 16 experts on 8 ranks: at most 16 x 7 = 112 further copies.
    {"TooManyRedundantExperts", kBase + "placement: {redundant_experts: 113}\n",
     "scenario.yaml:5:12: 113 redundant experts are more than every expert on every rank: 16 "
     "experts, ep 8\n"},
    {"CommunicationHoldsAllSms", kBase + "communication: {sms: 200}\n",
     "scenario.yaml:5:16: communication cannot hold 200 SMs: h100-sxm has 132\n"},
    {"MissingTrace", kModel + kCluster + kWorkload + "routing: {trace: no.moetrace}\n",
     "scenario.yaml:4:18: there is no trace file 'no.moetrace'; make one with `simulate trace "
     "import` or `simulate trace synth`\n"},
    {"NoRouting", kModel + kCluster + kWorkload,
     "scenario.yaml:1:1: the scenario needs the key 'routing'; for example routing: {synthetic: "
     "{zipf: 0.8}} or routing: {trace: FILE.moetrace}\n"},
    // All at once, in the order of the file.
    {"SeveralMistakes",
     kModel + "cluster: {use: hgx-h100, nodes: 0}\nworkload: {kind: decode, tokens_per_gpu: -3, "
              "contxt: 100}\nrouting: {synthetic: {zipf: x}}\n",
     "scenario.yaml:2:33: 'nodes' in cluster is 0, but must lie between 1 and 1048576\n"
     "scenario.yaml:3:11: workload needs the key 'context'\n"
     "scenario.yaml:3:42: 'tokens_per_gpu' in workload is -3, but must lie between 1 and 1048576\n"
     "scenario.yaml:3:46: unknown key 'contxt' in workload; did you mean 'context'?\n"
     "scenario.yaml:4:29: 'zipf' in synthetic must be a number without a unit, not 'x'\n"},
};

class BadScenario : public Refusal, public ::testing::WithParamInterface<Case> {};

TEST_P(BadScenario, IsRefusedWithItsPlace) {
  EXPECT_EQ(refused_scenario(GetParam().yaml), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(App, BadScenario, ::testing::ValuesIn(kCases),
                         [](const auto& each) { return std::string(each.param.name); });

TEST_F(Refusal, TheBaseOfTheseCasesIsGood) {
  folder_.write("scenario.yaml", kBase);
  EXPECT_EQ(simulate(folder_, {"run", "scenario.yaml"}).exit_code, 0);
}

TEST_F(Refusal, ModelTooBigForMemoryNamesTheItemsAndTheirSum) {
  // 61 layers of 256 experts in fp8 cannot lie on 8 GPUs of 80 GB; the largest item says why.
  const std::string text =
      refused_scenario("model: deepseek-v3\n" + kCluster + kWorkload + kRouting);
  EXPECT_EQ(text.substr(0, text.find(": weights: embedding")),
            "scenario.yaml:3:11: gpu 0 (h100-sxm) needs 98.0 GiB of its 74.5 GiB");
  for (const char* item :
       {"weights: routed_experts 76.1 GiB", "weights: attention 10.6 GiB", "kv cache 53.6 MiB",
        "communication buffers 1.86 MiB", "framework reserve 4.00 GiB"}) {
    EXPECT_NE(text.find(item), std::string::npos) << item << " in\n" << text;
  }
  EXPECT_EQ(text.substr(text.rfind("; ")),
            "; raise ep or tp, or lower tokens_per_gpu or context\n");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);  // of one GPU, not of all eight
}

TEST_F(Refusal, ScenarioFileThatIsNone) {
  EXPECT_EQ(refused({"run", "missing.yaml", "--results", "r.db"}).substr(0, 60),
            "there is no scenario file 'missing.yaml'; possible: deepseek");
  EXPECT_EQ(refused({"run", "first-ligth", "--results", "r.db"}),
            "there is no scenario 'first-ligth'; did you mean 'first-light'?\n");
  EXPECT_EQ(refused({"run", ".", "--results", "r.db"}),
            "'.' is a folder, not a scenario; name a file in it\n");
}

TEST_F(Refusal, MistakesInTheModelFileHaveTheirPlaceThere) {
  folder_.write("model.yaml", replaced(kTinyModel, "  - {repeat: 1, pattern: [[attention, dense]]}",
                                       "  - [attention, dense]"));
  EXPECT_EQ(refused_scenario(kBase),
            "model.yaml:11:5: a run of layers must be a mapping; write it like {repeat: 2, "
            "pattern: [[attention, routed]]}\n");
  folder_.write("model.yaml", replaced(kTinyModel, "[[attention, dense]]", "[[attention, denze]]"));
  EXPECT_EQ(refused_scenario(kBase),
            "model.yaml:11:39: there is no block 'denze'; did you mean 'dense'?\n");
}

TEST_F(Refusal, OverridesThatAreNotUnderstood) {
  const auto set = [&](const std::string& assignment) {
    return refused({"run", "good.yaml", "--results", "r.db", "--set", assignment});
  };
  EXPECT_EQ(set("workload"),
            "--set workload: this is not key=value; write it like workload.steps=5\n");
  EXPECT_EQ(set("=5"), "--set =5: this is not key=value; write it like workload.steps=5\n");
  EXPECT_EQ(set("workload..steps=5"),
            "--set workload..steps: a part of this path is empty; write it like "
            "workload.steps=5\n");
  EXPECT_EQ(set("workload.kind.x=5"), "--set workload.kind.x: 'workload.kind' is not a mapping\n");
  EXPECT_EQ(set("workload.stepz=5"),
            "--set workload.stepz: unknown key 'stepz' in workload; did you mean 'steps'?\n");
  EXPECT_EQ(set("wrkload.steps=5"),
            "--set wrkload.steps: unknown key 'wrkload' in the scenario; did you mean "
            "'workload'?\n");
  EXPECT_EQ(set("workload.steps=0"),
            "--set workload.steps: 'steps' in workload is 0, but must lie between 1 and "
            "1000000\n");
  EXPECT_EQ(set("workload.steps=[1"),
            "--set workload.steps:1:1: this is not YAML: end of sequence flow not found; check "
            "quotes, colons and indentation here\n");
}

TEST_F(Refusal, SeedsThatAreNoWholeNumber) {
  for (const std::string seed : {"abc", "-1", "1.5", "99999999999999999999"}) {
    EXPECT_EQ(refused({"run", "good.yaml", "--results", "r.db", "--seed", seed}),
              "--seed: '" + seed + "' is not a whole number from 0 to 9000000000000000\n");
  }
}

}  // namespace
}  // namespace sim::testing
