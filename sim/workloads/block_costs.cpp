#include "sim/workloads/block_costs.h"

#include <algorithm>

#include "models/expert_work.h"
#include "sim/workloads/kinds.h"

namespace sim {
namespace {

// What sequence parallelism runs on each rank's own tokens: norms, and MLA's down-projections,
// which every rank of a tensor-parallel group holds whole.
bool on_own_tokens(const Operator& op) {
  return op.kind == OperatorKind::kNorm || op.name.starts_with("q_a_") ||
         op.name.starts_with("kv_a_");
}

double least_seconds(Flops flops, Bytes bytes, DType dtype, const Device& device) {
  return std::max(flops.count() / peak_rate(device, dtype).count(),
                  static_cast<double>(bytes.count()) / device.memory_bandwidth.count());
}

}  // namespace

std::int32_t CostLedger::line(const std::string& kernel, OperatorKind kind,
                              const std::string& device, const KernelCost& cost) {
  const auto key = std::make_tuple(kernel, device, static_cast<int>(cost.label),
                                   std::string(cost.source), cost.in_range);
  const auto [at, added] = index_.try_emplace(key, static_cast<std::int32_t>(lines_.size()));
  if (added)
    lines_.push_back(
        {kernel, kind, device, cost.label, std::string(cost.source), cost.in_range, Duration(0)});
  return at->second;
}

std::span<const std::string> operators_inside(const ExchangeAlgorithm& exchange) {
  static const std::vector<std::string> kRows = {"permute_quantise", "weighted_sum"};
  return exchange.handles_rows ? std::span<const std::string>(kRows)
                               : std::span<const std::string>();
}

BlockCosts::BlockCosts(const MoeModel& model, const CostModel& costs, CostLedger& ledger,
                       bool local, const ExchangeAlgorithm* exchange, Duration gap,
                       bool spread_norms)
    : model_(model),
      costs_(costs),
      ledger_(ledger),
      local_(local),
      exchange_(exchange),
      gap_(gap),
      spread_norms_(spread_norms) {
  for (std::size_t l = 0; l < model.layers.size(); ++l) {
    std::size_t first = 0;
    while (!(model.layers[first] == model.layers[l])) ++first;
    same_as_.push_back(static_cast<int>(first));
  }
}

BlockCosts::Key BlockCosts::key_of(int layer, int block, int work, const TokenBatch& batch, int tp,
                                   const Device& device, int sms) {
  return {layer,
          block,
          work * 2 + (batch.phase == Phase::kDecode ? 1 : 0),
          batch.tokens,
          batch.sequences,
          batch.attended_pairs,
          batch.kv_tokens_read,
          batch.max_context,
          batch.logit_rows,
          tp,
          &device,
          sms};
}

const PricedBlock& BlockCosts::priced(const Key& key, std::vector<Operator> operators,
                                      const Device& device, int sms) {
  const int tp = std::get<9>(key);
  for (Operator& op : operators) {
    if (!spread_norms_ || tp == 1 || !on_own_tokens(op)) continue;
    // Rows of a GEMM are its m, of a weight gradient what it sums over.
    std::int64_t& rows = op.pass == KernelPass::kWeightGradient ? op.k : op.m;
    if (rows > 0) rows = (rows + tp - 1) / tp;
    op.flops = Flops(op.flops.count() / tp);
    op.activation_bytes = Bytes(op.activation_bytes.count() / tp);
  }
  PricedBlock block;
  block.core = static_cast<std::size_t>(
      std::find_if(operators.begin(), operators.end(),
                   [](const Operator& op) { return op.name.starts_with("attention_core"); }) -
      operators.begin());
  for (const Operator& op : operators) {
    block.kernels.push_back(
        price(op.kind, op.name, costs_.cost(op, device, sms),
              least_seconds(op.flops, op.weight_bytes + op.activation_bytes, op.compute, device),
              device));
  }
  KernelChain::Builder chain(gap_, id_of(Cause::kLaunch));
  for (const PricedKernel& kernel : block.kernels) {
    const CauseShare share{cause_of(kernel.kind), kernel.time};
    chain.add({.kind = static_cast<std::int16_t>(kind_of(kernel.kind)), .duration = kernel.time},
              kernel.fixed, {&share, 1});
    block.least_s += kernel.least_s;
  }
  if (block.kernels.size() > 1) block.chain = std::move(chain).build();
  return cache_.emplace(key, std::move(block)).first->second;
}

const PricedBlock& BlockCosts::block(int layer, int block, BlockPart part, const TokenBatch& batch,
                                     int tp, const Device& device, int sms) {
  const int same = same_as_[static_cast<std::size_t>(layer)];
  const Key key = key_of(same, block, static_cast<int>(part), batch, tp, device, sms);
  const auto known = cache_.find(key);
  if (known != cache_.end()) return known->second;
  return priced(key,
                block_operators(model_, same, block, part, batch, tp, covered(same, block, device)),
                device, sms);
}

const PricedBlock& BlockCosts::input(const TokenBatch& batch, int tp, const Device& device,
                                     int sms) {
  const Key key = key_of(-1, 0, 0, batch, tp, device, sms);
  const auto known = cache_.find(key);
  return known != cache_.end() ? known->second
                               : priced(key, input_operators(model_, batch, tp), device, sms);
}

const PricedBlock& BlockCosts::output(const TokenBatch& batch, int tp, const Device& device) {
  const Key key = key_of(-1, 1, 0, batch, tp, device, device.sms);
  const auto known = cache_.find(key);
  return known != cache_.end()
             ? known->second
             : priced(key, output_operators(model_, batch, tp), device, device.sms);
}

const PricedBlock& BlockCosts::gradients(int layer, int block, BlockPart part, GradientOf gradient,
                                         const TokenBatch& batch, int tp, DType dtype,
                                         const Device& device, int sms) {
  const int same = same_as_[static_cast<std::size_t>(layer)];
  const int work = gradient == GradientOf::kInput ? kInputGradient : kWeightGradient;
  const Key key = key_of(same, block, work + static_cast<int>(part), batch, tp, device, sms);
  const auto known = cache_.find(key);
  if (known != cache_.end()) return known->second;
  return priced(key,
                backward_operators(model_, same, block, part, batch, tp, gradient,
                                   covered(same, block, device), dtype),
                device, sms);
}

const PricedBlock& BlockCosts::recomputed(int layer, int block, BlockPart part,
                                          const TokenBatch& batch, int tp,
                                          const Recompute& recompute, const Device& device,
                                          int sms) {
  const int same = same_as_[static_cast<std::size_t>(layer)];
  const Key key = key_of(same, block, kRecompute + static_cast<int>(part), batch, tp, device, sms);
  const auto known = cache_.find(key);
  if (known != cache_.end()) return known->second;
  return priced(key,
                recomputed_operators(model_, same, block, part, batch, tp, recompute,
                                     covered(same, block, device)),
                device, sms);
}

const PricedBlock& BlockCosts::loss(const TokenBatch& batch, int tp, const Device& device,
                                    int sms) {
  const Key key = key_of(-1, 2, kForward, batch, tp, device, sms);
  const auto known = cache_.find(key);
  return known != cache_.end()
             ? known->second
             : priced(key, training_output_operators(model_, batch, tp), device, sms);
}

const PricedBlock& BlockCosts::outside_gradients(bool output, GradientOf gradient,
                                                 const TokenBatch& batch, int tp, DType dtype,
                                                 const Device& device, int sms) {
  const int work = gradient == GradientOf::kInput ? kInputGradient : kWeightGradient;
  const Key key = key_of(-1, output ? 1 : 0, work, batch, tp, device, sms);
  const auto known = cache_.find(key);
  if (known != cache_.end()) return known->second;
  return priced(key,
                output ? output_backward_operators(model_, batch, tp, gradient, dtype)
                       : input_backward_operators(model_, batch, tp, gradient, dtype),
                device, sms);
}

const PricedBlock& BlockCosts::optimizer(std::int64_t parameters, const StateFormats& formats,
                                         const Device& device) {
  TokenBatch batch;  // stands in the key for the number of parameters
  batch.tokens = parameters;
  const Key key = key_of(-1, 3, kForward, batch, 1, device, device.sms);
  const auto known = cache_.find(key);
  if (known != cache_.end()) return known->second;
  return priced(
      key,
      {optimizer_operator(parameters, adam_bytes_per_parameter(formats.gradient, formats.master,
                                                               formats.moment, formats.weight))},
      device, device.sms);
}

PricedKernel BlockCosts::experts(BlockId block, std::span<const std::int64_t> rows,
                                 std::int64_t tokens, const Device& device, int sms,
                                 KernelPass pass, int etp, DType gradients) {
  ExpertFfn ffn = expert_ffn(model_, block, rows, etp);
  ffn.pass = pass;
  ffn.gradients = gradients;
  if (local_) {
    const Routing& routing = *block_at(model_, block).ffn().routing;
    ffn.tokens = tokens;
    ffn.top_k = routing.top_k;
    ffn.experts = routing.experts;
  }
  return price(OperatorKind::kExperts, "experts", costs_.cost(ffn, device, sms),
               least_seconds(flops_of(ffn), weight_bytes_of(ffn) + activation_bytes_of(ffn),
                             ffn.compute, device),
               device);
}

PricedKernel BlockCosts::expert_activation(BlockId block, std::span<const std::int64_t> rows,
                                           const Device& device, int sms, int etp) {
  const Operator op = expert_activation_operator(expert_ffn(model_, block, rows, etp));
  return price(op.kind, op.name, costs_.cost(op, device, sms),
               least_seconds(op.flops, op.weight_bytes + op.activation_bytes, op.compute, device),
               device);
}

PricedKernel BlockCosts::price(OperatorKind kind, const std::string& name, const KernelCost& cost,
                               double least_s, const Device& device) {
  return {kind, cost.time, cost.fixed, ledger_.line(name, kind, device.name, cost), least_s};
}

std::span<const std::string> BlockCosts::covered(int layer, int block, const Device& device) const {
  const Block& here = block_at(model_, {layer, block});
  if (here.kind() != BlockKind::kFfn || !here.ffn().routing) return {};
  if (!local_) {
    return exchange_ != nullptr ? operators_inside(*exchange_) : std::span<const std::string>();
  }
  static constexpr std::int64_t kOneRow[] = {1};
  return costs_.covered(expert_ffn(model_, {layer, block}, kOneRow, 1), device);
}

}  // namespace sim
