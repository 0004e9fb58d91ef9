// The closed forms of kernel time: one small file each, all in one table.
//
// A form turns one call of a kernel and the rates of a device into seconds, given a few constants
// (shares of the data sheet, start-up times). Constants belong to a device, a kernel source and a
// format, and are fitted to measured rows (models/calibration); the equation, its source, its valid
// range and what it ignores stand at the top of each form's file.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "models/operators.h"
#include "sim/input/fitting/fit_parameter.h"

namespace sim {

// One call: an operator, or the routed experts of a rank. Exactly one is set.
struct KernelCall {
  const Operator* op = nullptr;
  const ExpertFfn* experts = nullptr;
};

// What a device gives to one call, at its data sheet: efficiencies are the form's constants.
struct DeviceRates {
  double flops = 0;  // per second, dense, in the multiplied format, of the SMs that the kernel gets
  double bytes = 0;  // per second
  int sms = 0;       // that the kernel gets
};

// Seconds. `time` is the whole; the others say why and need not add up: compute and memory overlap.
struct KernelParts {
  double time = 0;
  double fixed = 0;  // launch and what does not depend on the size
  double compute = 0;
  double memory = 0;
};

// Which corrections of a calibrated table concern a call: those of the same `shape`, at `size`
// between the sizes of the table.
struct CorrectionPoint {
  static constexpr int kShape = 6;
  std::array<std::int64_t, kShape> shape{};
  double size = 0;  // positive; interpolated in its logarithm
};

struct CostForm {
  std::string_view name;  // of the constants' YAML: "grouped-gemm"
  KernelFamily family;
  std::string_view help;
  std::span<const FormParameter> parameters;
  // Pure. REQUIRES: a call of the family; one value per parameter, in the order of the table.
  KernelParts (*time)(const KernelCall& call, const DeviceRates& rates,
                      std::span<const double> values);
  // What a calibrated range bounds ("tokens", "hidden"), and these of a call, in the same order.
  std::span<const std::string_view> extents;
  void (*extents_of)(const KernelCall& call, std::span<double> out);
  CorrectionPoint (*correction_point)(const KernelCall& call);  // null: no corrections
};

std::span<const CostForm* const> cost_forms();
const CostForm* find_cost_form(std::string_view name);  // null: no such form

extern const CostForm kGroupedGemmForm;       // grouped_gemm_form.cpp
extern const CostForm kGemmForm;              // gemm_form.cpp
extern const CostForm kAttentionDecodeForm;   // attention_decode_form.cpp
extern const CostForm kAttentionPrefillForm;  // attention_prefill_form.cpp
extern const CostForm kMlaDecodeForm;         // mla_decode_form.cpp
extern const CostForm kMlaPrefillForm;        // attention_prefill_form.cpp
extern const CostForm kStreamingForm;         // streaming_form.cpp
extern const CostForm kSmoothRooflineForm;    // smooth_roofline_form.cpp
extern const CostForm kCopyForm;              // copy_form.cpp

}  // namespace sim
