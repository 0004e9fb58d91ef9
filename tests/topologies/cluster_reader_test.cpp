#include "topologies/cluster_reader.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/topologies/reading.h"
#include "topologies/generators.h"

namespace sim {
namespace {

using testing::catalog;
using testing::cluster_of;
using testing::link_named;
using testing::mistakes_of;

const std::string kBase =
    "use: hgx, device: x, nvlink: {bandwidth: 1 GB/s}, nic: {bandwidth: 1 GB/s}";

// A file that goes away with the test.
class TemporaryFile {
 public:
  TemporaryFile(const std::string& name, const std::string& text)
      : path_(std::filesystem::path(::testing::TempDir()) / name) {
    std::ofstream(path_) << text;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

TEST(ClusterReader, ACatalogNameIsACluster) {
  const auto document = YamlDocument::parse("cluster: hgx-h100", "s.yaml");
  Mistakes mistakes;
  YamlMap scenario(document->root(), "scenario", mistakes);
  const Cluster cluster = read_cluster(scenario.child("cluster"), catalog(), mistakes);
  EXPECT_TRUE(mistakes.empty());
  EXPECT_EQ(cluster.name, "hgx-h100");
  EXPECT_EQ(cluster.device_count(), 8);
  EXPECT_FALSE(cluster.source.empty());
}

TEST(ClusterReader, KeysOverrideTheCatalogAlsoInsideSections) {
  const Cluster cluster = cluster_of(
      "{use: hgx-h100, nodes: 9, oversubscription: 2, spraying: ideal, nic: {bandwidth: 800 "
      "Gb/s}}");
  EXPECT_EQ(cluster.device_count(), 72);
  EXPECT_EQ(link_named(cluster, "node8/gpu7/nic-up").capacity, Bandwidth(100e9));
  EXPECT_EQ(link_named(cluster, "node8/gpu7/nic-up").latency, std::chrono::nanoseconds(1400));
  EXPECT_EQ(link_named(cluster, "rail0/leaf0-spine").capacity, Bandwidth(450e9));
}

TEST(ClusterReader, AnOverriddenNumberLosesTheCatalogsSource) {
  const Cluster cluster = cluster_of("{use: hgx-h100, nodes: 2, nic: {bandwidth: 800 Gb/s}}");
  for (const Figure& figure : cluster.figures) {
    if (figure.what == "nic") {
      EXPECT_EQ(figure.value, "100 GB/s");
      EXPECT_EQ(figure.label, "assumed");
      EXPECT_EQ(figure.source, "test.yaml:1");
    } else if (figure.what == "nic latency" || figure.what == "nvlink") {
      EXPECT_EQ(figure.label, "published") << figure.what;
    }
  }
}

TEST(ClusterReader, AFileMayBuildOnTheCatalogAndAPathWins) {
  const TemporaryFile file("hgx-h100", "{use: hgx-h200, nodes: 3}");  // named like a catalog entry
  EXPECT_EQ(cluster_of("{use: '" + file.path() + "'}").device_count(), 24);
  const Cluster more = cluster_of("{use: '" + file.path() + "', nodes: 4}");
  EXPECT_EQ(more.device_count(), 32);
  EXPECT_EQ(more.devices[0].device_type, "h200-sxm");
  EXPECT_EQ(load_cluster(file.path(), catalog()).name, "hgx-h100");
  // From the same folder the bare name is the file.
  const auto document = YamlDocument::parse(
      "cluster: hgx-h100", (std::filesystem::path(::testing::TempDir()) / "s.yaml").string());
  Mistakes mistakes;
  YamlMap scenario(document->root(), "scenario", mistakes);
  EXPECT_EQ(read_cluster(scenario.child("cluster"), catalog(), mistakes).device_count(), 24);
}

TEST(ClusterReader, MistakesInAFileNameTheFile) {
  const TemporaryFile file("broken.yaml",
                           "generator: hgx\ndevice: x\nnvlink: {bandwith: 1 GB/s}\n");
  EXPECT_EQ(mistakes_of("{use: '" + file.path() + "'}"),
            file.path() + ":3:9: nvlink needs the key 'bandwidth'\n" + file.path() +
                ":3:10: unknown key 'bandwith' in nvlink; did you mean 'bandwidth'?\n"
                "test.yaml:1:1: cluster needs the key 'nic'");
}

TEST(ClusterReader, FilesThatUseEachOtherEnd) {
  const TemporaryFile file("circle.yaml", "use: circle.yaml");
  EXPECT_EQ(mistakes_of("{use: '" + file.path() + "'}"),
            file.path() +
                ":1:6: these cluster files use each other more than 8 deep; does one use itself?");
}

TEST(ClusterReader, WrongNamesAreSuggested) {
  EXPECT_EQ(mistakes_of("{use: hgx-h10}"),
            "test.yaml:1:7: no cluster is called 'hgx-h10'; did you mean 'hgx-h100'?");
  EXPECT_EQ(mistakes_of("{generator: hgxx}"),
            "test.yaml:1:13: no generator is called 'hgxx'; did you mean 'hgx'?");
  EXPECT_EQ(mistakes_of("{use: missing/x.yaml}"),
            "test.yaml:1:7: 'missing/x.yaml': this file does not exist");
  EXPECT_EQ(mistakes_of("hgx-h101"),
            "test.yaml:1:1: no cluster is called 'hgx-h101'; did you mean 'hgx-h100'?");
}

TEST(ClusterReader, ShapesOfTheValueAreChecked) {
  EXPECT_EQ(mistakes_of("{nodes: 2}"),
            "test.yaml:1:1: cluster needs the key 'use'; name a catalog entry, a file or a "
            "generator: use: hgx-h100");
  EXPECT_EQ(mistakes_of("{use: hgx, generator: hgx}"),
            "test.yaml:1:1: cluster has both 'use' and 'generator'; keep one of them");
  EXPECT_EQ(mistakes_of("[1]"), "test.yaml:1:1: cluster must be a mapping of keys to values");
  EXPECT_EQ(mistakes_of("{use: }"), "test.yaml:1:7: 'use' in cluster must be a single value");
  EXPECT_EQ(mistakes_of("pcie-box").substr(0, 66),
            "test.yaml:1:1: 'pcie-box' is a generator and needs parameters; wri");
  EXPECT_EQ(mistakes_of(""), "test.yaml: cluster is empty");
}

TEST(ClusterReader, EveryMistakeAtOnceWithItsPlace) {
  EXPECT_EQ(mistakes_of("use: hgx-h100\n"
                        "nodes: 0\n"
                        "oversubscribtion: 2\n"
                        "nic: {bandwidth: 50}\n"
                        "spraying: idael\n"),
            "test.yaml:2:8: 'nodes' in cluster is 0, but must lie between 1 and 1048576\n"
            "test.yaml:3:1: unknown key 'oversubscribtion' in cluster; did you mean "
            "'oversubscription'?\n"
            "test.yaml:4:18: 'bandwidth' in nic: '50' has no unit; add a unit, like '400 Gb/s' or "
            "'50 GB/s'\n"
            "test.yaml:5:11: 'idael' is not a possible 'spraying' of cluster; did you mean "
            "'ideal'?");
}

TEST(ClusterReader, AbsurdSizesAreRefusedBeforeAnythingIsBuilt) {
  EXPECT_EQ(mistakes_of("{" + kBase + ", nodes: 1000000}"),
            "test.yaml:1:85: this cluster has 8000000 GPUs, more than the 1048576 that fit");
  EXPECT_EQ(mistakes_of("{use: hgx-h100, node_groups: [{nodes: 1000000}, {nodes: 1000000}]}"),
            "test.yaml:1:30: this cluster has 16000000 GPUs, more than the 1048576 that fit");
  EXPECT_EQ(mistakes_of("{use: gb200-nvl72, domains: 1048576}"),
            "test.yaml:1:29: this cluster has 75497472 GPUs, more than the 1048576 that fit");
  EXPECT_EQ(
      mistakes_of("{use: single-switch, gpus: 1e12, device: x, port: {bandwidth: 1 GB/s}}"),
      "test.yaml:1:28: 'gpus' in cluster is 1000000000000, but must lie between 1 and 1048576");
  EXPECT_EQ(
      mistakes_of("{" + kBase +
                  ", nodes: 2000, oversubscription: 0.01, nodes_per_leaf: 2000, "
                  "gpus_per_node: 64}"),
      "test.yaml:1:109: this network has 64 leaves and more than 8388608 links between leaves "
      "and spines; raise 'oversubscription' or use 'spraying: ideal'");
}

TEST(ClusterReader, RatesMustBePositive) {
  EXPECT_EQ(mistakes_of("{use: hgx-h100, nic: {bandwidth: 0 GB/s}}"),
            "test.yaml:1:34: 'bandwidth' in nic must be positive");
  EXPECT_EQ(mistakes_of("{use: hgx, device: x, nvlink: , nic: {bandwidth: 1 GB/s}}"),
            "test.yaml:1:31: nvlink needs the key 'bandwidth'");
}

TEST(ClusterReader, KeysThatContradictAreRefused) {
  EXPECT_EQ(
      mistakes_of("{use: hgx-h100, nodes: 2, node_groups: [{nodes: 2}]}"),
      "test.yaml:1:24: 'nodes' and 'node_groups' both say how many nodes there are; leave out "
      "one of them");
  EXPECT_EQ(
      mistakes_of("{use: gb200-nvl72, nodes: 2, domains: 1}"),
      "test.yaml:1:27: 'nodes' and 'domains' both say how large the cluster is; leave out one "
      "of them");
  EXPECT_EQ(mistakes_of("{use: hgx-h100, spraying: ideal, paths_per_flow: 4}"),
            "test.yaml:1:50: 'paths_per_flow' has no effect with 'spraying: ideal'; leave one of "
            "them out");
  EXPECT_EQ(mistakes_of("{use: hgx-h100, node_groups: []}"),
            "test.yaml:1:30: 'node_groups' has no group");
}

TEST(ClusterReader, ConstantsNeedALabelASourceAndSense) {
  EXPECT_EQ(mistakes_of("use: hgx-h100\n"
                        "communication:\n"
                        "  - algorithm: mine\n"
                        "    dispatch: {base: 1 us, nic_efficiency: 1.5, label: guessed}\n"
                        "    combine: {base: 1 us, label: measured, source: lab}\n"),
            "test.yaml:4:15: dispatch needs the key 'source'\n"
            "test.yaml:4:44: 'nic_efficiency' in dispatch is 1.5, but must be between 0.001 and 1\n"
            "test.yaml:4:56: 'guessed' is not a possible 'label' of dispatch; possible: measured, "
            "fitted, published, roofline, assumed");
}

TEST(ClusterReader, ScopesChooseConstants) {
  const Cluster cluster = cluster_of("{use: hgx-h100, nodes: 4}");
  const AlgorithmConstants* one = find_constants(cluster, "deepep-low-latency", 1);
  const AlgorithmConstants* four = find_constants(cluster, "deepep-low-latency", 4);
  ASSERT_NE(one, nullptr);
  ASSERT_NE(four, nullptr);
  EXPECT_EQ(one->dispatch.base, std::chrono::nanoseconds(8490));
  EXPECT_EQ(four->dispatch.base, std::chrono::nanoseconds(14700));
  EXPECT_EQ(four->dispatch.per_doubling, std::chrono::nanoseconds(5250));
  EXPECT_EQ(four->dispatch.nic_efficiency, 0.972);
  EXPECT_EQ(four->combine.nvlink_efficiency, 0.466);
  EXPECT_EQ(find_constants(cluster, "carrier-pigeon", 4), nullptr);
  const CollectiveConstants* ring =
      find_collective(cluster, "nccl-ring", "all-gather", 1, 8, Bytes(1));
  ASSERT_NE(ring, nullptr);
  EXPECT_EQ(ring->nvlink_efficiency, 0.795);
  EXPECT_EQ(ring->ramp_bytes, Bytes(5'360'000));
  EXPECT_EQ(ring->fitted_to, std::vector<std::string>{"aic-nccl-h100-2.29.2#1-42,337-378"});
  EXPECT_EQ(find_collective(cluster, "nccl-nvls", "all-reduce", 2, 8, Bytes(1)), nullptr);
}

TEST(ClusterReader, ConstantsHoldFromASizeAndForEnoughRanks) {
  const Cluster cluster = cluster_of("{use: hgx-b200, nodes: 1}");
  const auto base = [&](std::int64_t bytes) {
    return find_collective(cluster, "nccl-ring", "all-gather", 1, 8, Bytes(bytes))->base;
  };
  EXPECT_EQ(base(8 * 1448 * 1024 - 8), std::chrono::nanoseconds(7940));
  EXPECT_EQ(base(8 * 1448 * 1024), std::chrono::nanoseconds(9910));
  EXPECT_EQ(find_collective(cluster, "nccl-nvls", "all-reduce", 1, 5, Bytes(1)), nullptr);
  EXPECT_NE(find_collective(cluster, "nccl-nvls", "all-reduce", 1, 6, Bytes(1)), nullptr);
}

TEST(ClusterReader, CustomMistakes) {
  EXPECT_EQ(
      mistakes_of(R"(generator: custom
nodes: [{name: a, device: x, gpus: 2}]
switches: [leaf, leaf]
links:
  - {from: a/gpu0, to: leef, bandwidth: 1 GB/s}
  - {from: a/gpu0, to: a/gpu0, bandwidth: 1 GB/s}
  - {from: a/gpu1, to: leaf, bandwidth: 0 GB/s, kind: wifi}
)"),
      "test.yaml:3:18: two vertices are called 'leaf'; give each node and switch its own name\n"
      "test.yaml:5:24: no vertex is called 'leef'; did you mean 'leaf'?\n"
      "test.yaml:6:24: a link must not lead from 'a/gpu0' to itself\n"
      "test.yaml:7:41: 'bandwidth' in a link must be positive\n"
      "test.yaml:7:55: 'wifi' is not a possible 'kind' of a link; possible: nvlink, pcie, nic, "
      "fabric, host");
  EXPECT_EQ(mistakes_of("{generator: custom}"),
            "test.yaml:1:1: this cluster has 0 nodes; list them under 'nodes'");
  EXPECT_EQ(mistakes_of("{generator: custom, nodes: [{name: a, device: x, gpus: 0}]}"),
            "test.yaml:1:56: 'gpus' in a node is 0, but must lie between 1 and 1048576");
}

// Cut anywhere, a file is a cluster or an Error; any other exception escapes and fails the test.
TEST(ClusterReader, EveryPrefixOfAFileIsReadOrRefused) {
  const auto lookup = catalog();
  for (const std::string& name : lookup.names) {
    std::ifstream in(*lookup.file(name));
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    ASSERT_FALSE(text.empty());
    int refused = 0;
    for (std::size_t length = 0; length < text.size(); length += 97) {
      if (mistakes_of(text.substr(0, length)) != "none") ++refused;
    }
    EXPECT_GT(refused, std::min(10, static_cast<int>(text.size() / 97 / 2))) << name;
    EXPECT_EQ(mistakes_of(text), "none");
  }
}

}  // namespace
}  // namespace sim
