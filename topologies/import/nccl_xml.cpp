// NCCL's topology XML: <system> of <cpu> (NUMA nodes) with trees of <pci>; <gpu> with its
// <nvlink>s, <nic> with its <net>s. A full dump (NCCL_TOPO_DUMP_FILE) has all of it; what clouds
// ship is a skeleton of the PCI tree that NCCL fills in on the machine, so it is silent on NVLink
// and on the speed of NICs.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "sim/core/error.h"
#include "sim/input/quantity.h"
#include "sim/input/suggestion.h"
#include "sim/input/yaml_reader.h"
#include "topologies/import/import.h"
#include "topologies/import/known_parts.h"
#include "topologies/import/xml_file.h"

namespace sim {
namespace {

constexpr std::size_t kMostGpus = 256;  // of one machine
constexpr std::int64_t kMostNvlinks = 64;
constexpr std::int64_t kFastestNicMbps = 10'000'000;

struct FoundGpu {
  const XmlElement* pci = nullptr;
  const XmlElement* gpu = nullptr;  // null: a skeleton
  std::string bus_id;
  std::string parent;
  std::int64_t order = 0;  // rank, else dev, else place in the file
  std::string name;        // once they are in order
};

class NcclReader {
 public:
  NcclReader(const ImportRequest& request, const XmlElement& root)
      : request_(request), root_(root) {}

  ImportedNode read();

 private:
  Place at(const XmlElement& element) const { return {request_.file, element.line, 0}; }
  void mistake(const XmlElement& element, std::string what, std::string hint = {}) {
    mistakes_.add(at(element), std::move(what), std::move(hint));
  }
  std::string need(const XmlElement& element, const char* key);
  std::int64_t count(const XmlElement& element, const char* key, std::int64_t least,
                     std::int64_t most);
  std::string pci_port(const XmlElement& pci);
  void read_cpu(const XmlElement& cpu);
  void read_pci(const XmlElement& pci, const std::string& parent);
  void read_nets(const XmlElement& nic, const std::string& parent, const XmlElement* pci);
  void add_nic(const std::string& name, const std::string& at, double rate, std::string source,
               std::string label);
  void join_cpus();
  void name_gpus();
  void choose_device();
  void read_nvlinks();
  void join_all_on_nvswitch(Bandwidth each, std::string source, std::string label);

  const ImportRequest& request_;
  const XmlElement& root_;
  Mistakes mistakes_;
  ImportedNode node_;
  std::vector<const XmlElement*> cpus_;
  std::vector<FoundGpu> gpus_;
  std::vector<const XmlElement*> without_class_;
  std::vector<std::string> virtual_nets_;
  std::map<std::string, std::int64_t> dev_of_;  // NCCL's number of a net
  std::vector<const XmlElement*> nics_without_speed_;
  int bridges_ = 0;
  bool guessed_pcie_ = false;
};

std::string NcclReader::need(const XmlElement& element, const char* key) {
  const std::optional<std::string> value = element.attribute(key);
  if (value) return *value;
  mistake(element, "<" + element.name + "> has no attribute '" + key + "'");
  return "";
}

std::int64_t NcclReader::count(const XmlElement& element, const char* key, std::int64_t least,
                               std::int64_t most) {
  const std::size_t before = mistakes_.list().size();
  const std::string text = need(element, key);
  if (mistakes_.list().size() > before) return least;
  const std::optional<std::int64_t> value = parse_count(text);
  if (value && *value >= least && *value <= most) return *value;
  mistake(element, fmt::format("'{}' of <{}> is '{}'; it must be a whole number from {} to {}", key,
                               element.name, text, least, most));
  return least;
}

// The link between a PCI device and what is above it.
std::string NcclReader::pci_port(const XmlElement& pci) {
  if (request_.pcie) {
    const PciePort given = pcie_given(*request_.pcie);
    return node_.add_port(given.name, given.figure);
  }
  const std::size_t before = mistakes_.list().size();
  const std::string speed = need(pci, "link_speed");
  std::int64_t width = count(pci, "link_width", 0, 32);
  if (mistakes_.list().size() > before) return "";
  double rate = 8;
  if (speed.empty() || speed.rfind("Unknown", 0) == 0 || width == 0) {
    guessed_pcie_ = true;
    width = 16;
  } else {
    char* end = nullptr;
    rate = std::strtod(speed.c_str(), &end);
    if (end == speed.c_str() || std::string_view(end).find("GT/s") == std::string_view::npos)
      rate = 0;
  }
  const std::optional<PciePort> port = pcie_port(rate, static_cast<int>(width));
  if (port) return node_.add_port(port->name, port->figure);
  mistake(pci, "'" + speed + "' is no PCIe speed that is known",
          "2.5, 5, 8, 16, 32 or 64 GT/s; or give --pcie");
  return "";
}

void NcclReader::read_cpu(const XmlElement& cpu) {
  const std::string name = "cpu" + std::to_string(cpus_.size());
  count(cpu, "numaid", -1, 4096);
  cpus_.push_back(&cpu);
  node_.switches.push_back(name);
  for (const XmlElement& child : cpu.children) {
    if (child.name == "pci") {
      read_pci(child, name);
    } else if (child.name == "nic") {
      read_nets(child, name, nullptr);
    } else {
      mistake(child, "<" + child.name + "> in a <cpu> is not known", "possible: pci, nic");
    }
  }
}

void NcclReader::read_pci(const XmlElement& pci, const std::string& parent) {
  const std::string bus_id = need(pci, "busid");
  const std::string type = pci.attribute("class").value_or("");
  if (type.empty()) {
    without_class_.push_back(&pci);
    return;
  }
  const XmlElement* gpu = nullptr;
  for (const XmlElement& child : pci.children) {
    if (child.name == "gpu") gpu = &child;
  }
  if (gpu != nullptr || type.rfind("0x03", 0) == 0) {
    FoundGpu found{&pci, gpu, bus_id, parent, static_cast<std::int64_t>(gpus_.size()), ""};
    if (gpu != nullptr)
      found.order = count(*gpu, gpu->attribute("rank") ? "rank" : "dev", -1, 1 << 20);
    gpus_.push_back(std::move(found));
    return;
  }
  const bool bridge = type.rfind("0x06", 0) == 0;
  const bool network = type.rfind("0x02", 0) == 0;
  if (!bridge && !network) {
    mistake(pci,
            "PCI class " + type + " is neither a bridge (0x06), a GPU (0x03) nor a NIC (0x02)");
    return;
  }
  const std::string port = pci_port(pci);
  if (bridge) {
    const std::string name = "pcie" + std::to_string(bridges_++);
    node_.switches.push_back(name);
    node_.cables.push_back({name + "/pcie", name, parent, LinkKind::kPcie, port});
    for (const XmlElement& child : pci.children) {
      if (child.name == "pci") {
        read_pci(child, name);
      } else {
        mistake(child, "<" + child.name + "> in a PCI bridge is not known", "possible: pci");
      }
    }
    return;
  }
  const std::string name = "nic" + std::to_string(node_.nics.size() + nics_without_speed_.size());
  const std::size_t before = node_.nics.size();
  for (const XmlElement& child : pci.children) {
    if (child.name == "nic") read_nets(child, name, &pci);
  }
  if (node_.nics.size() == before) {  // a skeleton
    if (request_.nic) {
      add_nic(name, name, request_.nic->count(), "given as --nic at the import", "assumed");
    } else {
      nics_without_speed_.push_back(&pci);
    }
  }
  node_.switches.push_back(name);
  node_.cables.push_back({name + "/pcie", name, parent, LinkKind::kPcie, port});
}

bool is_physical(const std::string& net) {
  return net.rfind("eth", 0) == 0 || net.rfind("en", 0) == 0 || net.rfind("ib", 0) == 0 ||
         net.rfind("mlx", 0) == 0;
}

// `pci`: null for interfaces that hang on no PCI device, most of which are virtual.
void NcclReader::read_nets(const XmlElement& nic, const std::string& parent,
                           const XmlElement* pci) {
  for (const XmlElement& net : nic.children) {
    if (net.name != "net") {
      mistake(net, "<" + net.name + "> in a <nic> is not known", "possible: net");
      continue;
    }
    const std::string name = need(net, "name");
    if (pci == nullptr && !is_physical(name)) {
      virtual_nets_.push_back(name);
      continue;
    }
    const bool known =
        std::any_of(node_.nics.begin(), node_.nics.end(),
                    [&](const ImportedNode::Nic& each) { return each.name == name; });
    if (known) {
      // One interface without a place on PCI may stand under every CPU.
      if (pci != nullptr) mistake(net, "two NICs are called '" + name + "'");
      continue;
    }
    const std::int64_t speed = count(net, "speed", 1, kFastestNicMbps);
    if (net.attribute("dev")) dev_of_[name] = count(net, "dev", 0, 1 << 20);
    const double rate = request_.nic ? request_.nic->count() : static_cast<double>(speed) * 1e6 / 8;
    add_nic(name, parent, rate,
            request_.nic ? "given as --nic at the import" : "the NIC's own word in the file",
            request_.nic ? "assumed" : "published");
  }
}

void NcclReader::add_nic(const std::string& name, const std::string& at, double rate,
                         std::string source, std::string label) {
  const std::string port = request_.nic ? "nic" : fmt::format("nic-{:g}g", rate * 8 / 1e9);
  node_.nics.push_back(
      {name, at, node_.add_port(port, nic_port(rate, std::move(source), std::move(label)))});
}

void NcclReader::join_cpus() {
  if (cpus_.size() < 2) return;
  const XmlElement& first = *cpus_.front();
  const auto number = [&](const char* key) {
    return static_cast<int>(parse_count(first.attribute(key).value_or("")).value_or(0));
  };
  const std::string port =
      node_.add_port("cpu-link", cpu_port(first.attribute("arch").value_or(""),
                                          first.attribute("vendor").value_or(""),
                                          number("familyid"), number("modelid")));
  for (std::size_t a = 0; a < cpus_.size(); ++a) {
    for (std::size_t b = a + 1; b < cpus_.size(); ++b) {
      const std::string from = "cpu" + std::to_string(a), to = "cpu" + std::to_string(b);
      node_.cables.push_back({from + "-" + to, from, to, LinkKind::kHost, port});
    }
  }
}

void NcclReader::name_gpus() {
  std::stable_sort(gpus_.begin(), gpus_.end(),
                   [](const FoundGpu& a, const FoundGpu& b) { return a.order < b.order; });
  std::map<std::string, int> lines;
  for (std::size_t i = 0; i < gpus_.size(); ++i) {
    FoundGpu& gpu = gpus_[i];
    gpu.name = "gpu" + std::to_string(i);
    const auto [other, is_new] = lines.emplace(gpu.bus_id, gpu.pci->line);
    if (!is_new)
      mistake(*gpu.pci, "the PCI address " + gpu.bus_id + " stands in line " +
                            std::to_string(other->second) + " as well");
    node_.cables.push_back(
        {gpu.name + "/pcie", gpu.name, gpu.parent, LinkKind::kPcie, pci_port(*gpu.pci)});
  }
  node_.gpus = static_cast<int>(gpus_.size());
}

void NcclReader::choose_device() {
  node_.device = request_.device;
  if (!node_.device.empty()) return;
  std::string wanted;
  for (const FoundGpu& gpu : gpus_) {
    const std::string id = gpu.pci->attribute("device").value_or("");
    const KnownGpu* known =
        find_gpu(static_cast<std::uint32_t>(std::strtoul(id.c_str(), nullptr, 16)));
    if (known == nullptr || known->device.empty()) {
      mistake(*gpu.pci,
              known == nullptr
                  ? id.empty() ? "the file does not say which GPU this is"
                               : "the GPU of PCI id " + id + " is not known"
                  : "this is " + std::string(known->name) + ", which models/devices does not have",
              "give --device; " + suggest("", request_.known_devices));
      return;
    }
    if (!wanted.empty() && wanted != known->device) {
      mistake(*gpu.pci,
              "this node has GPUs of two types, " + wanted + " and " + std::string(known->device),
              "give --device to take them as alike");
      return;
    }
    wanted = known->device;
  }
  node_.device = wanted;
}

void NcclReader::join_all_on_nvswitch(Bandwidth each, std::string source, std::string label) {
  const std::string port =
      node_.add_port("nvlink", nvlink_port(each.count(), std::move(source), std::move(label)));
  node_.switches.push_back("nvswitch");
  for (const FoundGpu& gpu : gpus_)
    node_.cables.push_back({gpu.name + "/nvlink", gpu.name, "nvswitch", LinkKind::kNvlink, port});
}

void NcclReader::read_nvlinks() {
  if (request_.nvlink) {
    join_all_on_nvswitch(*request_.nvlink, "given as --nvlink at the import", "assumed");
    return;
  }
  if (request_.without_nvlink) {
    node_.notes.push_back("NVLink left out, as asked: GPUs meet over PCIe");
    return;
  }
  std::map<std::string, const FoundGpu*> by_bus;
  for (const FoundGpu& gpu : gpus_) by_bus[gpu.bus_id] = &gpu;
  bool skeleton = true;
  std::map<std::pair<std::string, std::string>, std::pair<std::int64_t, const XmlElement*>> pairs;
  bool switched = false;
  for (const FoundGpu& gpu : gpus_) {
    if (gpu.gpu == nullptr) continue;
    skeleton = false;
    std::int64_t to_switch = 0;
    std::map<std::string, std::int64_t> to_gpu;
    const int capability = static_cast<int>(count(*gpu.gpu, "sm", 1, 1000));
    const std::optional<double> rate = nvlink_rate(capability);
    const std::string source = fmt::format(
        "NVIDIA data sheets: {:g} GB/s per NVLink and direction at compute capability {}",
        rate.value_or(0) / 1e9, capability);
    for (const XmlElement& link : gpu.gpu->children) {
      if (link.name != "nvlink") {
        mistake(link, "<" + link.name + "> in a <gpu> is not known", "possible: nvlink");
        continue;
      }
      const std::int64_t links = count(link, "count", 1, kMostNvlinks);
      const std::string target = need(link, "target");
      const std::string type = need(link, "tclass");
      if (!rate) {
        mistake(
            link,
            fmt::format("the speed of an NVLink at compute capability {} is not known", capability),
            "give --nvlink, per GPU and direction, or --without-nvlink");
        return;
      }
      if (type.rfind("0x068000", 0) == 0) {
        to_switch += links;
      } else if (type.rfind("0x03", 0) == 0) {
        const auto peer = by_bus.find(target);
        if (peer == by_bus.end()) {
          mistake(link, "an NVLink leads to the GPU " + target + ", which the file does not have");
        } else if (peer->second == &gpu) {
          mistake(link, "this GPU's NVLinks lead to itself",
                  "give --nvlink, per GPU and direction, or --without-nvlink");
        } else {
          pairs[{gpu.name, peer->second->name}] = {links, &link};
        }
      } else {
        mistake(link, "the other end of an NVLink, class " + type + ", is not known",
                "0x068000 (NVSwitch) or 0x03... (GPU)");
      }
    }
    if (to_switch > kMostNvlinks)
      mistake(*gpu.gpu, "this GPU has " + std::to_string(to_switch) + " NVLinks; the most is " +
                            std::to_string(kMostNvlinks));
    if (to_switch > 0) {
      if (!switched) node_.switches.push_back("nvswitch");
      switched = true;
      const std::string port =
          node_.add_port("nvlink-x" + std::to_string(to_switch),
                         nvlink_port(*rate * static_cast<double>(to_switch),
                                     std::to_string(to_switch) + " links; " + source, "published"));
      node_.cables.push_back({gpu.name + "/nvlink", gpu.name, "nvswitch", LinkKind::kNvlink, port});
    }
  }
  if (skeleton) {
    mistakes_.add(Place{request_.file},
                  "this is a skeleton that NCCL fills in on the machine: it is silent on NVLink",
                  "give --nvlink '300 GB/s' (per GPU and direction, all GPUs on one NVSwitch), or "
                  "--without-nvlink to let GPUs meet over PCIe");
    return;
  }
  mistakes_.throw_if_any();
  for (const auto& [pair, link] : pairs) {
    const auto back = pairs.find({pair.second, pair.first});
    if (back == pairs.end() || back->second.first != link.first) {
      mistake(*link.second,
              fmt::format("{} has {} NVLinks to {}, which has {} back", pair.first, link.first,
                          pair.second, back == pairs.end() ? 0 : back->second.first));
      continue;
    }
    if (pair.second < pair.first) continue;  // once per pair
    const int capability =
        static_cast<int>(parse_count(gpus_.front().gpu->attribute("sm").value_or("")).value_or(0));
    const double rate = nvlink_rate(capability).value_or(0);
    const std::string port = node_.add_port(
        "nvlink-x" + std::to_string(link.first),
        nvlink_port(rate * static_cast<double>(link.first),
                    fmt::format("{} links; NVIDIA data sheets: {:g} GB/s per NVLink and direction",
                                link.first, rate / 1e9),
                    "published"));
    node_.cables.push_back(
        {pair.first + "/nvlink-" + pair.second, pair.first, pair.second, LinkKind::kNvlink, port});
  }
}

ImportedNode NcclReader::read() {
  node_.format = "NCCL topology XML";
  if (root_.name == "graphs")
    throw Error(at(root_), "this is an NCCL graph (its channels), not a topology",
                "let NCCL write one with NCCL_TOPO_DUMP_FILE");
  if (root_.name != "system")
    throw Error(at(root_), "the root <" + root_.name + "> is not NCCL's <system>");
  for (const XmlElement& cpu : root_.children) {
    if (cpu.name == "cpu") {
      read_cpu(cpu);
    } else {
      mistake(cpu, "<" + cpu.name + "> in <system> is not known", "possible: cpu");
    }
  }
  if (!without_class_.empty()) {
    mistake(*without_class_.front(),
            fmt::format("{} PCI device{} without a class, here the first: nothing tells GPUs from "
                        "NICs",
                        without_class_.size(), without_class_.size() == 1 ? " is" : "s are"),
            "this is a skeleton that NCCL fills in on the machine; let it write the full one with "
            "NCCL_TOPO_DUMP_FILE");
    mistakes_.throw_if_any();
  }
  if (gpus_.empty() || gpus_.size() > kMostGpus)
    mistakes_.add(Place{request_.file}, fmt::format("this file has {} GPUs; a node has 1 to {}",
                                                    gpus_.size(), kMostGpus));
  mistakes_.throw_if_any();
  name_gpus();
  choose_device();
  join_cpus();
  read_nvlinks();
  // Rails are numbered as NCCL numbers the NICs.
  std::stable_sort(node_.nics.begin(), node_.nics.end(),
                   [this](const ImportedNode::Nic& a, const ImportedNode::Nic& b) {
                     return dev_of_[a.name] < dev_of_[b.name];
                   });
  if (!nics_without_speed_.empty()) {
    const std::string what =
        fmt::format("the speed of its {} NIC{} is not in the file", nics_without_speed_.size(),
                    nics_without_speed_.size() == 1 ? "" : "s");
    if (request_.nodes > 1) {
      mistake(*nics_without_speed_.front(), what, "give --nic, like --nic '400 Gb/s'");
    } else {
      node_.notes.push_back(what + ": their ports are left out (--nic gives it)");
    }
  }
  mistakes_.throw_if_any();
  if (guessed_pcie_)
    node_.notes.push_back(
        "the speed of some PCIe links is not in the file: generation 3 x16, as NCCL assumes then "
        "(--pcie gives it)");
  if (!virtual_nets_.empty()) {
    node_.notes.push_back(fmt::format("{} network interfaces without a PCI device left out: {}{}",
                                      virtual_nets_.size(), virtual_nets_.front(),
                                      virtual_nets_.size() > 1 ? ", ..." : ""));
  }
  return std::move(node_);
}

}  // namespace

ImportedNode import_nccl_xml(const ImportRequest& request, const std::string& content) {
  const XmlElement root = parse_xml(request.file, content);
  return NcclReader(request, root).read();
}

}  // namespace sim
