// The kernels that `simulate cost` answers for: a name, the sizes it takes, and the call they make.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/costs/cost_form.h"
#include "models/kernel_format.h"

namespace sim {

struct KernelSize {
  std::string_view key;
  std::string_view also;      // another spelling; may be empty
  std::int64_t fallback = 0;  // kNeeded: must be given
  std::string_view help;
};
inline constexpr std::int64_t kNeeded = -1;

// One call with its sizes; `call` points into it.
struct KernelSubject {
  KernelFormat format;
  std::vector<std::int64_t> sizes;  // in the order of the kind's
  std::vector<std::int64_t> rows;   // of experts; empty: balanced
  Operator op;
  ExpertFfn experts;
};

struct KernelKind {
  std::string_view name;
  std::string_view also;
  KernelFamily family = KernelFamily::kStreaming;
  std::string_view op;  // the operator's name in models/operators.cpp
  std::string_view help;
  std::span<const KernelSize> sizes;
  // Fills `op` or `experts`. Throws Error (without a place) when the sizes do not fit together.
  void (*fill)(const KernelKind& kind, KernelSubject& subject);

  bool is_experts() const { return family == KernelFamily::kExpertFfn; }
  bool has_format() const;  // matrices or a cache: a dtype makes a difference
};

std::span<const KernelKind> kernel_kinds();
const KernelKind* find_kernel_kind(std::string_view name);  // null: there is none
std::vector<std::string> kernel_kind_names();

// The place of a size in KernelKind::sizes, by either spelling; -1: it has none of that name.
int size_index(const KernelKind& kind, std::string_view key);
std::vector<std::string> size_names(const KernelKind& kind);

// REQUIRES: `subject` was filled by a kind and has not moved since.
KernelCall call_of(const KernelKind& kind, const KernelSubject& subject);
double flops_of(const KernelKind& kind, const KernelSubject& subject);
double bytes_of(const KernelKind& kind, const KernelSubject& subject);

// Rows of the first of `ep` ranks when tokens x top_k choices fall on all experts alike; what does
// not divide is spread over the experts, the first rank getting no fewer than any other.
std::vector<std::int64_t> balanced_rows(std::int64_t tokens, std::int64_t top_k,
                                        std::int64_t experts, std::int64_t ep);

}  // namespace sim
