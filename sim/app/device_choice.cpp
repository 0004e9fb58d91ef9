#include "sim/app/device_choice.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

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

}  // namespace sim
