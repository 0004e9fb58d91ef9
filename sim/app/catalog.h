// Where the ready-made things lie and what they are called: models, clusters, devices, systems,
// scenarios.
//
// The folders are found from the binary upwards (the repository it was built in), or from
// SIMULATE_HOME.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "topologies/cluster_reader.h"

namespace sim {

struct CatalogEntry {
  std::string name;
  std::string path;
  std::string summary;  // the file's first comment line, without '#'
};

class Catalog {
 public:
  Catalog();  // throws Error when the folders are not found

  const std::string& root() const { return root_; }
  std::vector<CatalogEntry> models() const { return list("models/catalog"); }
  std::vector<CatalogEntry> clusters() const { return list("topologies/catalog"); }
  std::vector<CatalogEntry> devices() const { return list("models/devices"); }
  std::vector<CatalogEntry> scenarios() const { return list("sim/scenarios"); }
  CatalogLookup cluster_lookup() const { return catalog_in(root_ + "/topologies/catalog"); }

  // A name of the catalog or a path; a path wins. Relative paths are tried from the working
  // directory, then from `beside` (a file's folder), then from the root. Throws Error with a
  // suggestion.
  std::string model_file(const std::string& name, const std::string& beside) const;
  std::string scenario_file(const std::string& name) const;
  std::string trace_file(const std::string& name, const std::string& beside) const;
  std::string device_file(const std::string& type) const;

 private:
  std::vector<CatalogEntry> list(const std::string& folder) const;
  std::string resolve(const std::string& name, const std::string& folder, const std::string& beside,
                      const char* what) const;

  std::string root_;
};

}  // namespace sim
