// Segment routing best performance (SRP): how well a fixed set of experts predicts the choices of m
// consecutive tokens (arXiv 2505.16056).
//
// For every window of m consecutive tokens of one sequence and every expert, f = tokens of the
// window that choose the expert. A predictor calls the expert active for the whole window iff
// f >= threshold. Over all windows, pred = m x windows called active, act = sum of f, TP = sum of f
// over the windows called active, F1 = 2 TP / (pred + act); SRP = greatest F1 over the thresholds
// 0..m (of equal ones the lowest). A group of experts (a layer, a model) has one threshold: pred,
// act and TP are sums over its experts. Sequences shorter than m have no window.
#pragma once

#include <cstdint>
#include <vector>

#include "traces/metrics/token_table.h"

namespace sim {

// windows[f]: windows in which the expert is chosen by f tokens. Histograms of experts add up.
using WindowHistogram = std::vector<std::int64_t>;

// One histogram of m + 1 entries per expert. O(tokens x top-k + experts x m).
std::vector<WindowHistogram> window_histograms(const LayerTokens& tokens,
                                               const Sequences& sequences, int m);

struct Srp {
  double f1 = 0;
  int threshold = 0;
  // pred / act at that threshold: for a group, the mean number of predicted experts over top-k.
  double predicted_over_active = 0;
};
// All 0 when there is no window or no choice.
Srp best_srp(const WindowHistogram& histogram);
WindowHistogram sum_histograms(const std::vector<WindowHistogram>& histograms);

}  // namespace sim
