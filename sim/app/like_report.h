// How well routing drawn from a fitted law behaves like the trace: fitted on one half of its
// requests (or steps), set beside the other half.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "traces/metrics/trace_metrics.h"
#include "traces/synthetic/like/like_model.h"

namespace sim {

// One figure of the three traces. It passes when synthetic lies within the larger of 5 % and the
// difference of the two real halves from the second, the half that was not fitted. What is not
// finite misses.
struct LikeFigure {
  std::string name;
  double second = 0;               // real, not fitted
  double first = 0;                // real, fitted
  double synthetic = 0;            // as many tokens as the first
  double half_difference() const;  // |first / second - 1|
  double error() const;            // synthetic / second - 1
  bool passes() const;
};

struct LikeReport {
  std::string trace, model, scenario;  // scenario: "" when no model of the catalog fits
  std::int64_t tokens_first = 0, tokens_second = 0;
  std::string summary;
  std::vector<LikeFigure> figures;        // means over the layers
  std::vector<LikeFigure> layer_figures;  // each layer, for the count of passes
};

// Not so rows that say what chance alone gives.
bool is_behaviour(const MetricRow& row);

// Writes the three traces to a temporary folder. Throws Error.
LikeReport like_report(const std::string& trace, const LikeOptions& options);
std::string like_report_text(const LikeReport& report);  // Markdown
// Numbers of the law beside the choices it was fitted to, and likelihoods.
std::string like_summary(const LikeModel& model);

}  // namespace sim
