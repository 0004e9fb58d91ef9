// Operators as measured tables describe them: by shape and format, outside of any model. Bytes and
// flops are counted as models/operators.h counts them.
#pragma once

#include "models/kernel_format.h"
#include "models/operators.h"

namespace sim {

// m x k times k x n: the input in the multiplied format, bf16 out.
Operator gemm_operator(const KernelFormat& format, std::int64_t m, std::int64_t n, std::int64_t k);

// Sizes of an attention call whose sequences are all alike.
struct AlikeSequences {
  double sequences = 0;
  double context = 0;  // keys of a sequence; in prefill its prompt too, all of it new
  double window = 0;   // keys that a query may see; 0: all
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t value_dim = 0;
};
Operator decode_operator(KernelFamily family, const KernelFormat& format, const AlikeSequences& of);
Operator prefill_operator(KernelFamily family, const KernelFormat& format,
                          const AlikeSequences& of);

// A kernel that only moves bytes, by the name that models/operators.cpp gives it.
Operator streaming_operator(std::string_view name, double bytes);

}  // namespace sim
