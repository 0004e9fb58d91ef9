// Where an importer of tokens puts its rows: into a trace of tokens, or, with
// ImportOptions::counts, into one of counts per (step, tag, layer); with ImportOptions::steps only
// the steps asked for.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "traces/import/import.h"
#include "traces/trace_file.h"

namespace sim {

class TokenSink {
 public:
  // `header` is of tokens. Throws Error when steps are asked for of a file without them.
  TokenSink(const ImportJob& job, TraceHeader header);

  std::uint32_t tag(std::string_view name);
  // Throws as TraceWriter does; and Error when the counts need more than 1 GiB.
  void append(const TokenRow& row);
  void finish();
  std::int64_t tokens() const { return kept_; }         // appended and kept so far
  std::int64_t rows() const { return writer_.rows(); }  // after finish(): tokens, or histograms

 private:
  using Key = std::pair<std::int64_t, std::uint32_t>;  // (step, tag)
  struct Cell {
    std::int64_t tokens = 0;
    std::vector<std::int64_t> counts;  // of all layers, one after another
  };
  void count(const TokenRow& row);

  ImportJob job_;
  TraceHeader tokens_;              // of the rows that come
  std::vector<std::size_t> first_;  // of each layer in Cell::counts, and the end
  TraceWriter writer_;
  std::map<Key, Cell> cells_;
  std::int64_t kept_ = 0;
};

}  // namespace sim
