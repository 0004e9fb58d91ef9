// A GPU as a device of the microbenchmark.
#include <algorithm>

#include "models/microbench/cpu/stopwatch.h"
#include "models/microbench/cuda/cases/own_cases.h"
#include "models/microbench/cuda/event_timer.h"
#include "models/microbench/cuda/management_library.h"
#include "models/microbench/cuda/sm_partition.cuh"
#include "models/microbench/cuda/transfers.h"
#include "models/microbench/cuda/vendor_blas.h"

namespace sim::microbench {
namespace {

using device_code::check_cuda;
using device_code::Device;
using device_code::PreparedCase;
using device_code::SmPartition;

int attribute(cudaDeviceAttr name) {
  int value = 0;
  check_cuda(cudaDeviceGetAttribute(&value, name, 0), "asking for an attribute of the device");
  return value;
}

std::string version_text(int version) {  // 13000 is 13.0
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Throws where there is no driver, no device, or no machine code for it in this program.
void begin_with_first_device() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0)
    throw Error(std::string("--backend cuda: there is no device to use: ") +
                    (status != cudaSuccess ? cudaGetErrorString(status) : "none was found"),
                "look at what nvidia-smi says, or use --backend cpu");
  check_cuda(cudaSetDevice(0), "choosing device 0");
  cudaFuncAttributes attributes{};
  if (cudaFuncGetAttributes(&attributes, device_code::probe_kernel()) != cudaSuccess)
    throw Error("--backend cuda: this program has no machine code for a device of capability " +
                    std::to_string(attribute(cudaDevAttrComputeCapabilityMajor)) + "." +
                    std::to_string(attribute(cudaDevAttrComputeCapabilityMinor)) +
                    "; it has for " MOE_CUDA_ARCHITECTURES,
                "configure again with -DCMAKE_CUDA_ARCHITECTURES=native and build");
}

class CudaBackend : public Backend {
 public:
  CudaBackend() {
    begin_with_first_device();
    device_.sms = attribute(cudaDevAttrMultiProcessorCount);
    check_cuda(cudaStreamCreateWithFlags(&device_.stream, cudaStreamNonBlocking),
               "making a stream");
    if (vendor_.problem().empty()) device_.vendor = &vendor_;
  }
  ~CudaBackend() override {
    trial_.reset();
    cudaStreamDestroy(device_.stream);
  }

  std::string name() const override { return "cuda"; }

  DeviceFacts facts() const override {
    cudaDeviceProp properties{};
    check_cuda(cudaGetDeviceProperties(&properties, 0), "asking for the device's properties");
    char bus_id[32] = "";
    check_cuda(cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, 0), "asking for the device's bus");
    const device_code::ManagementFacts managed = device_code::ask_management_library(bus_id);
    DeviceFacts facts;
    facts.name = properties.name;
    facts.sms = properties.multiProcessorCount;
    facts.clock_mhz = managed.most_clock_mhz > 0
                          ? managed.most_clock_mhz
                          : static_cast<double>(attribute(cudaDevAttrClockRate)) / 1000;
    facts.clock_note = "highest clock of the multiprocessors; it is not fixed while measuring";
    if (managed.clock_mhz > 0)
      facts.clock_note +=
          "; at the start " + std::to_string(static_cast<int>(managed.clock_mhz)) + " MHz";
    facts.memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem);
    int driver = 0;
    int runtime = 0;
    check_cuda(cudaDriverGetVersion(&driver), "asking for the driver's version");
    check_cuda(cudaRuntimeGetVersion(&runtime), "asking for the runtime's version");
    facts.driver =
        (managed.driver.empty() ? "" : managed.driver + ", ") + "CUDA " + version_text(driver);
    facts.runtime = "CUDA " + version_text(runtime);
    if (vendor_.problem().empty()) facts.runtime += ", " + vendor_.description();
    return facts;
  }

  TimingPolicy timing(bool quick) const override {
    TimingPolicy policy;
    policy.warm_up = 3;
    policy.least_repeats = quick ? 20 : 50;
    policy.least_time_s = quick ? 0.01 : 0.05;
    // Four times the second-level cache: what a call finds there is of other copies.
    policy.rotating_bytes = 4 * static_cast<std::int64_t>(attribute(cudaDevAttrL2CacheSize));
    policy.rotated =
        "inputs, weights and outputs of a call, over four times the second-level cache; events "
        "around each call, calls queued behind a kernel that waits, so that the host's launches "
        "are not in the time";
    return policy;
  }

  // Beyond what is known beforehand, a case is tried once: memory may not suffice, the vendor's
  // library may have no product of a shape, the driver no partition of so many multiprocessors.
  std::string unsupported(const KernelCase& what) const override {
    const std::string reason = known_reason(what);
    if (!reason.empty()) return reason;
    trial_.reset();
    try {
      trial_ = std::make_unique<Trial>(*this, what);
    } catch (const Error& error) {
      cudaGetLastError();  // an error that the device survives is not told again
      if (cudaDeviceSynchronize() != cudaSuccess) throw;
      return error.what();
    }
    return "";
  }

  Timing time(const KernelCase& what, const TimingPolicy& policy) override {
    trial_.reset();
    Place place = place_of(what);
    std::vector<std::unique_ptr<PreparedCase>> copies;
    const std::int64_t before = place.device->allocated;
    copies.push_back(prepare(what, *place.device));
    const std::int64_t bytes = std::max<std::int64_t>(1, place.device->allocated - before);
    const std::int64_t wanted =
        std::clamp<std::int64_t>((policy.rotating_bytes + bytes - 1) / bytes, 1, kMostCopies);
    while (static_cast<std::int64_t>(copies.size()) < wanted)
      copies.push_back(prepare(what, *place.device));
    return device_code::time_on_device(*place.device, copies, policy, what.launch == "graph");
  }

  CheckResult check(const KernelCase& what) override {
    if (trial_ == nullptr || !(trial_->what == what)) trial_ = std::make_unique<Trial>(*this, what);
    const CheckResult result = trial_->prepared->check();
    trial_.reset();
    return result;
  }

 private:
  static constexpr std::int64_t kMostCopies = 256;

  // The device of a case: the whole one, or a part with fewer multiprocessors of its own.
  struct Place {
    std::unique_ptr<SmPartition> partition;
    std::unique_ptr<Device> device;
  };
  Place place_of(const KernelCase& what) const {
    Place place;
    place.device = std::make_unique<Device>(device_);
    if (what.sms == 0) return place;
    place.partition = std::make_unique<SmPartition>(what.sms);
    place.device->sms = place.partition->sms();
    place.device->stream = place.partition->stream();
    return place;
  }

  static std::unique_ptr<PreparedCase> prepare(const KernelCase& what, Device& device) {
    return device_code::is_transfer(what) ? device_code::prepare_transfer(what, device)
                                          : device_code::prepare_case(what, device);
  }

  // A case that was prepared and launched once.
  struct Trial {
    Trial(const CudaBackend& backend, const KernelCase& tried)
        : what(tried), place(backend.place_of(tried)), prepared(prepare(tried, *place.device)) {
      prepared->launch();
      device_code::finish(*place.device);
    }
    KernelCase what;
    Place place;
    std::unique_ptr<PreparedCase> prepared;
  };

  std::string known_reason(const KernelCase& what) const {
    if (device_code::is_transfer(what)) return device_code::transfer_unsupported(what);
    const std::string reason = device_code::case_unsupported(what);
    if (!reason.empty()) return reason;
    if (what.implementation == "vendor" && !vendor_.problem().empty()) return vendor_.problem();
    if (what.dtype == "fp8" && attribute(cudaDevAttrComputeCapabilityMajor) < 9)
      return "fp8 products are built for capability 9.0 and newer";
    if (device_code::block_shared_bytes(what) >
        static_cast<std::size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)))
      return "this device's blocks have too little shared memory";
    if (what.sms >= device_.sms) return "the device has not so many multiprocessors to leave some";
    return "";
  }

  Device device_;
  device_code::VendorBlas vendor_;
  mutable std::unique_ptr<Trial> trial_;  // of the case that was last found to be supported
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend() { return std::make_unique<CudaBackend>(); }

}  // namespace sim::microbench
