#include "models/microbench/cuda/cases/own_cases.h"

#include <algorithm>
#include <limits>

namespace sim::device_code {
namespace {

bool is_one_of(const std::string& word, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(), [&](const char* one) { return word == one; });
}

std::string matrix_unsupported(const KernelCase& what) {
  if (!is_one_of(what.dtype, {"bf16", "fp8"})) return "matrix kernels here are bf16 and fp8";
  if (what.dtype == "fp8" && what.pass != "forward") return "fp8 has the forward pass only";
  const std::int64_t multiple = what.dtype == "fp8" ? 16 : 8;
  for (const char* size : {"n", "k", "hidden", "inter"})
    if (what.size_or(size, multiple) % multiple != 0)
      return "rows that are no multiple of 16 bytes";
  if (what.rows.size() > 1024) return "more than 1024 experts";
  return "";
}

}  // namespace

std::string case_unsupported(const KernelCase& what) {
  for (const auto& [name, size] : what.sizes)
    if (name != "bytes" && size > std::numeric_limits<std::int32_t>::max())
      return "sizes beyond 32 bits";
  if (is_one_of(what.kernel, {"gemm", "ceiling_matrix", "grouped_gemm"}))
    return matrix_unsupported(what);
  if (what.kernel == "ceiling_memory")
    return what.size("bytes") < 48 ? "less than 16 bytes per array" : "";
  return "no CUDA kernel";
}

std::unique_ptr<PreparedCase> prepare_case(const KernelCase& what, Device& device) {
  SIM_CHECK(case_unsupported(what).empty(), "only cases that are supported are prepared");
  for (const auto prepare : {&prepare_matrix_case, &prepare_row_case})
    if (std::unique_ptr<PreparedCase> prepared = prepare(what, device)) return prepared;
  SIM_CHECK(false, "a case that is supported is prepared");
}

}  // namespace sim::device_code
