// Joins the batches of a recording, one layer each, into token rows that run through all layers.
//
// Batches of one (step, source rank, layer) follow each other in the order in which they come; row
// t of a (step, source rank) is token t of each of its layers. A (step, source rank) is held until
// close_before() says that its step is over. Left out whole, and counted: one whose layers do not
// hold equally many tokens, one that a drop may have touched (then equal numbers prove nothing),
// one without an announced column, one whose layers disagree about a column.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "traces/import/capture_frames.h"
#include "traces/trace_format.h"

namespace sim {

struct JoinCounters {
  std::int64_t tokens = 0;  // joined
  std::int64_t unequal_layers = 0, dropped = 0, no_column = 0,
               columns_differ = 0;  // tokens left out
  std::int64_t late_batches = 0;    // their step was over
  std::int64_t twice = 0;           // tokens that choose an expert twice in a layer
};

class CaptureJoin {
 public:
  struct Columns {
    bool weights = false, token_ids = false, tags = false, requests = false;
  };
  using Sink = std::function<void(const TokenRow&)>;  // tags as in CaptureBatch

  // `layer_of` maps a layer of the batches to a layer of the rows, -1: not kept.
  CaptureJoin(std::vector<int> layer_of, int layers, Columns columns, Sink sink);

  // Throws Error when a single step needs more than 512 MiB. `origin`: number of the log; a layer
  // of a (step, source rank) from two logs is an Error.
  void add(const CaptureBatch& batch, std::size_t origin);
  void add(const CaptureDrops& drops);
  // Steps below this one are over.
  void close_before(std::int64_t step);
  void finish();
  const JoinCounters& counters() const { return counters_; }

 private:
  struct Layer {
    std::size_t origin = 0;
    std::vector<std::uint16_t> choices;
    std::vector<std::uint8_t> counts;
    std::vector<float> weights;
  };
  // Given by one layer or more: the first that gives it is believed, the others are compared.
  template <class T>
  struct Column {
    int layer = -1;
    std::vector<T> values;
  };
  struct Group {
    std::vector<Layer> layers;
    Column<std::int64_t> token_ids, requests, positions;
    Column<std::uint32_t> tags;
    bool dropped = false;
    bool differ = false;
    std::size_t bytes = 0;
  };
  using Key = std::pair<std::int64_t, std::int32_t>;  // (step, source rank)

  template <class T>
  void take(Group& group, Column<T>& column, int layer, std::size_t first,
            const std::vector<T>& values);
  bool whole(const Group& group, std::size_t tokens);
  void emit(const Key& key, const Group& group);

  std::vector<int> layer_of_;
  std::size_t layers_;
  Columns columns_;
  Sink sink_;
  std::map<Key, Group> open_;
  std::vector<CaptureDrops> drops_;  // those that may touch what is still to come
  std::int64_t over_ = 0;            // steps below are over
  std::size_t held_bytes_ = 0;
  JoinCounters counters_;
};

}  // namespace sim
