#include "models/model_flops.h"

#include "models/operators.h"
#include "sim/core/error.h"

namespace sim {
namespace {

// The core of a block over all pairs, whatever masks and windows hide.
double over_all_pairs(const Operator& core, double tokens) {
  return core.flops.count() * tokens * tokens / core.attention.pairs;
}

}  // namespace

TokenBatch one_sequence(std::int64_t tokens) {
  TokenBatch batch;
  batch.phase = Phase::kPrefill;
  batch.tokens = batch.logit_rows = tokens;
  batch.sequences = 1;
  const double length = static_cast<double>(tokens);
  batch.attended_pairs = length * (length + 1) / 2;
  batch.kv_tokens_read = batch.max_context = length;
  return batch;
}

TokenFlops token_flops(const MoeModel& model, std::int64_t sequence_length, AttentionCount count) {
  SIM_CHECK(sequence_length > 0, "a sequence has tokens");
  const double tokens = static_cast<double>(sequence_length);
  TokenFlops flops;
  for (const PlacedOperator& placed : all_operators(model, one_sequence(sequence_length), 1)) {
    const Operator& op = placed.op;
    if (op.attention.heads > 0) {
      flops.attention +=
          count == AttentionCount::kFull ? over_all_pairs(op, tokens) : op.flops.count();
    } else if (op.family == KernelFamily::kGemm || op.name == "experts") {
      flops.matrices += op.flops.count();
    } else if (op.family == KernelFamily::kOther) {
      flops.attention += op.flops.count();
    }
  }
  flops.matrices /= tokens;
  flops.attention /= tokens;
  return flops;
}

double model_flops_per_token(const MoeModel& model, std::int64_t sequence_length) {
  return token_flops(model, sequence_length).training();
}

}  // namespace sim
