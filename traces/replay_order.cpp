#include "traces/replay_order.h"

#include <numeric>
#include <utility>

#include "sim/core/error.h"
#include "sim/core/random.h"

namespace sim {
namespace {

// Step s of the run is the recorded step number s mod n, in rising order.
class RecordedOrder final : public ReplayOrder {
 public:
  RecordedOrder(const RowPlaces& places, int ranks) : places_(places), ranks_(ranks) {}

  void rows_of(int step, StepRows& out) override {
    const std::int64_t group = step % places_.group_count();
    const std::size_t begin =
        static_cast<std::size_t>(places_.groups[static_cast<std::size_t>(group)]);
    const std::size_t end = begin + static_cast<std::size_t>(places_.group_size(group));
    out.rows.clear();
    out.rank_begin.assign(1, 0);
    std::size_t next = begin;
    for (int rank = 0; rank < ranks_; ++rank) {
      for (; next < end && places_.places[next].second == rank; ++next) {
        out.rows.push_back(places_.places[next].row);
      }
      out.rank_begin.push_back(static_cast<std::int64_t>(out.rows.size()));
    }
    SIM_CHECK(next == end, "recorded ranks were checked against the cluster");
  }

 private:
  const RowPlaces& places_;
  int ranks_;
};

// Requests one after another in a seeded order, anew when all are used.
class RequestQueue {
 public:
  RequestQueue(std::int64_t requests, std::uint64_t seed)
      : seed_(seed), order_(static_cast<std::size_t>(requests)) {}

  std::int64_t next() {
    if (taken_ == order_.size() || round_ == 0) {
      std::iota(order_.begin(), order_.end(), std::int64_t{0});
      RandomStream random(seed_, "replay/requests/round " + std::to_string(round_++));
      random.shuffle(order_);
      taken_ = 0;
    }
    return order_[taken_++];
  }

 private:
  std::uint64_t seed_;
  std::vector<std::int64_t> order_;
  std::size_t taken_ = 0;
  int round_ = 0;
};

struct Slot {
  std::int64_t request = -1;
  std::int64_t position = 0;  // index into the request's rows
};

// Decode: every slot gives one row per step.
class RequestOrder final : public ReplayOrder {
 public:
  RequestOrder(const RowPlaces& places, std::vector<std::int64_t> slots, std::uint64_t seed)
      : places_(places), per_rank_(std::move(slots)), seed_(seed), queue_(0, seed) {
    restart();
  }

  void rows_of(int step, StepRows& out) override {
    if (step < at_) restart();
    while (at_ < step) advance();
    out.rows.clear();
    for (const Slot& slot : slots_) out.rows.push_back(places_.row(slot.request, slot.position));
    out.rank_begin.assign(1, 0);
    for (const std::int64_t n : per_rank_) out.rank_begin.push_back(out.rank_begin.back() + n);
  }

 private:
  void restart() {
    queue_ = RequestQueue(places_.group_count(), seed_);
    slots_.assign(static_cast<std::size_t>(
                      std::accumulate(per_rank_.begin(), per_rank_.end(), std::int64_t{0})),
                  Slot{});
    for (Slot& slot : slots_) slot.request = queue_.next();
    at_ = 0;
  }
  void advance() {
    for (Slot& slot : slots_) {
      if (++slot.position < places_.group_size(slot.request)) continue;
      slot = {queue_.next(), 0};
    }
    ++at_;
  }

  const RowPlaces& places_;
  std::vector<std::int64_t> per_rank_;
  std::uint64_t seed_;
  RequestQueue queue_;
  std::vector<Slot> slots_;
  int at_ = 0;
};

// Prefill: every rank reads its requests on, as many tokens per step as it takes.
class RequestPrefillOrder final : public ReplayOrder {
 public:
  RequestPrefillOrder(const RowPlaces& places, std::vector<std::int64_t> tokens, std::uint64_t seed)
      : places_(places), tokens_(std::move(tokens)), seed_(seed), queue_(0, seed) {
    restart();
  }

  void rows_of(int step, StepRows& out) override {
    if (step <= at_) restart();
    while (at_ < step) read(step == at_ + 1 ? &out : nullptr);
  }

 private:
  void restart() {
    queue_ = RequestQueue(places_.group_count(), seed_);
    ranks_.assign(tokens_.size(), Slot{});
    at_ = -1;
  }
  void read(StepRows* out) {
    if (out != nullptr) {
      out->rows.clear();
      out->rank_begin.assign(1, 0);
    }
    for (std::size_t rank = 0; rank < tokens_.size(); ++rank) {
      Slot& slot = ranks_[rank];
      for (std::int64_t t = 0; t < tokens_[rank]; ++t) {
        if (slot.request < 0 || slot.position == places_.group_size(slot.request)) {
          slot = {queue_.next(), 0};
        }
        if (out != nullptr) out->rows.push_back(places_.row(slot.request, slot.position));
        ++slot.position;
      }
      if (out != nullptr) out->rank_begin.push_back(static_cast<std::int64_t>(out->rows.size()));
    }
    ++at_;
  }

  const RowPlaces& places_;
  std::vector<std::int64_t> tokens_;
  std::uint64_t seed_;
  RequestQueue queue_;
  std::vector<Slot> ranks_;
  int at_ = -1;  // the step last read
};

class SampleOrder final : public ReplayOrder {
 public:
  SampleOrder(const RowPlaces& places, std::vector<std::int64_t> tokens, bool prefill,
              std::uint64_t seed)
      : places_(places), tokens_(std::move(tokens)), prefill_(prefill), seed_(seed) {}

  void rows_of(int step, StepRows& out) override {
    out.rows.clear();
    out.rank_begin.assign(1, 0);
    for (std::size_t rank = 0; rank < tokens_.size(); ++rank) {
      RandomStream random(
          seed_, "replay/sample/step " + std::to_string(step) + "/rank " + std::to_string(rank));
      if (prefill_) {
        draw_requests(tokens_[rank], random, out.rows);
      } else {
        for (std::int64_t t = 0; t < tokens_[rank]; ++t) {
          out.rows.push_back(places_.places[random.below(places_.places.size())].row);
        }
      }
      out.rank_begin.push_back(static_cast<std::int64_t>(out.rows.size()));
    }
  }

 private:
  void draw_requests(std::int64_t tokens, RandomStream& random, std::vector<std::int64_t>& rows) {
    while (tokens > 0) {
      const auto group = static_cast<std::int64_t>(
          random.below(static_cast<std::uint64_t>(places_.group_count())));
      const std::int64_t size = std::min(tokens, places_.group_size(group));
      for (std::int64_t i = 0; i < size; ++i) rows.push_back(places_.row(group, i));
      tokens -= size;
    }
  }

  const RowPlaces& places_;
  std::vector<std::int64_t> tokens_;
  bool prefill_;
  std::uint64_t seed_;
};

}  // namespace

std::unique_ptr<ReplayOrder> make_recorded_order(const RowPlaces& places, int ranks) {
  return std::make_unique<RecordedOrder>(places, ranks);
}

std::unique_ptr<ReplayOrder> make_request_order(const RowPlaces& places,
                                                std::vector<std::int64_t> slots,
                                                std::uint64_t seed) {
  return std::make_unique<RequestOrder>(places, std::move(slots), seed);
}

std::unique_ptr<ReplayOrder> make_request_prefill_order(const RowPlaces& places,
                                                        std::vector<std::int64_t> tokens,
                                                        std::uint64_t seed) {
  return std::make_unique<RequestPrefillOrder>(places, std::move(tokens), seed);
}

std::unique_ptr<ReplayOrder> make_sample_order(const RowPlaces& places,
                                               std::vector<std::int64_t> tokens, bool prefill,
                                               std::uint64_t seed) {
  return std::make_unique<SampleOrder>(places, std::move(tokens), prefill, seed);
}

}  // namespace sim
