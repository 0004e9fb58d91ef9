// How long does one kernel take on one device? What `simulate cost` asks, alone and in batch.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/costs/calibrated_costs.h"
#include "models/device.h"
#include "sim/app/catalog.h"
#include "sim/app/kernel_kinds.h"

namespace sim {

// A device of the catalog as people type it: "h100-sxm", "h100_sxm", "H100"; or a device file.
// Throws Error with a suggestion.
Device find_device(const Catalog& catalog, const std::string& typed);

// "fp8_block", "FP8-block", "bfloat16". Throws Error with what there is.
KernelFormat find_format(const std::string& typed);

// The source among the device's kernels of this kind that `typed` means: its name, a name that
// tables give it, or a framework ("vllm": the first entry of that framework, of this format where
// there is one). Empty stays empty: the device's first. Null: the device has no kernels of this
// kind, so every source is answered by the roofline. Throws Error naming the sources there are.
std::optional<std::string> find_source(const Device& device, const KernelKind& kind,
                                       const KernelFormat& format, const std::string& typed);

// The constants that answer; null: the roofline does. `substitute`: not of the source or the
// format that was asked for.
struct KernelAnswerer {
  const KernelConstants* constants = nullptr;
  std::string substitute;  // why the answer is not what was asked for; empty: it is
};
KernelAnswerer choose_answerer(const Device& device, const KernelKind& kind,
                               const KernelSubject& subject,
                               const std::optional<std::string>& source);

// An extent of the call outside the calibrated range.
struct OutsideExtent {
  std::string name;
  double value = 0;
  double least = 0;
  double most = 0;
};

struct KernelAnswer {
  KernelCost cost;  // `cost.in_range`: false too where no constants are (the roofline)
  KernelAnswerer by;
  KernelCost roofline;
  double flops = 0;
  double bytes = 0;
  std::vector<OutsideExtent> outside;
};

// REQUIRES: `subject` was filled by `kind`; 0 < sms <= device.sms.
KernelCost price(const Device& device, const KernelKind& kind, const KernelSubject& subject,
                 const KernelAnswerer& by, int sms);
KernelAnswer answer(const Device& device, const KernelKind& kind, const KernelSubject& subject,
                    const std::optional<std::string>& source, int sms);

}  // namespace sim
