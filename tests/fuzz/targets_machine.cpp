// Descriptions of machines, models and flows; a scenario up to the point of `simulate check`.
#include "models/config_json.h"
#include "sim/app/catalog.h"
#include "sim/app/scenario.h"
#include "sim/workloads/flows/flow_scenario.h"
#include "sim/workloads/flows/flow_table.h"
#include "tests/fuzz/targets.h"
#include "topologies/cluster_reader.h"
#include "topologies/import/import.h"

namespace sim::fuzz {
namespace {

ImportRequest machine_request() {
  ImportRequest request;
  request.file = "machine";
  request.device = "h100-sxm";
  request.known_devices = {"h100-sxm"};
  request.nvlink = Bandwidth{450e9};
  request.nic = Bandwidth{50e9};
  request.pcie = Bandwidth{64e9};
  return request;
}

// What was imported is a cluster file.
void node(const ImportedNode& imported, const ImportRequest& request) {
  cluster_yaml(imported, request);
}

void nccl_xml(std::string_view bytes) {
  const ImportRequest request = machine_request();
  node(import_nccl_xml(request, std::string(bytes)), request);
}

void topo_matrix(std::string_view bytes) {
  const ImportRequest request = machine_request();
  node(import_topo_matrix(request, std::string(bytes)), request);
}

void config_json(std::string_view bytes) {
  parse_config_json(std::string(bytes), "config.json", "fuzzed");
}

void cluster(std::string_view bytes) {
  static const Catalog catalog;
  load_cluster(scratch_file("cluster.yaml", bytes), catalog.cluster_lookup());
}

void flow_text(std::string_view bytes) { read_flow_scenario(scratch_file("flows.txt", bytes)); }

void flow_csv(std::string_view bytes) {
  static const Cluster eight = [] {
    const Catalog catalog;
    const std::string file = scratch_file(
        "eight.yaml", "generator: single-switch\nparameters: {gpus: 8, bandwidth: 50 GB/s}\n");
    return load_cluster(file, catalog.cluster_lookup());
  }();
  read_flow_table(scratch_file("flows.csv", bytes), eight);
}

void scenario(std::string_view bytes) {
  static const Catalog catalog;
  read_scenario(scratch_file("scenario.yaml", bytes), {}, catalog);
}

}  // namespace

std::vector<Target> machine_targets() {
  return {{"nccl-xml", nccl_xml},    {"topo-matrix", topo_matrix}, {"config-json", config_json},
          {"cluster", cluster, 20},  {"flow-text", flow_text},     {"flow-csv", flow_csv},
          {"scenario", scenario, 20}};
}

}  // namespace sim::fuzz
