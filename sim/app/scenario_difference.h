// What two scenarios say differently, key by key.
#pragma once

#include <string>
#include <vector>

namespace sim {

struct KeyDifference {
  std::string key;  // "placement.policy"; a list is one value
  std::string a;    // "" where the scenario does not have the key
  std::string b;
};

// In the order of the first text, then of the second. Throws Error when a text is not YAML.
std::vector<KeyDifference> scenario_difference(const std::string& a, const std::string& b);

}  // namespace sim
