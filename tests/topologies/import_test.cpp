// What every public topology file comes to, and what is said of files that cannot be used.
#include "topologies/import/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "tests/support/shared_data.h"
#include "tests/topologies/reading.h"

namespace sim {
namespace {

using testing::cluster_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string data(const std::string& file) {
  return testing::shared_dir() + "/data/topologies/" + file;
}

ImportRequest request(const std::string& file, const std::string& device = "") {
  ImportRequest result;
  result.file = file;
  result.device = device;
  result.known_devices = {"h100-sxm", "h200-sxm", "h800-sxm"};
  return result;
}

// The message with the folder of the file taken off.
std::string refusal(const ImportRequest& wanted) {
  try {
    import_node(wanted);
  } catch (const Error& error) {
    std::string text = error.what();
    const std::string folder = std::filesystem::path(wanted.file).parent_path().string() + "/";
    for (std::size_t at = text.find(folder); at != std::string::npos; at = text.find(folder))
      text.erase(at, folder.size());
    return text;
  }
  return "none";
}

// A file of two such nodes, read back.
struct Imported {
  ImportedNode node;
  Cluster cluster;

  explicit Imported(ImportRequest wanted, int nodes = 2) {
    wanted.nodes = nodes;
    node = import_node(wanted);
    cluster = cluster_of(cluster_yaml(node, wanted));
  }

  // GB/s of the slowest link on the way, rounded to a tenth.
  double rate(int from, int to) const {
    Routes routes(cluster);
    double least = 1e30;
    for (const LinkId id : routes.route(DeviceId(from), DeviceId(to)).links)
      least = std::min(least, cluster.links[id.index()].capacity.count());
    return std::round(least / 1e8) / 10;
  }
  // NVLink GB/s of a GPU, over all its links.
  double nvlink(int gpu) const {
    double sum = 0;
    for (const Link& link : cluster.links) {
      if (link.kind == LinkKind::kNvlink && link.from == VertexId(gpu))
        sum += link.capacity.count();
    }
    return sum / 1e9;
  }
  // The NICs by which a GPU of node 0 reaches those of node 1.
  std::vector<std::string> nics(int gpu) const {
    Routes routes(cluster);
    std::set<std::string> names;
    for (int other = node.gpus; other < 2 * node.gpus; ++other) {
      for (const LinkId id : routes.route(DeviceId(gpu), DeviceId(other)).links) {
        const Link& link = cluster.links[id.index()];
        if (link.kind != LinkKind::kNic) continue;
        names.insert(link.name.substr(6, link.name.find("/port") - 6));
        break;
      }
    }
    return {names.begin(), names.end()};
  }
};

TEST(ImportNccl, TheFullDumpOfEightH800) {
  MOE_NEEDS_SHARED_DATA();
  const Imported h800(request(data("zy-uestc-yccl/topo_h800.xml")));
  EXPECT_EQ(h800.node.device, "h800-sxm");
  EXPECT_EQ(h800.node.gpus, 8);
  EXPECT_EQ(h800.node.nics.size(), 8u);
  EXPECT_THAT(h800.node.notes, ElementsAre());
  const char* const nics[] = {"mlx5_0", "mlx5_3", "mlx5_4", "mlx5_5",
                              "mlx5_6", "mlx5_7", "mlx5_8", "mlx5_9"};
  for (int gpu = 0; gpu < 8; ++gpu) {
    EXPECT_EQ(h800.nvlink(gpu), 200) << "8 links of 25 GB/s";
    EXPECT_THAT(h800.nics(gpu), ElementsAre(nics[gpu])) << "the one behind its PCIe switch";
    EXPECT_EQ(h800.rate(gpu, (gpu + 3) % 8), 200);
    EXPECT_EQ(h800.rate(gpu, 8 + (gpu + 3) % 8), 50) << "400 Gb/s";
  }
  EXPECT_THAT(testing::hops(h800.cluster, 0, 9),
              ElementsAre("node0/gpu0/pcie-up", "node0/nic0/pcie-down", "node0/mlx5_0/port-up",
                          HasSubstr("rail0/leaf0-spine"), HasSubstr("-rail1/leaf0"),
                          "node1/mlx5_3/port-down", "node1/nic1/pcie-up", "node1/gpu1/pcie-down"))
      << "by its own NIC and the spine, not over the CPU to the NIC of the other rail";
  EXPECT_NEAR(testing::link_named(h800.cluster, "node0/gpu0/pcie-up").capacity.count(), 63.0e9,
              1e8);
  EXPECT_EQ(testing::link_named(h800.cluster, "node0/cpu0-cpu1-up").capacity.count(), 22e9);
}

TEST(ImportNccl, BoxesWithoutNvlinkMeetOverPcieAndTheLinkBetweenCpus) {
  MOE_NEEDS_SHARED_DATA();
  const Imported l20(request(data("zy-uestc-yccl/topo_l20.xml"), "l40s"));
  EXPECT_EQ(l20.node.gpus, 16);
  EXPECT_EQ(l20.node.nics.size(), 8u);
  EXPECT_EQ(l20.nvlink(0), 0);
  EXPECT_EQ(l20.rate(0, 1), 31.5) << "PCIe generation 4 to the same switch";
  EXPECT_EQ(l20.rate(0, 15), 22) << "to the other socket";
  EXPECT_THAT(l20.nics(0), ElementsAre("mlx5_1"));
  EXPECT_THAT(l20.nics(1), ElementsAre("mlx5_1"));
  EXPECT_EQ(l20.rate(0, 16), 31.5);

  const Imported rtx3090(request(data("panlichen-nccl-tests/topo.xml"), "rtx-4090"));
  EXPECT_EQ(rtx3090.node.gpus, 8);
  EXPECT_EQ(rtx3090.rate(0, 3), 31.5);
  EXPECT_EQ(rtx3090.rate(0, 4), 10) << "Ice Lake";
  for (const int gpu : {0, 7}) EXPECT_THAT(rtx3090.nics(gpu), ElementsAre("mlx5_0"));
  EXPECT_EQ(rtx3090.rate(7, 8), 7) << "56 Gb/s InfiniBand";

  const Imported rtx4090(request(data("yynil-rwkvinllama/topo.xml")));
  EXPECT_EQ(rtx4090.node.device, "rtx-4090");
  EXPECT_EQ(rtx4090.node.gpus, 2);
  EXPECT_THAT(rtx4090.nics(0), ::testing::IsSubsetOf({"mlx5_0", "mlx5_1"}))
      << "two ports, one card";
  EXPECT_EQ(rtx4090.rate(0, 1), 16) << "AMD";

  const Imported a6000(request(data("zy-uestc-yccl/topo.xml"), "rtx-4090"));
  EXPECT_EQ(a6000.node.gpus, 4);
  EXPECT_EQ(a6000.node.nics.size(), 2u);
  EXPECT_THAT(a6000.node.notes,
              ElementsAre(HasSubstr("8 network interfaces without a PCI device left out: br-")));
  EXPECT_NEAR(a6000.rate(0, 4), 0.1, 0.03) << "1 Gb/s management NICs are all it has";

  const Imported four(request(data("sugarlxn-nccl_test/nccl_topo.xml")));
  EXPECT_EQ(four.node.gpus, 4);
  EXPECT_EQ(four.node.device, "rtx-4090");
  EXPECT_EQ(four.node.nics.front().name, "enp34s0f0");
}

TEST(ImportNccl, PairsOnNvlinkWithoutAKnownPcieSpeed) {
  MOE_NEEDS_SHARED_DATA();
  ImportRequest wanted = request(data("azure-azurehpc/nc48v4-topo.xml"), "a100-sxm-80gb");
  const Imported pair(wanted);
  EXPECT_EQ(pair.node.gpus, 2);
  EXPECT_EQ(pair.nvlink(0), 300);
  EXPECT_EQ(pair.rate(0, 1), 300);
  EXPECT_EQ(pair.rate(0, 2), 12.5) << "eth0, 100 Gb/s";
  EXPECT_THAT(pair.nics(1), ElementsAre("eth0"));
  EXPECT_THAT(pair.node.notes,
              ElementsAre("the speed of some PCIe links is not in the file: generation 3 x16, as "
                          "NCCL assumes then (--pcie gives it)"));
  wanted.pcie = Bandwidth(20e9);
  EXPECT_THAT(Imported(wanted).node.notes, ElementsAre());

  ImportRequest itself = request(data("azure-azhpc-images/ncv4-topo.xml"), "a100-sxm-80gb");
  EXPECT_THAT(
      refusal(itself),
      HasSubstr("ncv4-topo.xml:5: this GPU's NVLinks lead to itself; give --nvlink, per GPU "
                "and direction, or --without-nvlink\n"));
  itself.without_nvlink = true;
  const Imported four(itself);
  EXPECT_EQ(four.node.gpus, 4);
  EXPECT_EQ(four.rate(0, 3), 15.8) << "generation 3 x16, slower than what NCCL assumes for AMD";
}

TEST(ImportNccl, SkeletonsOfCloudsSayWhatIsMissing) {
  MOE_NEEDS_SHARED_DATA();
  const struct {
    const char* file;
    const char* device;
    int gpus, nics;
    double pcie;  // GB/s between neighbours without NVLink
  } clouds[] = {
      {"azure-azhpc-images/ndv5-topo.xml", "h100-sxm", 8, 8, 63},
      {"azure-azhpc-images/ndv4-topo.xml", "a100-sxm-80gb", 8, 8, 31.5},
      {"azure-azhpc-images/ndv2-topo.xml", "h100-sxm", 8, 1, 31.5},
      {"aws-aws-ofi-nccl/p4d-24xl-topo.xml", "a100-sxm-80gb", 8, 4, 15.8},
      {"aws-aws-ofi-nccl/p4de-24xl-topo.xml", "a100-sxm-80gb", 8, 4, 15.8},
  };
  for (const auto& cloud : clouds) {
    ImportRequest wanted = request(data(cloud.file), cloud.device);
    const std::string name = std::filesystem::path(cloud.file).filename().string();
    wanted.nodes = 2;
    EXPECT_EQ(refusal(wanted).substr(0, refusal(wanted).find('\n')),
              name +
                  ": this is a skeleton that NCCL fills in on the machine: it is silent on "
                  "NVLink; give --nvlink '300 GB/s' (per GPU and direction, all GPUs on one "
                  "NVSwitch), or --without-nvlink to let GPUs meet over PCIe")
        << refusal(wanted);
    wanted.without_nvlink = true;
    EXPECT_THAT(refusal(wanted), HasSubstr("not in the file; give --nic, like --nic '400 Gb/s'"));
    wanted.nic = Bandwidth(50e9);
    const Imported plain(wanted);
    EXPECT_EQ(plain.node.gpus, cloud.gpus) << name;
    EXPECT_EQ(static_cast<int>(plain.node.nics.size()), cloud.nics) << name;
    EXPECT_EQ(plain.nvlink(0), 0);
    EXPECT_EQ(plain.rate(0, 1), cloud.pcie) << name;
    wanted.without_nvlink = false;
    wanted.nvlink = Bandwidth(300e9);
    const Imported switched(wanted);
    EXPECT_EQ(switched.nvlink(7), 300) << name;
    EXPECT_EQ(switched.rate(0, 1), 300) << name << ": NVLink before a shared PCIe switch";
    EXPECT_EQ(switched.nics(0).size(),
              cloud.gpus / cloud.nics == 1 && name[2] == 'v' && name[3] == '4' ? 2u : 1u)
        << name;
  }
}

TEST(ImportNccl, FilesThatAreNoTopologySayWhatTheyAre) {
  MOE_NEEDS_SHARED_DATA();
  EXPECT_EQ(
      refusal(request(data("azure-azhpc-images/ncv4-graph.xml"))),
      "ncv4-graph.xml:1: this is an NCCL graph (its channels), not a topology; let NCCL write "
      "one with NCCL_TOPO_DUMP_FILE");
  EXPECT_EQ(
      refusal(request(data("aws-aws-ofi-nccl/g5.48xl-topo.xml"))),
      "g5.48xl-topo.xml:14: 9 PCI devices are without a class, here the first: nothing tells "
      "GPUs from NICs; this is a skeleton that NCCL fills in on the machine; let it write the "
      "full one with NCCL_TOPO_DUMP_FILE");
  EXPECT_EQ(refusal(request(data("zy-uestc-yccl/topo_l20.xml"))),
            "topo_l20.xml:5: this is L20, which models/devices does not have; give --device; "
            "possible: h100-sxm, h200-sxm, h800-sxm");
}

TEST(ImportMatrix, ThreePublicOnes) {
  MOE_NEEDS_SHARED_DATA();
  const struct {
    const char* file;
    const char* device;
    double nvlink;
    std::size_t nics;
    std::vector<std::string> nic_of;  // by GPU
  } matrices[] = {
      {"nvidia-smi-topo/h200_8gpu_8nic.tsv",
       "h200-sxm",
       450,
       8,
       {"NIC4", "NIC1", "NIC0", "NIC3", "NIC6", "NIC7", "NIC5", "NIC2"}},
      {"nvidia-smi-topo/h100_8gpu_12nic.tsv",
       "h100-sxm",
       450,
       12,
       {"NIC0", "NIC3", "NIC4", "NIC5", "NIC6", "NIC9", "NIC10", "NIC11"}},
      {"nvidia-smi-topo/b300_8gpu_9nic.tsv",
       "b300",
       900,
       9,
       {"NIC0", "NIC1", "NIC2", "NIC3", "NIC4", "NIC5", "NIC6", "NIC7"}},
  };
  for (const auto& matrix : matrices) {
    ImportRequest wanted = request(data(matrix.file), matrix.device);
    wanted.nic = Bandwidth(50e9);
    const Imported node(wanted);
    EXPECT_EQ(node.node.gpus, 8);
    EXPECT_EQ(node.node.nics.size(), matrix.nics);
    for (int gpu = 0; gpu < 8; ++gpu) {
      EXPECT_EQ(node.nvlink(gpu), matrix.nvlink);
      EXPECT_THAT(node.nics(gpu), ElementsAre(matrix.nic_of[static_cast<std::size_t>(gpu)])) << gpu;
    }
    EXPECT_EQ(node.rate(0, 7), matrix.nvlink);
    EXPECT_EQ(node.rate(0, 8), 50);
    EXPECT_THAT(node.node.notes,
                ElementsAre("PCIe generation 5 x16 is assumed for every PCIe link"));
    wanted.without_nvlink = true;
    EXPECT_EQ(Imported(wanted).rate(0, 7), 22) << "the other socket";
  }
}

class ImportText : public ::testing::Test {
 protected:
  ImportText() : file_((std::filesystem::temp_directory_path() / "moe-import-XXXXXX").string()) {
    const int handle = mkstemp(file_.data());
    if (handle >= 0) close(handle);
  }
  ~ImportText() override { std::filesystem::remove(file_); }

  ImportRequest of(const std::string& text, const std::string& device = "h100-sxm") {
    std::ofstream(file_, std::ios::binary) << text;
    return request(file_, device);
  }
  std::string refused(const std::string& text, const std::string& device = "h100-sxm") {
    std::string said = refusal(of(text, device));
    const std::string name = std::filesystem::path(file_).filename().string();
    for (std::size_t at = said.find(name); at != std::string::npos; at = said.find(name))
      said.replace(at, name.size(), "F");
    return said;
  }

  std::string file_;
};

// A CPU with two GPUs on a switch; %s: what stands in the first and in the second <gpu>.
std::string two_gpus(const std::string& first, const std::string& second,
                     const std::string& speed = "32.0 GT/s PCIe") {
  const std::string link = "link_speed=\"" + speed + "\" link_width=\"16\"";
  return "<system version=\"1\">\n<cpu numaid=\"0\">\n"
         "<pci busid=\"a\" class=\"0x060400\" " +
         link +
         ">\n"
         "<pci busid=\"b\" class=\"0x030200\" " +
         link + "><gpu dev=\"0\" sm=\"90\" rank=\"0\">\n" + first +
         "\n</gpu></pci>\n"
         "<pci busid=\"c\" class=\"0x030200\" " +
         link + "><gpu dev=\"1\" sm=\"90\" rank=\"1\">\n" + second +
         "\n</gpu></pci>\n"
         "</pci>\n</cpu>\n</system>\n";
}

std::string nvlink(const std::string& target, int count, const std::string& type = "0x030200") {
  return "<nvlink target=\"" + target + "\" count=\"" + std::to_string(count) + "\" tclass=\"" +
         type + "\"/>";
}

TEST_F(ImportText, NvlinkIsTakenBeforeASharedPcieSwitch) {
  const Imported direct(of(two_gpus(nvlink("c", 4), nvlink("b", 4))), 1);
  EXPECT_THAT(testing::hops(direct.cluster, 0, 1), ElementsAre("node0/gpu0/nvlink-gpu1-up"));
  EXPECT_EQ(direct.rate(1, 0), 100);
  const Imported switched(of(two_gpus(nvlink("s", 4, "0x068000"), nvlink("s", 4, "0x068000"))), 1);
  EXPECT_THAT(testing::hops(switched.cluster, 0, 1),
              ElementsAre("node0/gpu0/nvlink-up", "node0/gpu1/nvlink-down"));
  const Imported none(of(two_gpus("", "")), 1);
  EXPECT_THAT(testing::hops(none.cluster, 0, 1),
              ElementsAre("node0/gpu0/pcie-up", "node0/gpu1/pcie-down"));
}

TEST_F(ImportText, XmlThatCannotBeUsed) {
  EXPECT_EQ(refused(""), "F: is empty");
  EXPECT_THAT(refused("<system>\n<cpu numaid=\"0\">\n"),
              HasSubstr("F:3: this is not XML, or it is cut short: Premature end of data"));
  EXPECT_THAT(refused("<system>\n<cpu numaid=0>"),
              HasSubstr("F:2: this is not XML, or it is cut short"));
  EXPECT_EQ(refused("<html/>"), "F:1: the root <html> is not NCCL's <system>");
  EXPECT_EQ(refused("<!DOCTYPE system [<!ENTITY a \"b\">]>\n<system/>"),
            "F:1: XML with a document type is not read; take out <!DOCTYPE>");
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "<system>";
  for (int i = 0; i < 100; ++i) deep += "</system>";
  EXPECT_EQ(refused(deep), "F:1: elements are nested more than 64 deep");
  std::string many = "<system>";
  for (int i = 0; i < 100'001; ++i) many += "<cpu/>";
  EXPECT_EQ(refused(many + "</system>"), "F:1: this file has more than 100000 elements");
  EXPECT_EQ(refused("<system><cpu numaid=\"0\"/></system>"),
            "F: this file has 0 GPUs; a node has 1 to 256");
  EXPECT_EQ(refused("<system><cpu/></system>"),
            "F: this file has 0 GPUs; a node has 1 to 256\nF:1: <cpu> has no attribute 'numaid'");
  EXPECT_EQ(refused(two_gpus("", "", "31 GT/s")),
            "F:3: '31 GT/s' is no PCIe speed that is known; 2.5, 5, 8, 16, 32 or 64 GT/s; or give "
            "--pcie");
  EXPECT_EQ(refused(two_gpus(nvlink("c", 4), nvlink("b", 2))),
            "F:5: gpu0 has 4 NVLinks to gpu1, which has 2 back\n"
            "F:8: gpu1 has 2 NVLinks to gpu0, which has 4 back");
  EXPECT_EQ(refused(two_gpus(nvlink("x", 4), "")),
            "F:5: an NVLink leads to the GPU x, which the file does not have");
  EXPECT_EQ(refused(two_gpus(nvlink("c", 4, "0x120000"), "")),
            "F:5: the other end of an NVLink, class 0x120000, is not known; 0x068000 (NVSwitch) or "
            "0x03... (GPU)");
  EXPECT_EQ(refused(two_gpus(nvlink("c", 999), "")),
            "F:5: 'count' of <nvlink> is '999'; it must be a whole number from 1 to 64");
  EXPECT_EQ(refused(two_gpus("", ""), ""),
            "F:4: the file does not say which GPU this is; give --device; possible: h100-sxm, "
            "h200-sxm, h800-sxm");
}

const char* const kMatrix =
    "\x1b[4mGPU0\tGPU1\tNIC0\tNIC1\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m\n"
    "GPU0\t X \tNV4\tPIX\tSYS\t0-31\t0\t\tN/A\n"
    "GPU1\tNV4\t X \tSYS\tPIX\t32-63\t1\t\tN/A\n"
    "NIC0\tPIX\tSYS\t X \tSYS\n"
    "NIC1\tSYS\tPIX\tSYS\t X \n"
    "\n"
    "Legend:\n\n"
    "  X    = Self\n"
    "  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes\n\n"
    "NIC Legend:\n\n"
    "  NIC0: mlx5_0\n  NIC1: mlx5_1\n";

std::string changed(const std::string& from, const std::string& to) {
  std::string text = kMatrix;
  text.replace(text.find(from), from.size(), to);
  return text;
}

TEST_F(ImportText, TheMatrixAsATerminalShowsIt) {
  ImportRequest wanted = of(kMatrix);
  wanted.nic = Bandwidth(50e9);
  const Imported node(wanted);
  EXPECT_EQ(node.node.gpus, 2);
  EXPECT_THAT(testing::hops(node.cluster, 0, 1), ElementsAre("node0/gpu0/nvlink-gpu1-up"));
  EXPECT_EQ(node.rate(0, 1), 100);
  EXPECT_THAT(node.nics(0), ElementsAre("NIC0"));
  EXPECT_THAT(node.nics(1), ElementsAre("NIC1"));
  wanted.nic.reset();
  EXPECT_THAT(Imported(wanted, 1).node.notes,
              ::testing::Contains("the matrix does not say how fast its NICs are: their ports are "
                                  "left out (--nic gives it)"));
}

TEST_F(ImportText, MatricesThatCannotBeUsed) {
  EXPECT_EQ(refused("hello\n"),
            "F:1: this is no matrix of `nvidia-smi topo -m`: no line begins with GPU0; an NCCL "
            "topology XML begins with <system>");
  EXPECT_EQ(refused(kMatrix, ""),
            "F: the matrix does not say which GPU this is; give --device; possible: h100-sxm, "
            "h200-sxm, h800-sxm");
  EXPECT_EQ(
      refused(changed("GPU1\tNV4", "GPU1\tNV2")),
      "F:3: the matrix contradicts itself: GPU1 meets GPU0 by NV2, and the other way round by "
      "NV4 (line 2)");
  EXPECT_EQ(refused(changed("NV4\tPIX", "ABC\tPIX")),
            "F:2: 'ABC', how GPU0 meets GPU1, is not a known class; possible: X, NV# (number of "
            "NVLinks), PIX, PXB, PHB, NODE, SYS");
  EXPECT_EQ(refused(changed("NV4\tPIX", "NV999\tPIX")), "F:2: NV999 means more than 64 NVLinks");
  EXPECT_EQ(refused("GPU0 GPU1 GPU2\nGPU0 X NV4\n"),
            "F:2: the row GPU0 has 2 of 3 entries: it is cut short");
  EXPECT_EQ(refused("GPU0 GPU1\nGPU0 X NV4\n"),
            "F: the row GPU1 is missing: the file is cut short");
  EXPECT_EQ(refused(changed("GPU0\t X \tNV4", "GPU0\tNV4\tNV4")),
            "F:2: GPU0 and GPU0: 'NV4' is for a part and itself");
  EXPECT_THAT(
      refused("GPU0 GPU1 NIC0\nGPU0 X SYS PIX\nGPU1 SYS X PIX\n"),
      HasSubstr("F:2: the matrix contradicts itself: GPU0 meets GPU1 by SYS, and others join "
                "them in one NUMA node"));
  std::string wide;
  for (int i = 0; i < 600; ++i) wide += "GPU" + std::to_string(i) + " ";
  EXPECT_THAT(refused(wide + "\n"),
              HasSubstr("F:1: 600 GPUs and NICs in one machine; the most is 512"));
  EXPECT_EQ(
      refused(kMatrix, "mi300x"),
      "F: the matrix has no PCIe speeds, and that of 'mi300x' is not known; give --pcie, like "
      "--pcie '63 GB/s'\n"
      "F: the speed of an NVLink of 'mi300x' is not known; give --nvlink, per GPU and "
      "direction, or --without-nvlink");
}

}  // namespace
}  // namespace sim
