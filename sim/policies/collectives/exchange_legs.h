// What a dispatch algorithm says, apart from how it becomes transfers.
//
// An algorithm is written once, for dispatch, seen from the rank that owns the tokens: legs between
// ranks, gathered into messages, in stages. The lowering behind this interface turns them around
// for combine (every leg backwards, the last stage first) and makes transfers of them.
#pragma once

#include <span>
#include <vector>

#include "sim/policies/collectives/exchange.h"

namespace sim {

// `copies` token copies from one rank of the group to another (to itself: a copy inside it).
struct Leg {
  int from = 0;
  int to = 0;
  std::int64_t copies = 0;
  double per_payload = 1;  // bytes over its links per byte of the whole message
  bool forwarded = false;  // comes after the message's other legs: its latency adds to theirs
  bool avoid_nvlink = false;
  bool layout = false;  // rows change their order only: nothing is delivered
};

class ExchangeLegs {
 public:
  ExchangeLegs(const Exchange& exchange, const ClusterNetwork& network, CollectiveBody& body)
      : exchange_(exchange), network_(network), body_(body) {}
  virtual ~ExchangeLegs() = default;
  ExchangeLegs(const ExchangeLegs&) = delete;
  ExchangeLegs& operator=(const ExchangeLegs&) = delete;

  // One more leg of the message that is being gathered.
  virtual void leg(const Leg& leg) = 0;
  // Charges the owner's communication SMs with this many seconds per byte of the message.
  virtual void charge_copy(int owner, double seconds_per_byte) = 0;
  // Ends the message: the owner sends `copies` copies to `others` (which may be the owner alone).
  virtual void flush(std::int32_t owner, std::span<const std::int32_t> others,
                     std::int64_t copies) = 0;

  // A message of one leg; nothing for no copies.
  void send(int from, int to, std::int64_t copies);
  // `copies` rows of a rank laid out anew in its memory: read once and written once.
  void copy_inside(int rank, std::int64_t copies);

  // A chain of stages in the order of dispatch, beside the chains that exist; `delays` is the
  // serial start of each. Messages belong to the stage named last by at(); without chains there is
  // one stage.
  int add_chain(std::span<const Duration> delays);
  void at(int chain, int stage);

  const Exchange& exchange() const { return exchange_; }
  const CopyCounts& copies() const { return *exchange_.copies; }
  int ranks() const { return static_cast<int>(exchange_.ranks.size()); }
  int node_of(int rank) const { return exchange_.node_of_rank[static_cast<std::size_t>(rank)]; }
  // The place of the rank's GPU in its node: which NIC and rail it has.
  int rail_of(int rank) const;
  CollectiveBody& body() { return body_; }

 protected:
  StageId stage() const { return stage_; }

 private:
  struct Chain {
    int base = 0;
    int stages = 0;
  };
  const Exchange& exchange_;
  const ClusterNetwork& network_;
  CollectiveBody& body_;
  std::vector<Chain> chains_;
  StageId stage_ = 0;
};

// One transfer per message: the lowering of `fidelity: flows`.
class PairLegs : public ExchangeLegs {
 public:
  PairLegs(const Exchange& exchange, const StartupCost& cost, ClusterNetwork& network,
           const TrafficSink& sink, CollectiveBody& body);
  void leg(const Leg& leg) override;
  void charge_copy(int owner, double seconds_per_byte) override;
  void flush(std::int32_t owner, std::span<const std::int32_t> others,
             std::int64_t copies) override;

 private:
  ClusterNetwork& network_;
  const TrafficSink& sink_;
  WireEfficiency efficiency_;
  bool with_latency_;
  std::vector<ResourceUse> uses_;
  Duration latency_{};
  Duration forward_latency_{};
  bool copied_ = false;  // by communication SMs
};

}  // namespace sim
