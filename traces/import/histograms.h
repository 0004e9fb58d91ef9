// Collects counts per (step, tag, layer, expert) and writes them as a trace of counts.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "traces/import/import.h"
#include "traces/trace_format.h"

namespace sim {

// What a cell of a map takes beside its counters: node, key, vector, both allocations' heads
// (96 + 24 + 2 * 16 bytes, rounded up).
inline constexpr std::size_t kCountCellBytes = 160;

class Histograms {
 public:
  explicit Histograms(int experts) : experts_(experts) {}

  // Counters of a (step, tag, layer number), zero at first. Tags keep the order in which they come.
  // Throws Error when they need more than 1 GiB.
  std::vector<std::int64_t>& at(const std::string& tag, int layer_number, std::int64_t step = 0);
  void set_tokens(const std::string& tag, int layer_number, std::int64_t tokens);
  // Sets the tokens of every histogram: its sum / top_k, or "not known" where top_k does not
  // divide.
  void set_all_tokens(int top_k);
  bool empty() const { return cells_.empty(); }

  // `header` needs model, provenance and top_k; experts and layers are filled in. Tags are stored
  // when any is not "". Tokens that were not set are "not known".
  // They are written step by step. Returns the number of histograms.
  std::int64_t write(const std::string& path, TraceHeader header) const;

 private:
  struct Cell {
    std::vector<std::int64_t> counts;
    std::int64_t tokens = 0;
  };
  using Key = std::tuple<std::int64_t, std::size_t, int>;  // (step, tag, layer number)
  std::size_t tag_number(const std::string& tag);

  int experts_;
  std::vector<std::string> tags_;
  std::map<std::string, std::size_t> tag_numbers_;
  std::map<Key, Cell> cells_;
};

}  // namespace sim
