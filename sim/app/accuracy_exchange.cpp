#include "sim/app/accuracy_exchange.h"

#include <algorithm>

#include "sim/core/error.h"
#include "topologies/calibration/row_filter.h"

namespace sim {
namespace {

// Beyond so many tokens of all ranks their choices are counted, not drawn: the ports' loads are
// then within a percent of their means anyway, and drawing would take most of the time.
constexpr std::int64_t kDrawnTokens = std::int64_t{1} << 18;

// Share d of `total` things over `parts`, even to one.
std::int64_t share(std::int64_t total, std::int64_t parts, std::int64_t d) {
  return total * (d + 1) / parts - total * d / parts;
}

// A perfect router: every rank sends min(ranks, top_k) copies of a token, to all ranks alike.
CopyCounts balanced_copies(const MeasuredRow& row, int nodes) {
  CopyCounts copies;
  copies.ranks = row.ranks;
  copies.nodes = nodes;
  const std::int64_t reached = std::min(row.ranks, row.top_k);
  const std::int64_t in_node = row.ranks / nodes;
  for (std::int64_t s = 0; s < row.ranks; ++s) {
    for (std::int64_t d = 0; d < row.ranks; ++d) {
      const std::int64_t turned = (d + s) % row.ranks;  // not all remainders to one rank
      copies.rows.push_back(share(row.tokens * row.top_k, row.ranks, turned));
      copies.rank_copies.push_back(share(row.tokens * reached, row.ranks, turned));
    }
    for (std::int64_t n = 0; n < nodes; ++n) {
      const std::int64_t touched = std::min<std::int64_t>(nodes, (reached + in_node - 1) / in_node);
      copies.node_copies.push_back(share(row.tokens * touched, nodes, (n + s) % nodes));
    }
    copies.tokens.push_back(row.tokens);
  }
  return copies;
}

}  // namespace

void predict_exchange(LonePredictor& predictor, PredictedRow& out) {
  const MeasuredRow& row = out.row;
  const AlgorithmConstants* constants =
      find_constants(predictor.cluster(), row.algorithm, row.nodes, row.library);
  if (constants == nullptr) {
    out.unanswered = "no constants for this algorithm on this cluster";
    return;
  }
  ExchangeQuestion question;
  question.algorithm = &find_exchange_algorithm(row.algorithm);
  question.direction = row.operation == "dispatch" ? Direction::kDispatch : Direction::kCombine;
  question.devices = spread_ranks(predictor.cluster(), row.nodes, row.ranks);
  question.tokens = row.tokens;
  question.hidden = row.hidden;
  question.experts = row.experts;
  question.top_k = row.top_k;
  question.dtype = parse_dtype(row.dtype).value();
  question.library = row.library;
  question.seed = 1;
  question.routing.token_budget = kDrawnTokens;
  if (row.top_groups > 0) question.routing.groups = {row.groups, row.top_groups};
  if (row.sms > 0) question.communication_sms = row.sms;
  CopyCounts balanced;
  if (row.balanced) {
    balanced = balanced_copies(row, row.nodes);
    question.copies = &balanced;
  }
  const ExchangeAnswer answer = predictor.predict(question);
  const StartupCost& cost =
      question.direction == Direction::kDispatch ? constants->dispatch : constants->combine;
  out.predicted_s = answer.run.mean_s;
  out.label = answer.label;
  out.algorithm = row.algorithm;
  out.fitted = holds_id(cost.fitted_to, row.id);
}

}  // namespace sim
