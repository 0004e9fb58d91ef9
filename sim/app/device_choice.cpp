#include "sim/app/device_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <set>
#include <tuple>

#include "models/costs/constants_file.h"
#include "models/device_reader.h"
#include "sim/core/error.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace fs = std::filesystem;
namespace {

struct Loaded {
  Device device;
  std::vector<BorrowedKernels> borrowed;  // not taken yet
};

// The data sheet and the device's own constants.
Loaded load_own(const Catalog& catalog, const std::string& path) {
  Loaded loaded;
  loaded.device = read_device(path);
  std::error_code code;
  const fs::path root(catalog.root());
  if (!fs::equivalent(fs::path(path).parent_path(), root / "models" / "devices", code)) {
    return loaded;
  }
  // Experts' kernels have a file of their own: their corrections are long.
  const std::string name = fs::path(path).stem().string();
  for (const std::string& stem : {name, name + "-experts", name + "-borrowed"}) {
    const fs::path constants = root / "models" / "calibration" / "constants" / (stem + ".yaml");
    if (!fs::is_regular_file(constants, code)) continue;
    ConstantsFile file = read_constants_file(constants.string());
    if (file.device != loaded.device.name) {
      throw Error(file.device_place, fmt::format("these are constants of '{}', in the file of '{}'",
                                                 file.device, loaded.device.name));
    }
    for (KernelConstants& kernel : file.kernels) {
      loaded.device.kernels.push_back(std::move(kernel));
    }
    for (BorrowedKernels& wish : file.borrowed) loaded.borrowed.push_back(std::move(wish));
  }
  return loaded;
}

std::string catalog_device(const Catalog& catalog, const std::string& name, const Place& place) {
  std::vector<std::string> names;
  for (const CatalogEntry& entry : catalog.devices()) {
    if (entry.name == name) return entry.path;
    names.push_back(entry.name);
  }
  throw Error(place, fmt::format("there is no device type '{}'", name), suggest(name, names));
}

// How unlike two data sheets are: the ratios of bf16 peak and of memory bandwidth, as logarithms.
double distance(const Device& a, const Device& b) {
  const auto apart = [](double x, double y) { return std::abs(std::log(x / y)); };
  return apart(peak_rate(a, DType::kBf16).count(), peak_rate(b, DType::kBf16).count()) +
         apart(a.memory_bandwidth.count(), b.memory_bandwidth.count());
}

}  // namespace

Device load_device(const Catalog& catalog, const std::string& name) {
  Loaded loaded = load_own(catalog, catalog.device_file(name));
  std::vector<KernelConstants> lent;
  for (const BorrowedKernels& wish : loaded.borrowed) {
    const Loaded from = load_own(catalog, catalog_device(catalog, wish.from, wish.place));
    for (KernelConstants& kernel : borrow(wish, from.device, loaded.device)) {
      lent.push_back(std::move(kernel));
    }
  }
  for (KernelConstants& kernel : lent) loaded.device.kernels.push_back(std::move(kernel));
  for (KernelConstants& kernel : stand_ins(loaded.device)) {
    loaded.device.kernels.push_back(std::move(kernel));
  }
  return std::move(loaded.device);
}

void lend_from_nearest(const Catalog& catalog, Device& device) {
  std::vector<Device> others;
  for (const CatalogEntry& entry : catalog.devices()) {
    if (entry.name == device.name) continue;
    Device other = load_own(catalog, entry.path).device;
    if (!other.kernels.empty()) others.push_back(std::move(other));
  }
  std::stable_sort(others.begin(), others.end(), [&](const Device& a, const Device& b) {
    return distance(a, device) < distance(b, device);
  });
  using Named = std::tuple<KernelFamily, std::string, std::string_view>;
  const auto named = [](const KernelConstants& kernel) {
    return Named{kernel.family, kernel.source, to_text(kernel.format)};
  };
  std::set<Named> known;
  for (const KernelConstants& kernel : device.kernels) known.insert(named(kernel));
  std::vector<KernelConstants> lent;
  for (const Device& other : others) {
    std::set<Named> here;
    for (const KernelConstants& kernel : other.kernels) {
      // Streaming kernels have no names that people ask for; a format that the device multiplies
      // in another one is another kernel.
      if (kernel.family == KernelFamily::kStreaming || kernel.family == KernelFamily::kCopy ||
          known.contains(named(kernel)) || here.contains(named(kernel)) ||
          !device.peak.contains(kernel.format.multiplied)) {
        continue;
      }
      here.insert(named(kernel));
      const bool by_clock = weight_only(kernel.format) && device.clock_hz > 0 && other.clock_hz > 0;
      const BorrowedKernels wish{
          .from = other.name,
          .families = {kernel.family},
          .sources = {kernel.source},
          .formats = {kernel.format},
          .scale = by_clock ? BorrowScale::kSmClock : BorrowScale::kReachable,
          .reason = "the nearest device with constants of this kernel",
          .place = {}};
      for (KernelConstants& each : borrow(wish, other, device)) {
        each.only_by_name = true;
        lent.push_back(std::move(each));
      }
    }
    known.merge(here);
  }
  for (KernelConstants& kernel : lent) device.kernels.push_back(std::move(kernel));
}

}  // namespace sim
