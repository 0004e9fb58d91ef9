// Prices the kernels of a block once per distinct (block, batch, device) and remembers: ranks and
// layers repeat.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "models/backward.h"
#include "models/cost_model.h"
#include "models/moe_model.h"
#include "models/operators.h"
#include "models/recompute.h"
#include "models/training_memory.h"
#include "sim/core/kernel_chain.h"
#include "sim/policies/collectives/exchange.h"

namespace sim {

struct PricedKernel {
  OperatorKind kind = OperatorKind::kNorm;
  Duration time{};
  Duration fixed{};          // of it, what does not depend on the size: the start-up
  std::int32_t ledger = -1;  // line of the CostLedger
  double least_s = 0;  // no device of this kind can be faster: flops at peak, bytes at HBM peak
};

// Kernels that one rank runs one after another: one by one, or as a chain where nothing gets in
// between.
struct PricedBlock {
  std::vector<PricedKernel> kernels;
  std::optional<KernelChain> chain;  // of two and more kernels
  double least_s = 0;                // of all
  std::size_t core = 0;              // the attention core among them; as many as there are: none

  operator std::span<const PricedKernel>() const { return kernels; }
};

// Whose word the time of a run rests on: one line per (kernel, device type, label, source, inside
// the calibrated range).
class CostLedger {
 public:
  struct Line {
    std::string kernel;
    OperatorKind kind = OperatorKind::kNorm;
    std::string device;
    CostLabel label = CostLabel::kRoofline;
    std::string source;
    bool in_range = true;
    Duration total{};
  };
  std::int32_t line(const std::string& kernel, OperatorKind kind, const std::string& device,
                    const KernelCost& cost);
  void book(std::int32_t line, Duration time) {
    lines_[static_cast<std::size_t>(line)].total += time;
  }
  const std::vector<Line>& lines() const { return lines_; }
  // Whose word the collectives of a kind rest on: label by source.
  void note_collective(std::int16_t kind, const std::string& label, const std::string& source) {
    collectives_[kind][source] = label;
  }
  const std::map<std::int16_t, std::map<std::string, std::string>>& collectives() const {
    return collectives_;
  }

 private:
  std::map<std::tuple<std::string, std::string, int, std::string, bool>, std::int32_t> index_;
  std::vector<Line> lines_;
  std::map<std::int16_t, std::map<std::string, std::string>> collectives_;
};

// The operators of a step that an exchange's own kernels do on the way.
std::span<const std::string> operators_inside(const ExchangeAlgorithm& exchange);

class BlockCosts {
 public:
  // Keeps references. `local`: every rank holds all experts (EP 1), so that the experts' kernel is
  // handed the tokens themselves, and what it covers beside its matrices is not run again.
  // `exchange`: behind which the experts run otherwise; what it does to the rows likewise.
  // `gap`: between two kernels of a stream. `spread_norms`: the norms of a tensor-parallel block
  // run on each rank's own tokens (sequence parallelism), before they are gathered.
  BlockCosts(const MoeModel& model, const CostModel& costs, CostLedger& ledger, bool local,
             const ExchangeAlgorithm* exchange, Duration gap, bool spread_norms = false);

  void clear() { cache_.clear(); }  // once per step: contexts grow, so batches do not come back
  const PricedBlock& block(int layer, int block, BlockPart part, const TokenBatch& batch, int tp,
                           const Device& device, int sms);
  const PricedBlock& input(const TokenBatch& batch, int tp, const Device& device, int sms);
  const PricedBlock& output(const TokenBatch& batch, int tp, const Device& device);
  // `tokens`: of the rank, before dispatch; what the kernel is handed where experts are local.
  PricedKernel experts(BlockId block, std::span<const std::int64_t> rows, std::int64_t tokens,
                       const Device& device, int sms, KernelPass pass = KernelPass::kForward,
                       int etp = 1, DType gradients = DType::kFp32);

  // Of training: models/backward.h, models/training_memory.h. The batch's tokens are those of a
  // tensor-parallel group.
  const PricedBlock& gradients(int layer, int block, BlockPart part, GradientOf gradient,
                               const TokenBatch& batch, int tp, DType dtype, const Device& device,
                               int sms);
  const PricedBlock& recomputed(int layer, int block, BlockPart part, const TokenBatch& batch,
                                int tp, const Recompute& recompute, const Device& device, int sms);
  const PricedBlock& loss(const TokenBatch& batch, int tp, const Device& device, int sms);
  // Of the embedding, or of what follows the last layer.
  const PricedBlock& outside_gradients(bool output, GradientOf gradient, const TokenBatch& batch,
                                       int tp, DType dtype, const Device& device, int sms);
  const PricedBlock& optimizer(std::int64_t parameters, const StateFormats& formats,
                               const Device& device);
  // The activation between the experts' two products, alone.
  PricedKernel expert_activation(BlockId block, std::span<const std::int64_t> rows,
                                 const Device& device, int sms, int etp);

 private:
  // Layers that are equal share their prices: the first equal one stands for them.
  using Key = std::tuple<int, int, int, std::int64_t, std::int64_t, double, double, double,
                         std::int64_t, int, const Device*, int>;
  const PricedBlock& priced(const Key& key, std::vector<Operator> operators, const Device& device,
                            int sms);
  // What is priced: inference and the forward pass number their block parts from 0.
  enum Work : int { kForward = 0, kInputGradient = 10, kWeightGradient = 20, kRecompute = 30 };
  static Key key_of(int layer, int block, int work, const TokenBatch& batch, int tp,
                    const Device& device, int sms);

  PricedKernel price(OperatorKind kind, const std::string& name, const KernelCost& cost,
                     double least_s, const Device& device);
  std::span<const std::string> covered(int layer, int block, const Device& device) const;

  const MoeModel& model_;
  const CostModel& costs_;
  CostLedger& ledger_;
  bool local_;
  const ExchangeAlgorithm* exchange_;
  Duration gap_;
  bool spread_norms_ = false;
  std::vector<int> same_as_;  // per layer
  std::map<Key, PricedBlock> cache_;
};

}  // namespace sim
