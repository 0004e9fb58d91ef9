// How far the experts' kernels are from measurements: the committed constants over rows that they
// were fitted to and over others, refits that saw a part of the rows, constants taken to another
// framework or device, and whether skew is found cheaper or dearer as it was measured.
#pragma once

#include <string>
#include <vector>

#include "sim/app/catalog.h"
#include "sim/input/fitting/error_summary.h"

namespace sim {

struct ExpertKernelAccuracy {
  std::string device;
  std::string kernel;  // as measured
  std::string format;
  std::string framework;
  std::int64_t rows = 0;  // plausible
  std::int64_t implausible = 0;
  ErrorSummary fitted;
  ErrorSummary other;  // rows that the constants were not fitted to
  ErrorSummary small, middle,
      large;  // of `other`, else of `fitted`: up to 256 tokens, to 1023, above
  ErrorSummary random, shapes, skew, any_skew;
  ErrorSummary in_table;       // form and correction, every other token count held out
  ErrorSummary in_table_skew;  // the same corrections under power laws
};

struct TransferAccuracy {
  std::string kind;  // "framework", "device", "device and library"
  std::string from;
  std::string to;
  ErrorSummary before;
  ErrorSummary after;  // start and shares refitted to 20 rows of the target, tested on the others
};

struct FrameworkDifference {
  std::string what;
  ErrorSummary difference;  // |one framework's time / the other's - 1| on the same question
};

struct SkewCount {
  std::string table;
  std::string model;
  int cases[3] = {0, 0,
                  0};  // |power law / balanced - 1| above 5 %: up to 256 tokens, to 1023, above
  int right[3] = {0, 0, 0};
};

struct ExpertAccuracy {
  std::vector<ExpertKernelAccuracy> kernels;
  std::vector<TransferAccuracy> transfers;
  std::vector<FrameworkDifference> frameworks;
  std::vector<SkewCount> skews;
  // Over all kernels: the rows of every one of them.
  ErrorSummary other, random, shapes, skew, any_skew, in_table, in_table_skew;
  ErrorSummary framework, device, device_after;
};

// `kernels`: only entries whose "device kernel format" holds this text; empty: all of them.
ExpertAccuracy measure_expert_accuracy(const Catalog& catalog, const std::string& data_folder,
                                       const std::string& only = {});
std::string expert_accuracy_markdown(const ExpertAccuracy& accuracy);

}  // namespace sim
