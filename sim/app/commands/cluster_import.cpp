// simulate cluster import: a machine's description of itself -> a cluster file.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <set>

#include "sim/app/catalog.h"
#include "sim/app/commands/commands.h"
#include "sim/input/quantity.h"
#include "topologies/import/import.h"
#include "topologies/routes.h"

namespace sim {
namespace {

struct ImportArguments {
  ImportRequest request;
  std::string out;
  std::string nvlink, nic, pcie;  // as typed
};

std::optional<Bandwidth> rate(const char* option, const std::string& text) {
  if (text.empty()) return std::nullopt;
  std::string why;
  const std::optional<Bandwidth> value = parse_bandwidth(text, why);
  if (!value) throw Error(Place{option}, why);
  if (value->count() <= 0) throw Error(Place{option}, "a bandwidth must be positive");
  return value;
}

Cluster read_text(const std::string& yaml, const std::string& file, int nodes) {
  const std::unique_ptr<YamlDocument> document = YamlDocument::parse(yaml, file);
  document->set("nodes=" + std::to_string(nodes));
  Mistakes mistakes;
  Cluster cluster = read_cluster(document->root(), CatalogLookup{}, mistakes);
  mistakes.throw_if_any();
  return cluster;
}

Bandwidth slowest(const Cluster& cluster, const Route& route) {
  Bandwidth least = cluster.links[route.links.front().index()].capacity;
  for (const LinkId id : route.links) least = std::min(least, cluster.links[id.index()].capacity);
  return least;
}

// What the file came to: how fast GPUs reach each other, and which NICs each one uses.
std::string paths_text(const ImportedNode& node, const std::string& yaml, const std::string& file) {
  const Cluster cluster = read_text(yaml, file, node.nics.empty() ? 1 : 2);
  Routes routes(cluster);
  std::string text;
  if (node.gpus > 1) {
    std::optional<Bandwidth> least, most;
    for (int a = 0; a < node.gpus; ++a) {
      for (int b = 0; b < node.gpus; ++b) {
        if (a == b) continue;
        const Bandwidth each = slowest(cluster, routes.route(DeviceId(a), DeviceId(b)));
        least = std::min(least.value_or(each), each);
        most = std::max(most.value_or(each), each);
      }
    }
    text += "  GPU to GPU in a node: " + format_bandwidth(*least) +
            (*least == *most ? "" : " to " + format_bandwidth(*most)) +
            " per direction over the slowest link\n";
  }
  if (node.nics.empty()) return text;
  for (int a = 0; a < node.gpus; ++a) {
    std::set<std::string> nics;
    for (int b = 0; b < node.gpus; ++b) {
      for (const LinkId id : routes.route(DeviceId(a), DeviceId(node.gpus + b)).links) {
        const Link& link = cluster.links[id.index()];
        if (link.kind != LinkKind::kNic) continue;
        nics.insert(link.name.substr(6, link.name.size() - 6 - std::string("/port-up").size()));
        break;
      }
    }
    std::string names;
    for (const std::string& nic : nics) names += (names.empty() ? "" : ", ") + nic;
    text += fmt::format("  gpu{} leaves by {}\n", a, names);
  }
  return text;
}

void import(ImportArguments& arguments) {
  ImportRequest& request = arguments.request;
  std::error_code ignored;
  if (std::filesystem::equivalent(request.file, arguments.out, ignored))
    throw Error(Place{arguments.out}, "the result would be written over the file it is made from");
  request.nvlink = rate("--nvlink", arguments.nvlink);
  request.nic = rate("--nic", arguments.nic);
  request.pcie = rate("--pcie", arguments.pcie);
  if (request.nvlink && request.without_nvlink)
    throw Error(Place{"--nvlink"}, "contradicts --without-nvlink");
  const Catalog catalog;
  for (const CatalogEntry& entry : catalog.devices()) request.known_devices.push_back(entry.name);
  if (!request.device.empty()) catalog.device_file(request.device);  // says when there is none
  const ImportedNode node = import_node(request);
  const std::string yaml = cluster_yaml(node, request);
  read_text(yaml, arguments.out, request.nodes);  // nothing is written that could not be read
  const std::string paths = paths_text(node, yaml, arguments.out);
  std::ofstream out(arguments.out, std::ios::binary);
  out << yaml;
  out.close();
  if (!out) throw Error(Place{arguments.out}, "cannot be written");
  std::cout << fmt::format("{}: {}, {} node{} of {} x {}\n", arguments.out, node.format,
                           request.nodes, request.nodes == 1 ? "" : "s", node.gpus, node.device)
            << paths;
  for (const std::string& note : node.notes) std::cout << "note: " << note << "\n";
  std::cout
      << "note: no such file has the constants of communication kernels: copy 'communication' "
         "and 'collectives' of a catalog cluster, or line rates are used\n";
}

}  // namespace

void attach_cluster_import(CLI::App& command) {
  CLI::App* imported = command.add_subcommand(
      "import", "make a cluster file of an NCCL topology XML or a `nvidia-smi topo -m` matrix");
  auto arguments = std::make_shared<ImportArguments>();
  ImportRequest& request = arguments->request;
  imported->add_option("file", request.file, "what the machine says of itself")->required();
  imported->add_option("-o,--out", arguments->out, "the cluster file to write")->required();
  imported->add_option("--nodes", request.nodes, "so many such machines, joined rail by rail")
      ->check(CLI::Range(1, 1 << 20));
  imported->add_option("--device", request.device,
                       "type of the GPUs, a name of models/devices; else by the PCI id");
  imported->add_option("--nvlink", arguments->nvlink,
                       "per GPU and direction, like '450 GB/s': all GPUs on one NVSwitch");
  imported->add_flag("--without-nvlink", request.without_nvlink, "GPUs meet over PCIe");
  imported->add_option("--nic", arguments->nic, "speed of every NIC, like '400 Gb/s'");
  imported->add_option("--pcie", arguments->pcie, "speed of every PCIe link, like '63 GB/s'");
  imported->callback([arguments] { import(*arguments); });
}

}  // namespace sim
