#include "models/microbench/cuda/sm_partition.cuh"

#include <cuda.h>

#include "models/microbench/cuda/device_runtime.cuh"
#include "models/microbench/cuda/shared_library.h"

namespace sim::device_code {

#if CUDA_VERSION >= 12050

struct SmPartition::State {
  SharedLibrary driver{{"libcuda.so.1"}, ""};
  CUgreenCtx context = nullptr;
  CUstream stream = nullptr;
  int sms = 0;
  decltype(&::cuGreenCtxDestroy) destroy = nullptr;
};

namespace {

void check_driver(CUresult status, const char* what) {
  if (status != CUDA_SUCCESS)
    throw Error(std::string("CUDA: ") + what + " failed with status " + std::to_string(status),
                "leave out the cases with fewer multiprocessors");
}

template <typename Function>
void need(const SharedLibrary& driver, Function*& function, const char* name) {
  if (!driver.find(function, name))
    throw Error(std::string("CUDA: this driver cannot give a kernel fewer multiprocessors: no ") +
                name);
}

}  // namespace

SmPartition::SmPartition(int sms) : state_(std::make_unique<State>()) {
  State& state = *state_;
  decltype(&::cuDeviceGetDevResource) whole_of = nullptr;
  decltype(&::cuDevSmResourceSplitByCount) split = nullptr;
  decltype(&::cuDevResourceGenerateDesc) describe = nullptr;
  decltype(&::cuGreenCtxCreate) create = nullptr;
  decltype(&::cuGreenCtxStreamCreate) create_stream = nullptr;
  need(state.driver, whole_of, "cuDeviceGetDevResource");
  need(state.driver, split, "cuDevSmResourceSplitByCount");
  need(state.driver, describe, "cuDevResourceGenerateDesc");
  need(state.driver, create, "cuGreenCtxCreate");
  need(state.driver, create_stream, "cuGreenCtxStreamCreate");
  need(state.driver, state.destroy, "cuGreenCtxDestroy");
  int device = 0;
  check_cuda(cudaGetDevice(&device), "asking for the device");
  CUdevResource whole{};
  CUdevResource part{};
  CUdevResource rest{};
  check_driver(whole_of(device, &whole, CU_DEV_RESOURCE_TYPE_SM), "asking for multiprocessors");
  unsigned groups = 1;
  check_driver(split(&part, &groups, &whole, &rest, 0, static_cast<unsigned>(sms)),
               "splitting the multiprocessors");
  CUdevResourceDesc description = nullptr;
  check_driver(describe(&description, &part, 1), "describing multiprocessors");
  check_driver(create(&state.context, description, device, CU_GREEN_CTX_DEFAULT_STREAM),
               "making a green context");
  check_driver(create_stream(&state.stream, state.context, CU_STREAM_NON_BLOCKING, 0),
               "making its stream");
  state.sms = static_cast<int>(part.sm.smCount);
}

SmPartition::~SmPartition() {
  if (state_->stream != nullptr) cudaStreamDestroy(state_->stream);
  if (state_->context != nullptr) state_->destroy(state_->context);
}

int SmPartition::sms() const { return state_->sms; }
cudaStream_t SmPartition::stream() const { return state_->stream; }

#else  // an older toolkit does not know green contexts

struct SmPartition::State {};
SmPartition::SmPartition(int) {
  throw Error("CUDA: kernels with fewer multiprocessors need a toolkit of 12.5 or newer");
}
SmPartition::~SmPartition() = default;
int SmPartition::sms() const { return 0; }
cudaStream_t SmPartition::stream() const { return nullptr; }

#endif

}  // namespace sim::device_code
