// "Did you mean": the candidate nearest to what was typed.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sim {

// Damerau-Levenshtein distance with adjacent transpositions; O(a*b).
int edit_distance(std::string_view a, std::string_view b);

// "did you mean 'x'?" when a candidate is near, else "possible: a, b, c" (at most 12 shown), else
// "".
std::string suggest(std::string_view typed, std::span<const std::string> candidates);

}  // namespace sim
