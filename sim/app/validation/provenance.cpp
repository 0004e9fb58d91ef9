#include "sim/app/validation/provenance.h"

#include <algorithm>
#include <cctype>

#include "sim/input/fitting/row_ids.h"

namespace sim {
namespace {

void add_ids(Provenance& into, const std::vector<std::string>& ids) {
  into.fitted_to.insert(ids.begin(), ids.end());
}

bool part_of_id(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
}

// As a whole word: "aic_nccl_h100" is not in "aic_nccl_h100_sxm".
bool mentions(const std::string& text, const std::string& word) {
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || !part_of_id(text[at - 1])) && (end == text.size() || !part_of_id(text[end])))
      return true;
  }
  return false;
}

// "aic/aic_nccl_h100#1-21" is of the table "aic_nccl_h100".
bool of_table(const std::string& compact, const std::string& table) {
  const std::string name = compact.substr(0, compact.find('#'));
  return name == table || (name.size() > table.size() && name.ends_with(table) &&
                           name[name.size() - table.size() - 1] == '/');
}

}  // namespace

void add_provenance(Provenance& into, const Scenario& scenario,
                    const std::vector<CostRecord>& costs) {
  std::set<std::string> named;
  for (const CostRecord& record : costs) named.insert(record.source);
  into.sources.insert(named.begin(), named.end());
  for (const auto& [type, device] : scenario.device_types) {
    into.sources.insert(device.source);
    into.sources.insert(device.efficiency_source);
    for (const KernelConstants& kernel : device.kernels) {
      if (named.count(kernel.provenance) != 0) add_ids(into, kernel.fitted_to);
    }
  }
  const Cluster& cluster = scenario.cluster;
  into.sources.insert(cluster.source);
  for (const Figure& figure : cluster.figures) into.sources.insert(figure.source);
  for (const AlgorithmConstants& each : cluster.communication) {
    if (named.count(each.dispatch.source) != 0) add_ids(into, each.dispatch.fitted_to);
    if (named.count(each.combine.source) != 0) add_ids(into, each.combine.fitted_to);
  }
  for (const CollectiveConstants& each : cluster.collectives) {
    if (named.count(each.source) != 0) add_ids(into, each.fitted_to);
  }
}

bool is_fitted(const Provenance& provenance, const std::string& id,
               std::span<const std::string> tables) {
  const std::vector<std::string> ids(provenance.fitted_to.begin(), provenance.fitted_to.end());
  if (holds_id(ids, id)) return true;
  const auto named = [&](const std::string& word) {
    return std::any_of(ids.begin(), ids.end(),
                       [&](const std::string& each) { return of_table(each, word); }) ||
           std::any_of(provenance.sources.begin(), provenance.sources.end(),
                       [&](const std::string& each) { return mentions(each, word); });
  };
  return named(id) || std::any_of(tables.begin(), tables.end(), named);
}

}  // namespace sim
