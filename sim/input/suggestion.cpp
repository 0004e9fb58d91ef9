#include "sim/input/suggestion.h"

#include <algorithm>

namespace sim {

int edit_distance(std::string_view a, std::string_view b) {
  const std::size_t columns = b.size() + 1;
  std::vector<int> before(columns);
  std::vector<int> above(columns);
  std::vector<int> row(columns);
  for (std::size_t j = 0; j < columns; ++j) above[j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (std::size_t j = 1; j < columns; ++j) {
      const int replace = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}

std::string suggest(std::string_view typed, std::span<const std::string> candidates) {
  constexpr std::size_t kLongest = 200;  // beyond this a typo is not the problem
  const std::string* best = nullptr;
  int best_distance = 0;
  if (typed.size() <= kLongest) {
    for (const std::string& candidate : candidates) {
      const int distance = edit_distance(typed, candidate);
      if (best == nullptr || distance < best_distance) {
        best = &candidate;
        best_distance = distance;
      }
    }
  }
  const int limit = std::max(1, std::min(3, static_cast<int>(typed.size()) / 2));
  if (best != nullptr && best_distance <= limit) return "did you mean '" + *best + "'?";
  if (candidates.empty()) return {};
  constexpr std::size_t kShown = 12;
  std::string text = "possible:";
  for (std::size_t i = 0; i < candidates.size() && i < kShown; ++i) {
    text += (i == 0 ? " " : ", ") + candidates[i];
  }
  if (candidates.size() > kShown) text += ", ...";
  return text;
}

}  // namespace sim
