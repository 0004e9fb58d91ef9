#include "topologies/import/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr std::uintmax_t kLargestFile = 16 << 20;  // bytes; a machine's dump has about ten thousand

std::string read_file(const std::string& file) {
  std::error_code code;
  const std::uintmax_t size = std::filesystem::file_size(file, code);
  if (code) throw Error(Place{file}, "cannot be read: " + code.message());
  if (size > kLargestFile)
    throw Error(Place{file}, "is larger than the 16 MiB that a topology may have");
  std::ifstream in(file, std::ios::binary);
  if (!in) throw Error(Place{file}, "cannot be opened");
  return {std::istreambuf_iterator<char>(in), {}};
}

// A YAML double-quoted string.
std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      result += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    } else {
      result += c;
    }
  }
  return result + "\"";
}

}  // namespace

const std::string& ImportedNode::add_port(std::string name, const PortFigure& figure) {
  const auto found = std::find_if(ports.begin(), ports.end(),
                                  [&](const auto& port) { return port.first == name; });
  if (found != ports.end()) return found->first;
  ports.emplace_back(std::move(name), figure);
  return ports.back().first;
}

ImportedNode import_node(const ImportRequest& request) {
  const std::string content = read_file(request.file);
  const std::size_t first = content.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (first == std::string::npos) throw Error(Place{request.file}, "is empty");
  return content[first] == '<' ? import_nccl_xml(request, content)
                               : import_topo_matrix(request, content);
}

std::string cluster_yaml(const ImportedNode& node, const ImportRequest& request) {
  std::string text =
      fmt::format("# Made by `simulate cluster import` from {} of one machine.\n", node.format);
  for (const std::string& note : node.notes) text += "# Note: " + note + "\n";
  text += "source: " +
          quoted(node.format + " " + std::filesystem::path(request.file).filename().string()) +
          "\n";
  text += fmt::format("generator: node-graph\nnodes: {}\ndevice: {}\ngpus: {}\nswitches: [",
                      request.nodes, quoted(node.device), node.gpus);
  for (std::size_t i = 0; i < node.switches.size(); ++i)
    text += (i == 0 ? "" : ", ") + quoted(node.switches[i]);
  text += "]\n";
  for (const auto& [name, port] : node.ports) {
    text += fmt::format("{}: {{bandwidth: {:.6g} GB/s, label: {}, source: {},\n", quoted(name),
                        port.bandwidth.count() / 1e9, port.label, quoted(port.source));
    text +=
        fmt::format("  latency: {} ns, latency_label: {}, latency_source: {}}}\n",
                    port.latency.count() / 1000, port.latency_label, quoted(port.latency_source));
  }
  if (!node.nics.empty()) {
    text +=
        "fabric: {latency: 450 ns, label: assumed, source: \"as published for hgx-h100 in the "
        "catalog; not in the file\"}\n";
  }
  text += "links:\n";
  for (const ImportedNode::Cable& cable : node.cables) {
    text +=
        fmt::format("  - {{name: {}, from: {}, to: {}, kind: {}, port: {}}}\n", quoted(cable.name),
                    quoted(cable.from), quoted(cable.to), to_text(cable.kind), quoted(cable.port));
  }
  if (node.cables.empty()) text += "  []\n";
  text += node.nics.empty() ? "nics: []\n" : "nics:\n";
  for (const ImportedNode::Nic& nic : node.nics) {
    text += fmt::format("  - {{name: {}, at: {}, port: {}}}\n", quoted(nic.name), quoted(nic.at),
                        quoted(nic.port));
  }
  return text;
}

}  // namespace sim
