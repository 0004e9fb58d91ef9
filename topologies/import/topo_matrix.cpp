// The matrix of `nvidia-smi topo -m`: how every GPU meets every other GPU and NIC, by class.
//
// NV# is so many NVLinks; PIX one PCIe bridge, PXB several, PHB the CPU's own, NODE several of one
// NUMA node, SYS the link between CPUs. Speeds are not in it: they follow from the type of GPU.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <sstream>

#include "sim/core/error.h"
#include "sim/input/quantity.h"
#include "sim/input/suggestion.h"
#include "sim/input/yaml_reader.h"
#include "topologies/import/import.h"
#include "topologies/import/known_parts.h"

namespace sim {
namespace {

constexpr std::size_t kMostParts = 512;  // GPUs and NICs
constexpr std::int64_t kMostNvlinks = 64;

struct Row {
  int line = 0;
  std::vector<std::string> classes;  // by column
  std::string numa;                  // "NUMA Affinity"; empty: not given
};

// Sets of parts that grow together.
class Groups {
 public:
  explicit Groups(std::size_t parts) : parent_(parts) {
    std::iota(parent_.begin(), parent_.end(), std::size_t{0});
  }
  std::size_t of(std::size_t part) {
    while (parent_[part] != part) part = parent_[part] = parent_[parent_[part]];
    return part;
  }
  void join(std::size_t a, std::size_t b) {
    parent_[std::max(of(a), of(b))] = std::min(of(a), of(b));
  }

 private:
  std::vector<std::size_t> parent_;
};

class MatrixReader {
 public:
  explicit MatrixReader(const ImportRequest& request) : request_(request) {}

  ImportedNode read(const std::string& content);

 private:
  void mistake(int line, std::string what, std::string hint = {}) {
    mistakes_.add(Place{request_.file, line, 0}, std::move(what), std::move(hint));
  }
  void read_header(const std::vector<std::string>& words, int line);
  void read_row(const std::vector<std::string>& words, int line);
  void check_symmetry();
  std::string class_of(std::size_t a, std::size_t b) const;  // empty: not in the file
  void find_numa();
  void build_pcie();
  void build_nvlink();
  void build_nics();
  int nvlinks(const std::string& text) const;

  const ImportRequest& request_;
  Mistakes mistakes_;
  ImportedNode node_;
  std::vector<std::string> parts_;  // in the order of the columns
  std::size_t gpus_ = 0;
  std::map<std::size_t, Row> rows_;
  std::vector<int> numa_;  // by part
  std::vector<std::string> vertex_;
};

// Escape codes (the header is underlined on a terminal) taken out.
std::string plain(const std::string& line) {
  std::string text;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      while (i < line.size() && line[i] != 'm') ++i;
    } else if (line[i] != '\r') {
      text += line[i];
    }
  }
  return text;
}

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

bool is_numbered(const std::string& word, std::string_view prefix) {
  return word.size() > prefix.size() && word.rfind(prefix, 0) == 0 &&
         word.find_first_not_of("0123456789", prefix.size()) == std::string::npos;
}
bool is_gpu(const std::string& word) { return is_numbered(word, "GPU"); }
bool is_nic(const std::string& word) {
  return is_numbered(word, "NIC") || is_numbered(word, "mlx5_");
}

void MatrixReader::read_header(const std::vector<std::string>& words, int line) {
  for (const std::string& word : words) {
    if (!is_gpu(word) && !is_nic(word)) break;  // "CPU Affinity"
    if (std::find(parts_.begin(), parts_.end(), word) != parts_.end())
      mistake(line, "the column " + word + " stands twice");
    if (is_gpu(word)) {
      if (gpus_ != parts_.size()) mistake(line, "the column " + word + " stands behind a NIC's");
      ++gpus_;
    }
    parts_.push_back(word);
  }
  if (parts_.size() > kMostParts)
    mistake(line, fmt::format("{} GPUs and NICs in one machine; the most is {}", parts_.size(),
                              kMostParts));
}

int MatrixReader::nvlinks(const std::string& text) const {
  if (!is_numbered(text, "NV")) return 0;
  return static_cast<int>(parse_count(text.substr(2)).value_or(kMostNvlinks + 1));
}

void MatrixReader::read_row(const std::vector<std::string>& words, int line) {
  static const std::set<std::string> kClasses = {"X", "PIX", "PXB", "PHB", "NODE", "SYS"};
  const auto self = std::find(parts_.begin(), parts_.end(), words.front());
  if (self == parts_.end()) {
    mistake(line, "the row " + words.front() + " has no column");
    return;
  }
  const auto number = static_cast<std::size_t>(self - parts_.begin());
  Row row{line, {}, ""};
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    if (i + 1 >= words.size()) {
      mistake(line, fmt::format("the row {} has {} of {} entries: it is cut short", words.front(),
                                i, parts_.size()));
      return;
    }
    const std::string& word = words[i + 1];
    const int links = nvlinks(word);
    if (links == 0 && kClasses.count(word) == 0) {
      mistake(line,
              fmt::format("'{}', how {} meets {}, is not a known class", word, words.front(),
                          parts_[i]),
              "possible: X, NV# (number of NVLinks), PIX, PXB, PHB, NODE, SYS");
      return;
    }
    if (links > kMostNvlinks)
      mistake(line, fmt::format("{} means more than {} NVLinks", word, kMostNvlinks));
    if ((word == "X") != (i == number))
      mistake(line, fmt::format("{} and {}: '{}' is for a part and itself", words.front(),
                                parts_[i], word));
    row.classes.push_back(word);
  }
  // Behind the entries: CPU affinity, NUMA affinity, the GPU's own NUMA id.
  if (words.size() > parts_.size() + 2) row.numa = words[parts_.size() + 2];
  if (!rows_.emplace(number, row).second)
    mistake(line, "the row " + words.front() + " stands twice");
}

std::string MatrixReader::class_of(std::size_t a, std::size_t b) const {
  const auto row = rows_.find(a);
  if (row != rows_.end()) return row->second.classes[b];
  const auto back = rows_.find(b);
  return back == rows_.end() ? "" : back->second.classes[a];
}

void MatrixReader::check_symmetry() {
  for (const auto& [a, row] : rows_) {
    for (const auto& [b, other] : rows_) {
      if (b <= a || row.classes[b] == other.classes[a]) continue;
      mistake(other.line,
              fmt::format("the matrix contradicts itself: {} meets {} by {}, and the "
                          "other way round by {} (line {})",
                          parts_[b], parts_[a], other.classes[a], row.classes[b], row.line));
    }
  }
  for (std::size_t g = 0; g < gpus_; ++g) {
    if (rows_.count(g) == 0)
      mistakes_.add(Place{request_.file},
                    "the row " + parts_[g] + " is missing: the file is cut short");
  }
}

// Parts that meet without SYS are of one NUMA node; GPUs of one by their affinity too.
void MatrixReader::find_numa() {
  Groups groups(parts_.size());
  std::map<std::string, std::size_t> by_affinity;
  for (std::size_t g = 0; g < gpus_; ++g) {
    const std::string& numa = rows_.at(g).numa;
    if (numa.empty() || numa == "N/A") continue;
    groups.join(g, by_affinity.emplace(numa, g).first->second);
  }
  for (std::size_t a = 0; a < parts_.size(); ++a) {
    for (std::size_t b = a + 1; b < parts_.size(); ++b) {
      const std::string how = class_of(a, b);
      if (!how.empty() && how != "SYS" && nvlinks(how) == 0) groups.join(a, b);
    }
  }
  for (std::size_t a = 0; a < gpus_; ++a) {
    for (std::size_t b = 0; b < parts_.size(); ++b) {
      if (class_of(a, b) == "SYS" && groups.of(a) == groups.of(b))
        mistake(rows_.at(a).line,
                fmt::format("the matrix contradicts itself: {} meets {} by SYS, and others join "
                            "them in one NUMA node",
                            parts_[a], parts_[b]));
    }
    for (std::size_t b = 0; b < a; ++b) {
      const std::string &mine = rows_.at(a).numa, &theirs = rows_.at(b).numa;
      if (!mine.empty() && !theirs.empty() && mine != "N/A" && theirs != "N/A" && mine != theirs &&
          groups.of(a) == groups.of(b))
        mistake(rows_.at(a).line,
                fmt::format("the matrix contradicts itself: {} and {} have NUMA affinities {} and "
                            "{}, and others join them in one NUMA node",
                            parts_[b], parts_[a], theirs, mine));
    }
  }
  std::map<std::size_t, int> numbers;
  numa_.resize(parts_.size());
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    numa_[p] = numbers.emplace(groups.of(p), static_cast<int>(numbers.size())).first->second;
  }
  for (std::size_t i = 0; i < numbers.size(); ++i)
    node_.switches.push_back("cpu" + std::to_string(i));
  if (numbers.size() < 2) return;
  PortFigure link = cpu_port("x86_64", "GenuineIntel", 6, 0x8f);
  link.source += "; the CPU is not in the file either";
  const std::string port = node_.add_port("cpu-link", link);
  for (std::size_t a = 0; a < numbers.size(); ++a) {
    for (std::size_t b = a + 1; b < numbers.size(); ++b) {
      const std::string from = "cpu" + std::to_string(a), to = "cpu" + std::to_string(b);
      node_.cables.push_back({from + "-" + to, from, to, LinkKind::kHost, port});
    }
  }
}

// What meets by PIX shares a PCIe switch, what meets by PXB the switch above; the rest hangs on its
// CPU.
void MatrixReader::build_pcie() {
  std::string port;
  if (request_.pcie) {
    const PciePort given = pcie_given(*request_.pcie);
    port = node_.add_port(given.name, given.figure);
  } else {
    const int generation = pcie_generation(request_.device);
    constexpr double kRates[] = {0, 2.5, 5, 8, 16, 32};
    if (generation == 0) {
      mistakes_.add(
          Place{request_.file},
          "the matrix has no PCIe speeds, and that of '" + request_.device + "' is not known",
          "give --pcie, like --pcie '63 GB/s'");
      return;
    }
    PciePort assumed = *pcie_port(kRates[generation], 16);
    assumed.figure.label = "assumed";
    assumed.figure.source = fmt::format(
        "PCIe {} x16 as the type of GPU has it; speeds are not in the "
        "file. {}",
        generation, assumed.figure.source);
    port = node_.add_port(assumed.name, assumed.figure);
    node_.notes.push_back(
        fmt::format("PCIe generation {} x16 is assumed for every PCIe link", generation));
  }
  Groups near(parts_.size()), far(parts_.size());
  for (std::size_t a = 0; a < parts_.size(); ++a) {
    for (std::size_t b = a + 1; b < parts_.size(); ++b) {
      const std::string how = class_of(a, b);
      if (how == "PIX") near.join(a, b);
      if (how == "PIX" || how == "PXB") far.join(a, b);
    }
  }
  const auto size_of = [&](Groups& groups, std::size_t part) {
    std::size_t size = 0;
    for (std::size_t p = 0; p < parts_.size(); ++p) size += groups.of(p) == groups.of(part) ? 1 : 0;
    return size;
  };
  std::map<std::pair<int, std::size_t>, std::string> switches;  // by (level, group)
  int count = 0;
  const auto switch_of = [&](int level, std::size_t group, const std::string& above) {
    const auto [entry, is_new] = switches.emplace(std::pair{level, group}, "");
    if (is_new) {
      entry->second = "pcie" + std::to_string(count++);
      node_.switches.push_back(entry->second);
      node_.cables.push_back(
          {entry->second + "/pcie", entry->second, above, LinkKind::kPcie, port});
    }
    return entry->second;
  };
  vertex_.resize(parts_.size());
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    std::string above = "cpu" + std::to_string(numa_[p]);
    const std::size_t near_size = size_of(near, p), far_size = size_of(far, p);
    if (far_size > near_size) above = switch_of(1, far.of(p), above);
    if (near_size > 1) above = switch_of(0, near.of(p), above);
    vertex_[p] = p < gpus_ ? "gpu" + std::to_string(p) : "nic" + std::to_string(p - gpus_);
    if (p >= gpus_) node_.switches.push_back(vertex_[p]);
    node_.cables.push_back({vertex_[p] + "/pcie", vertex_[p], above, LinkKind::kPcie, port});
  }
}

void MatrixReader::build_nvlink() {
  std::map<std::size_t, std::map<std::size_t, int>> links;
  bool all = true;
  std::set<int> counts;
  for (std::size_t a = 0; a < gpus_; ++a) {
    for (std::size_t b = 0; b < gpus_; ++b) {
      if (a == b) continue;
      const int each = nvlinks(rows_.at(a).classes[b]);
      if (each > 0) links[a][b] = each;
      if (each > 0) counts.insert(each);
      all = all && each > 0;
    }
  }
  if (request_.without_nvlink) {
    if (!links.empty()) node_.notes.push_back("NVLink left out, as asked: GPUs meet over PCIe");
    return;
  }
  // NV# between all GPUs alike is an NVSwitch: # is then what a GPU has in all. With direct links a
  // GPU of n would need (n - 1) times as many, more than any has beyond a few.
  const bool switched = all && gpus_ > 2 && counts.size() == 1 &&
                        *counts.begin() * (static_cast<int>(gpus_) - 1) > 18;
  const auto rate = nvlink_rate(compute_capability(request_.device));
  if (request_.nvlink || switched) {
    if (!request_.nvlink && !rate) {
      mistakes_.add(Place{request_.file},
                    "the speed of an NVLink of '" + request_.device + "' is not known",
                    "give --nvlink, per GPU and direction, or --without-nvlink");
      return;
    }
    const int each = switched ? *counts.begin() : 0;
    const std::string port =
        request_.nvlink
            ? node_.add_port("nvlink", nvlink_port(request_.nvlink->count(),
                                                   "given as --nvlink at the import", "assumed"))
            : node_.add_port(
                  "nvlink-x" + std::to_string(each),
                  nvlink_port(*rate * each,
                              fmt::format("{} links; NVIDIA data sheets: {:g} GB/s per NVLink and "
                                          "direction",
                                          each, *rate / 1e9),
                              "published"));
    node_.switches.push_back("nvswitch");
    for (std::size_t g = 0; g < gpus_; ++g) {
      const std::string gpu = "gpu" + std::to_string(g);
      node_.cables.push_back({gpu + "/nvlink", gpu, "nvswitch", LinkKind::kNvlink, port});
    }
    return;
  }
  if (!links.empty() && !rate) {
    mistakes_.add(Place{request_.file},
                  "the speed of an NVLink of '" + request_.device + "' is not known",
                  "give --nvlink, per GPU and direction, or --without-nvlink");
    return;
  }
  for (const auto& [a, others] : links) {
    for (const auto& [b, each] : others) {
      if (b < a) continue;
      const std::string port = node_.add_port(
          "nvlink-x" + std::to_string(each),
          nvlink_port(
              *rate * each,
              fmt::format("{} links; NVIDIA data sheets: {:g} GB/s per NVLink and direction", each,
                          *rate / 1e9),
              "published"));
      const std::string from = "gpu" + std::to_string(a), to = "gpu" + std::to_string(b);
      node_.cables.push_back({from + "/nvlink-" + to, from, to, LinkKind::kNvlink, port});
    }
  }
}

void MatrixReader::build_nics() {
  if (gpus_ == parts_.size()) return;
  if (!request_.nic) {
    const std::string what = "the matrix does not say how fast its NICs are";
    if (request_.nodes > 1) {
      mistakes_.add(Place{request_.file}, what, "give --nic, like --nic '400 Gb/s'");
    } else {
      node_.notes.push_back(what + ": their ports are left out (--nic gives it)");
    }
    return;
  }
  const std::string& port = node_.add_port(
      "nic", nic_port(request_.nic->count(), "given as --nic at the import", "assumed"));
  for (std::size_t p = gpus_; p < parts_.size(); ++p)
    node_.nics.push_back({parts_[p], vertex_[p], port});
}

ImportedNode MatrixReader::read(const std::string& content) {
  node_.format = "nvidia-smi topo -m";
  node_.device = request_.device;
  std::istringstream in(content);
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    const std::vector<std::string> words = words_of(plain(line));
    if (words.empty()) continue;
    if (parts_.empty()) {
      if (is_gpu(words.front())) read_header(words, number);
    } else if (is_gpu(words.front()) || is_nic(words.front())) {
      read_row(words, number);
    } else {
      break;  // the legend
    }
  }
  if (gpus_ == 0)
    throw Error(Place{request_.file, 1, 0},
                "this is no matrix of `nvidia-smi topo -m`: no line begins with GPU0",
                "an NCCL topology XML begins with <system>");
  mistakes_.throw_if_any();
  check_symmetry();
  if (request_.device.empty())
    mistakes_.add(Place{request_.file}, "the matrix does not say which GPU this is",
                  "give --device; " + suggest("", request_.known_devices));
  mistakes_.throw_if_any();
  node_.gpus = static_cast<int>(gpus_);
  find_numa();
  build_pcie();
  build_nvlink();
  build_nics();
  mistakes_.throw_if_any();
  return std::move(node_);
}

}  // namespace

ImportedNode import_topo_matrix(const ImportRequest& request, const std::string& content) {
  return MatrixReader(request).read(content);
}

}  // namespace sim
