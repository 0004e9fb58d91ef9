// The tables of accuracy.md.
#include <fmt/format.h>

#include <string>

#include "traces/synthetic/dynamics/dynamics_accuracy.h"

namespace sim {
namespace {

constexpr std::array<std::size_t, 7> kShownWindows = {0, 1, 3, 5, 9, 14, 19};

std::string percent(double share) { return fmt::format("{:.1f}", 100 * share); }

std::string error_table(const DynamicsAccuracy& accuracy) {
  std::string text =
      "| run | fitted | error | bias | within 15 % | other real seeds | mean of fitted | last "
      "coefficient |\n|---|---|---:|---:|---|---:|---:|---:|\n";
  for (const RunAccuracy& run : accuracy.runs) {
    text += fmt::format("| {} | {} | {} | {:+.1f} | {} | {} | {} | {} |\n", run.recorded->name,
                        run.fitted ? "yes" : "", percent(run.error), 100 * run.bias,
                        run.error <= kImbalanceTarget ? "yes" : "**no**",
                        run.other_seeds ? percent(*run.other_seeds) : "",
                        percent(run.mean_of_fitted), percent(run.last_coefficient));
  }
  return text;
}

std::string order_text(const OrderAccuracy& order) {
  std::string text = fmt::format("{} of {}", order.right, order.pairs);
  for (std::size_t i = 0; i < order.wrong.size(); ++i)
    text += (i == 0 ? " (recorded otherwise: " : ", ") + order.wrong[i];
  return text + (order.wrong.empty() ? "" : ")");
}

std::string summary(const DynamicsAccuracy& accuracy) {
  std::string text =
      "| runs | count | within 15 % | mean error | mean of fitted | last coefficient | "
      "drops within 20 % |\n|---|---:|---:|---:|---:|---:|---:|\n";
  for (const bool fitted : {true, false}) {
    int count = 0, hits = 0, drops = 0;
    double error = 0, mean = 0, last = 0;
    for (const RunAccuracy& run : accuracy.runs) {
      if (run.fitted != fitted) continue;
      ++count;
      hits += run.error <= kImbalanceTarget ? 1 : 0;
      for (const bool hit : run.dropped_hit) drops += hit ? 1 : 0;
      error += run.error;
      mean += run.mean_of_fitted;
      last += run.last_coefficient;
    }
    if (count == 0) continue;
    text += fmt::format("| {} | {} | {} | {} | {} | {} | {} of {} |\n",
                        fitted ? "fitted" : "predicted", count, hits, percent(error / count),
                        percent(mean / count), percent(last / count), drops,
                        count * static_cast<int>(kCapacityFactors.size()));
  }
  text += fmt::format(
      "\nOrder of the coefficients, pairs as recorded: predicted {}, two fitted coefficients {}.\n",
      order_text(accuracy.predicted_order), order_text(accuracy.fitted_order));
  return text;
}

std::string curves(const DynamicsAccuracy& accuracy) {
  std::string text = "| run |";
  std::string line = "|---|";
  for (const std::size_t w : kShownWindows) {
    text += fmt::format(" step {} |", w * kWindowSteps);
    line += "---:|";
  }
  text += "\n" + line + "\n";
  for (const RunAccuracy& run : accuracy.runs) {
    text += fmt::format("| {} |", run.recorded->name);
    for (const std::size_t w : kShownWindows) {
      if (w >= run.expected.imbalance.size()) {
        text += " |";
        continue;
      }
      text += fmt::format(" {:.2f} / {:.2f} |", run.recorded->curve.imbalance[w],
                          run.expected.imbalance[w]);
    }
    text += "\n";
  }
  return text;
}

std::string drops(const DynamicsAccuracy& accuracy) {
  std::string text = "| run |";
  std::string line = "|---|";
  for (const double factor : kCapacityFactors) {
    text += fmt::format(" factor {} |", factor);
    line += "---:|";
  }
  text += "\n" + line + "\n";
  for (const RunAccuracy& run : accuracy.runs) {
    text += fmt::format("| {} |", run.recorded->name);
    for (std::size_t f = 0; f < kCapacityFactors.size(); ++f) {
      const char* mark = run.dropped_hit[f] ? "" : "**";
      text += fmt::format(" {}{} / {}{} |", mark, percent(run.recorded->curve.dropped[f]),
                          percent(run.expected.dropped[f]), mark);
    }
    text += "\n";
  }
  return text;
}

}  // namespace

std::string dynamics_accuracy_markdown(const DynamicsAccuracy& accuracy) {
  return "## In short\n\n" + summary(accuracy) +
         "\n## Imbalance over time\n\nErrors in percent, mean over windows of 20 steps.\n\n" +
         error_table(accuracy) +
         "\n## The curves\n\nRecorded / expected max/mean, in the window that begins at the "
         "step.\n\n" +
         curves(accuracy) +
         "\n## Dropped choices\n\nRecorded / expected percent of all choices; bold: missed.\n\n" +
         drops(accuracy);
}

}  // namespace sim
