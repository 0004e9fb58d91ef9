#include "topologies/cluster_reader.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include "sim/input/suggestion.h"
#include "topologies/communication_reader.h"
#include "topologies/generators.h"
#include "topologies/parameters.h"
#include "topologies/validate.h"

namespace sim {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kDeepestUse = 8;

bool is_file(const fs::path& path) {
  std::error_code code;
  return fs::is_regular_file(path, code);
}

bool looks_like_path(const std::string& name) {
  return name.find('/') != std::string::npos || name.ends_with(".yaml") || name.ends_with(".yml");
}

// The file that `name` stands for: a path wins over the catalog.
std::optional<std::string> file_of(const std::string& name, const Place& place,
                                   const CatalogLookup& lookup) {
  if (is_file(name)) return name;
  const fs::path beside = fs::path(place.file).parent_path() / name;
  if (is_file(beside)) return beside.string();
  if (looks_like_path(name)) return name;  // loading it says that it does not exist
  return lookup.file ? lookup.file(name) : std::nullopt;
}

// Follows `use` from layer to layer until a generator is named.
class ClusterReader {
 public:
  ClusterReader(const CatalogLookup& lookup, Mistakes& mistakes, std::string name)
      : lookup_(lookup), mistakes_(mistakes), name_(std::move(name)) {}

  Cluster read(const YamlNode& node) {
    const std::size_t before = mistakes_.list().size();
    place_ = node.place();
    if (node.is_scalar()) {
      use(node.text(), place_);
    } else {
      read_layer(node);
    }
    if (generator_ == nullptr) {
      SIM_CHECK(mistakes_.list().size() > before, "no generator without a mistake");
      return {};
    }
    ClusterParameters parameters(std::move(layers_), name_);
    Cluster cluster = generator_->build(parameters);
    cluster.source = parameters.text_or("source", "");
    read_communication(parameters, cluster);
    parameters.finish();
    if (mistakes_.list().size() == before) validate(cluster, mistakes_, place_);
    return cluster;
  }

 private:
  void use(const std::string& name, const Place& place);
  void read_layer(const YamlNode& node);

  const CatalogLookup& lookup_;
  Mistakes& mistakes_;
  Place place_;
  std::string name_;
  std::vector<YamlMap> layers_;
  std::vector<std::unique_ptr<YamlDocument>> documents_;  // the layers point into them
  const ClusterGenerator* generator_ = nullptr;
};

void ClusterReader::use(const std::string& name, const Place& place) {
  if (name_.empty()) name_ = looks_like_path(name) ? fs::path(name).stem().string() : name;
  const std::optional<std::string> file = file_of(name, place, lookup_);
  if (!file) {
    generator_ = find_cluster_generator(name);
    if (generator_ == nullptr) {
      std::vector<std::string> names = lookup_.names;
      for (std::string& known : cluster_generator_names()) names.push_back(std::move(known));
      mistakes_.add(place, "no cluster is called '" + name + "'", suggest(name, names));
    } else if (layers_.empty()) {
      mistakes_.add(place, "'" + name + "' is a generator and needs parameters",
                    "write {use: " + name + ", ...}, like " + std::string(generator_->example));
      generator_ = nullptr;
    }
    return;
  }
  if (documents_.size() >= kDeepestUse) {
    mistakes_.add(
        place,
        "these cluster files use each other more than " + std::to_string(kDeepestUse) + " deep",
        "does one use itself?");
    return;
  }
  try {
    documents_.push_back(YamlDocument::load(*file));
  } catch (const Error& error) {
    for (const Mistake& mistake : error.mistakes()) {
      // A file that is missing is the mistake of whoever named it.
      const bool missing = mistake.place.line == 0 && mistake.place.file == *file;
      mistakes_.add(missing ? place : mistake.place,
                    missing ? "'" + name + "': " + mistake.message : mistake.message, mistake.hint);
    }
    return;
  }
  read_layer(documents_.back()->root());
}

void ClusterReader::read_layer(const YamlNode& node) {
  YamlMap map(node, documents_.empty() ? "cluster" : "cluster '" + name_ + "'", mistakes_);
  if (!node.is_map()) {
    if (node.is_null() && !node.path().empty()) mistakes_.add(node.place(), "cluster is empty");
    return;
  }
  const bool has_use = map.has("use");
  const bool has_generator = map.has("generator");
  if (has_use == has_generator) {
    std::vector<std::string> names = cluster_generator_names();
    mistakes_.add(map.place(),
                  has_use ? map.what() + " has both 'use' and 'generator'"
                          : map.what() + " needs the key 'use'",
                  has_use ? "keep one of them"
                          : "name a catalog entry, a file or a generator: use: hgx-h100");
    return;
  }
  const std::string key = has_use ? "use" : "generator";
  const std::string base = map.text(key);
  const Place place = map.place_of(key);
  layers_.push_back(std::move(map));
  if (base.empty()) return;
  if (has_use) {
    use(base, place);
    return;
  }
  if (name_.empty()) name_ = base;
  generator_ = find_cluster_generator(base);
  if (generator_ == nullptr) {
    mistakes_.add(place, "no generator is called '" + base + "'",
                  suggest(base, cluster_generator_names()));
  }
}

}  // namespace

CatalogLookup catalog_in(const std::string& folder) {
  CatalogLookup lookup;
  std::error_code code;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, code)) {
    if (entry.path().extension() == ".yaml") lookup.names.push_back(entry.path().stem().string());
  }
  std::sort(lookup.names.begin(), lookup.names.end());
  lookup.file = [folder, names = lookup.names](std::string_view name) {
    std::optional<std::string> file;
    if (std::binary_search(names.begin(), names.end(), name)) {
      file = (fs::path(folder) / (std::string(name) + ".yaml")).string();
    }
    return file;
  };
  return lookup;
}

Cluster read_cluster(YamlNode node, const CatalogLookup& lookup, Mistakes& mistakes) {
  if (!node.defined()) {
    mistakes.add({}, "no cluster is given", "like cluster: {use: hgx-h100, nodes: 2}");
    return {};
  }
  return ClusterReader(lookup, mistakes, "").read(node);
}

Cluster load_cluster(const std::string& file, const CatalogLookup& lookup) {
  const std::unique_ptr<YamlDocument> document = YamlDocument::load(file);
  Mistakes mistakes;
  Cluster cluster =
      ClusterReader(lookup, mistakes, fs::path(file).stem().string()).read(document->root());
  mistakes.throw_if_any();
  return cluster;
}

}  // namespace sim
