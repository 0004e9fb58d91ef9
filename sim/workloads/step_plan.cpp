#include "sim/workloads/step_plan.h"

#include <algorithm>

namespace sim {

TokenBatch batch_of(Phase phase, const std::vector<RankSequences>& ranks, int first, int count) {
  TokenBatch batch;
  batch.phase = phase;
  for (int r = first; r < first + count; ++r) {
    const RankSequences& rank = ranks[static_cast<std::size_t>(r)];
    for (std::size_t s = 0; s < rank.new_tokens.size(); ++s) {
      const double added = static_cast<double>(rank.new_tokens[s]);
      const double context = static_cast<double>(rank.context[s]);
      batch.tokens += rank.new_tokens[s];
      ++batch.sequences;
      // Token i of the new ones sees context - added + i keys.
      batch.attended_pairs += added * (context - added) + added * (added + 1) / 2;
      batch.kv_tokens_read += context;
      batch.max_context = std::max(batch.max_context, context);
      ++batch.logit_rows;  // only the last token of a prompt is sampled
    }
  }
  return batch;
}

}  // namespace sim
