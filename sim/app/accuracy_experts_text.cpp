// The page of models/accuracy.md.
#include <fmt/format.h>

#include "sim/app/accuracy_experts.h"

namespace sim {
namespace {

std::string cell(const ErrorSummary& errors) {
  if (errors.rows == 0) return "-";
  return fmt::format("{:.1f} / {:.0f} ({})", 100 * errors.median, 100 * errors.p90, errors.rows);
}

std::string short_cell(const ErrorSummary& errors) {
  if (errors.rows == 0) return "-";
  return fmt::format("{:.1f} / {:.0f}", 100 * errors.median, 100 * errors.p90);
}

void add_target(std::string& text, const char* what, const ErrorSummary& errors, double median,
                double p90) {
  if (errors.rows == 0) return;
  const bool pass = 100 * errors.median <= median && (p90 == 0 || 100 * errors.p90 <= p90);
  text += fmt::format("| {} | {} | {} | {} |\n", what, cell(errors),
                      p90 == 0 ? fmt::format("{}", median) : fmt::format("{} / {}", median, p90),
                      pass ? "PASS" : "**MISS**");
}

int sum(const int (&counts)[3]) { return counts[0] + counts[1] + counts[2]; }

std::string share(int right, int cases) {
  return cases == 0 ? "-" : fmt::format("{} of {}", right, cases);
}

void add_targets(const ExpertAccuracy& accuracy, std::string& text) {
  text += "| all kernels together | median / p90 in % (rows) | target | |\n|--|--|--|--|\n";
  add_target(text, "inside a table, with corrections", accuracy.in_table, 2.5, 10);
  add_target(text, "inside a table, with corrections, under power laws", accuracy.in_table_skew, 7,
             26);
  add_target(text, "rows not fitted", accuracy.other, 6, 25);
  add_target(text, "random 30 % held out", accuracy.random, 6, 25);
  add_target(text, "whole model shapes held out", accuracy.shapes, 6, 25);
  add_target(text, "power law 1.2 held out", accuracy.skew, 7, 26);
  add_target(text, "every power law held out", accuracy.any_skew, 7, 26);
  add_target(text, "same kernel, another framework", accuracy.framework, 10, 40);
  add_target(text, "same kernel, another device", accuracy.device, 10, 40);
  add_target(text, "either, after 20 rows of its own", accuracy.device_after, 7, 0);
  int cases[3] = {0, 0, 0};
  int right[3] = {0, 0, 0};
  for (const SkewCount& count : accuracy.skews) {
    for (int i = 0; i < 3; ++i) {
      cases[i] += count.cases[i];
      right[i] += count.right[i];
    }
  }
  if (sum(cases) == 0) return;
  text += fmt::format("| sign of skew | {} ({:.1f} %) | 90 % | {} |\n",
                      share(sum(right), sum(cases)), 100.0 * sum(right) / sum(cases),
                      10 * sum(right) >= 9 * sum(cases) ? "PASS" : "**MISS**");
}

void add_kernels(const ExpertAccuracy& accuracy, std::string& text) {
  text +=
      "\n| device, kernel | format | framework | rows | implausible | fitted rows | rows not "
      "fitted "
      "| <= 256 tokens | 257-1023 | >= 1024 |\n|--|--|--|--|--|--|--|--|--|--|\n";
  for (const ExpertKernelAccuracy& each : accuracy.kernels) {
    text += fmt::format("| {}, {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n", each.device,
                        each.kernel, each.format, each.framework, each.rows, each.implausible,
                        cell(each.fitted), cell(each.other), short_cell(each.small),
                        short_cell(each.middle), short_cell(each.large));
  }
  text +=
      "\n| device, kernel | format | random 30 % | shapes | power law 1.2 | every power law | in "
      "the table | the same, skewed |\n|--|--|--|--|--|--|--|--|\n";
  for (const ExpertKernelAccuracy& each : accuracy.kernels) {
    text += fmt::format("| {}, {} | {} | {} | {} | {} | {} | {} | {} |\n", each.device, each.kernel,
                        each.format, short_cell(each.random), short_cell(each.shapes),
                        short_cell(each.skew), short_cell(each.any_skew), short_cell(each.in_table),
                        short_cell(each.in_table_skew));
  }
}

}  // namespace

std::string expert_accuracy_markdown(const ExpertAccuracy& accuracy) {
  std::string text;
  add_targets(accuracy, text);
  add_kernels(accuracy, text);
  if (!accuracy.transfers.empty()) {
    text +=
        "\n| constants of | taken to | what changes | as they are | after 20 rows |\n"
        "|--|--|--|--|--|\n";
    for (const TransferAccuracy& each : accuracy.transfers) {
      text += fmt::format("| {} | {} | {} | {} | {} |\n", each.from, each.to, each.kind,
                          cell(each.before), short_cell(each.after));
    }
  }
  if (!accuracy.frameworks.empty()) {
    text += "\n| one framework beside another | their own difference |\n|--|--|\n";
    for (const FrameworkDifference& each : accuracy.frameworks) {
      text += fmt::format("| {} | {} |\n", each.what, cell(each.difference));
    }
  }
  if (!accuracy.skews.empty()) {
    text +=
        "\n| sign of skew right in | model | <= 256 tokens | 257-1023 | >= 1024 | all |\n"
        "|--|--|--|--|--|--|\n";
    for (const SkewCount& each : accuracy.skews) {
      text +=
          fmt::format("| {} | {} | {} | {} | {} | {} |\n", each.table, each.model,
                      share(each.right[0], each.cases[0]), share(each.right[1], each.cases[1]),
                      share(each.right[2], each.cases[2]), share(sum(each.right), sum(each.cases)));
    }
  }
  return text;
}

}  // namespace sim
