#include "models/costs/borrowed_constants.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace sim {
namespace {

template <class List, class Value>
bool absent_or_in(const List& list, const Value& value) {
  return list.empty() || std::find(list.begin(), list.end(), value) != list.end();
}

bool lends(const BorrowedKernels& wish, const KernelConstants& kernel) {
  const bool named = wish.sources.empty() ||
                     std::any_of(wish.sources.begin(), wish.sources.end(),
                                 [&](const std::string& each) { return kernel.called(each); });
  return named && absent_or_in(wish.families, kernel.family) &&
         absent_or_in(wish.formats, kernel.format);
}

double reachable_share(const Device& device, DType multiplied) {
  return compute_efficiency(device, multiplied);
}

// Multiplies the compute or memory share of a form, where it has one; a share stays below one.
void scale_share(KernelConstants& kernel, std::string_view key, double factor) {
  for (std::size_t i = 0; i < kernel.form->parameters.size(); ++i) {
    if (kernel.form->parameters[i].key != key) continue;
    kernel.values[i] = std::min(1.0, kernel.values[i] * factor);
  }
}

std::string_view how(BorrowScale scale) {
  switch (scale) {
    case BorrowScale::kDataSheet:
      return "the same shares of the data sheet";
    case BorrowScale::kReachable:
      return "shares of the data sheet, compute by what large GEMMs reach of it";
    case BorrowScale::kSmClock:
      return "times by SM count x clock";
  }
  SIM_CHECK(false, "every way of scaling has words");
}

struct StandIn {
  std::string_view wanted;
  std::string_view taken;
  bool only_without_peak;  // the device multiplies the wanted format in another one
};
// In order: the first that the device has is taken.
constexpr auto kStandIns = std::to_array<StandIn>({
    {"fp16", "bf16", false},
    {"bf16", "fp16", false},
    {"fp8_block", "bf16", true},
    {"int8", "bf16", true},
    {"int4_wo", "w4a16_mxfp4", false},
    {"w4a16_mxfp4", "int4_wo", false},
    {"mxfp4", "w4a16_mxfp4", true},
    {"mxfp4", "int4_wo", true},
    {"nvfp4", "w4a16_mxfp4", true},
    {"nvfp4", "int4_wo", true},
    {"mxfp4", "nvfp4", false},
    {"fp8_kv", "bf16", false},
});

bool attention(KernelFamily family) {
  return family == KernelFamily::kAttentionDecode || family == KernelFamily::kAttentionPrefill ||
         family == KernelFamily::kMlaDecode || family == KernelFamily::kMlaPrefill;
}

bool has_formats(KernelFamily family) {
  return family == KernelFamily::kExpertFfn || family == KernelFamily::kGemm || attention(family);
}

}  // namespace

std::vector<KernelConstants> borrow(const BorrowedKernels& wish, const Device& from,
                                    const Device& to) {
  std::vector<KernelConstants> result;
  double speed = 1;
  if (wish.scale == BorrowScale::kSmClock) {
    for (const Device* device : {&from, &to}) {
      if (device->clock_hz <= 0) {
        throw Error(wish.place, fmt::format("'{}' has no clock", device->name),
                    "scale: sm-clock needs the 'clock' of both device files");
      }
    }
    speed = to.sms * to.clock_hz / (from.sms * from.clock_hz);
  }
  for (const KernelConstants& lent : from.kernels) {
    if (!lends(wish, lent)) continue;
    KernelConstants kernel = lent;
    const DType multiplied = kernel.format.multiplied;
    if (wish.scale == BorrowScale::kReachable) {
      scale_share(kernel, "compute_share",
                  reachable_share(to, multiplied) / reachable_share(from, multiplied));
    }
    if (wish.scale == BorrowScale::kSmClock) {
      scale_share(kernel, "compute_share",
                  speed * peak_rate(from, multiplied).count() / peak_rate(to, multiplied).count());
      scale_share(kernel, "memory_share",
                  speed * from.memory_bandwidth.count() / to.memory_bandwidth.count());
    }
    // A correction holds the waves of one grid over one number of SMs.
    if (from.sms != to.sms || wish.scale != BorrowScale::kDataSheet) kernel.corrections.clear();
    kernel.label = CostLabel::kAssumed;
    kernel.provenance = fmt::format("as {} ({}; {}); there: {} {}", from.name, wish.reason,
                                    how(wish.scale), to_text(lent.label), lent.provenance);
    result.push_back(std::move(kernel));
  }
  if (result.empty()) {
    throw Error(wish.place, fmt::format("'{}' has no kernels like that to lend", from.name),
                "its file says which there are; what it borrows itself is not lent again");
  }
  return result;
}

std::vector<KernelConstants> stand_ins(const Device& device) {
  std::vector<KernelConstants> result;
  const auto has = [&](KernelFamily family, const KernelFormat& format,
                       const std::vector<KernelConstants>& list) {
    return std::any_of(list.begin(), list.end(), [&](const KernelConstants& each) {
      return each.family == family && each.format.stored == format.stored &&
             each.format.multiplied == format.multiplied;
    });
  };
  for (const StandIn& rule : kStandIns) {
    const KernelFormat wanted = *parse_kernel_format(rule.wanted);
    const KernelFormat taken = *parse_kernel_format(rule.taken);
    if (rule.only_without_peak && multiplied_on(device, wanted.multiplied) == wanted.multiplied) {
      continue;
    }
    std::vector<KernelConstants> added;
    for (const KernelConstants& lent : device.kernels) {
      if (lent.format != taken || !has_formats(lent.family)) continue;
      const bool cache = rule.wanted == "fp8_kv";
      const bool activations = rule.wanted == "fp16" || rule.wanted == "bf16";
      if (attention(lent.family) ? !cache && !activations : cache) continue;
      if (has(lent.family, wanted, device.kernels) || has(lent.family, wanted, result)) continue;
      KernelConstants kernel = lent;
      kernel.format = wanted;
      kernel.corrections.clear();
      kernel.label = CostLabel::kAssumed;
      kernel.provenance = fmt::format("{} kernel taken for {}: {} {}", rule.taken, rule.wanted,
                                      to_text(lent.label), lent.provenance);
      added.push_back(std::move(kernel));
    }
    result.insert(result.end(), added.begin(), added.end());
  }
  return result;
}

}  // namespace sim
