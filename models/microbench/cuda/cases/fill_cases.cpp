// Compiled twice: as CUDA by fill_cases.cu, and by the host compiler for the tests.
#include "models/microbench/cuda/cases/prepared_case.h"
#include "models/microbench/cuda/kernels/fill.h"

namespace sim::device_code {
namespace {

template <typename T>
void fill(Device& device, Array<T>& array, std::uint32_t seed, float middle, float amplitude) {
  const int blocks =
      grid_of(device, &fill_random<T>, kFillThreads, 0, 1 + array.size() / kFillThreads);
  launch(device, &fill_random<T>, blocks, kFillThreads, 0, array.data(), array.size(), seed, middle,
         amplitude);
}

}  // namespace

void fill_array(Device& device, Array<float>& array, std::uint32_t seed, float middle,
                float amplitude) {
  fill(device, array, seed, middle, amplitude);
}
void fill_array(Device& device, Array<Bf16>& array, std::uint32_t seed, float middle,
                float amplitude) {
  fill(device, array, seed, middle, amplitude);
}
void fill_array(Device& device, Array<Fp8>& array, std::uint32_t seed, float middle,
                float amplitude) {
  fill(device, array, seed, middle, amplitude);
}

}  // namespace sim::device_code
