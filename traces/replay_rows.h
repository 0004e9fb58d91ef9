// The recorded choices of any rows, held decompressed while they fit a budget, else read per step.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "traces/replay_order.h"
#include "traces/routing.h"
#include "traces/trace_file.h"

namespace sim {

class RowStore {
 public:
  // Reads the whole trace once: keeps its choices (and gate weights, if asked for) when they fit
  // `budget` bytes, and lists the rows with tag `tag` ("": all). Throws Error: a damaged file, an
  // unknown tag, no gate weights to keep, no row left, or more rows than an index of `budget` bytes
  // can list.
  RowStore(std::string path, const std::string& tag,
           std::shared_ptr<std::vector<float>> gate_weights, std::int64_t budget);

  const TraceHeader& header() const { return reader_.header(); }
  const RowPlaces& places() const { return places_; }
  std::int64_t rows() const { return reader_.index().rows; }
  bool resident() const { return resident_; }

  // Makes the rows of a step ready for `gather`. Throws Error when they need more than the budget.
  void prepare(const StepRows& step);
  // The choices of the prepared rows in one trace layer, in their order, with counts per rank.
  void gather(int layer, LayerRouting& out) const;

 private:
  void index_rows(const std::string& tag);
  void add_places(const TokenChunk& chunk, const std::string& tag, std::uint32_t tag_number);
  std::size_t chunk_of(std::int64_t row) const;
  void page_in();
  void gather_weights(int layer) const;

  std::string path_;
  TraceReader reader_;
  std::shared_ptr<std::vector<float>> gate_weights_;  // of the choices gathered last; may be null
  std::int64_t budget_;
  RowPlaces places_;
  bool resident_ = true;
  std::vector<TokenChunk> held_;  // resident: every chunk, choices only
  StepRows step_;
  std::vector<std::uint32_t> step_chunks_;  // of each row of the step
  std::vector<std::uint16_t> paged_;        // layer-major, top_k places per row
  std::vector<std::uint8_t> paged_counts_;  // layer-major
  std::vector<float> paged_weights_;        // as paged_, or empty
};

}  // namespace sim
