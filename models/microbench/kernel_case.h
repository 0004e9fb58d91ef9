// One kernel with its sizes, as it is timed, checked, written to a file and fitted; and the table
// of all kernels with what each needs. The meaning of a kernel's arrays is in reference/*.h.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sim {

struct KernelCase {
  std::string kernel;                  // a name of kernel_forms()
  std::string implementation = "own";  // own | vendor
  std::string dtype = "fp32";          // a name of models/dtype.h
  std::string pass = "forward";        // forward | backward | dgrad | wgrad
  std::map<std::string, std::int64_t> sizes;
  std::vector<std::int64_t> rows;  // per expert, in expert order; may hold zeros
  std::map<std::string, std::string> options;
  int sms = 0;                   // how many the kernel may use; 0: all
  std::string launch = "eager";  // eager | graph

  std::int64_t size(std::string_view name) const;  // REQUIRES: there is one
  std::int64_t size_or(std::string_view name, std::int64_t fallback) const;
  // The word of an option; the first one its form allows when it is not given.
  std::string option(std::string_view name) const;
  std::int64_t total_rows() const;
  bool operator==(const KernelCase&) const = default;
};

// "grouped_gemm vendor fp32 forward k=1024 n=1536 rows=59 over 3/4 layout=dropless": rows in all
// over active experts of experts. Equal cases have equal texts; different vectors of rows may too.
std::string id_text(const KernelCase& kernel_case);

enum class RowsPerExpert { kNone, kOptional, kRequired };

struct KernelOption {
  std::string name;
  std::vector<std::string> words;  // the first is the default
};

// What a kernel needs. `sizes` are all required, `more_sizes` may be given.
struct KernelForm {
  std::string name;
  std::string help;
  std::vector<std::string> sizes;
  std::vector<std::string> more_sizes;
  RowsPerExpert rows = RowsPerExpert::kNone;
  std::vector<std::string> passes;
  std::vector<KernelOption> options;
};

std::span<const KernelForm> kernel_forms();
const KernelForm* find_kernel_form(std::string_view name);  // nullptr: there is none

// Rows of the padded layout: every expert's rows are rounded up to a multiple of size `tile`.
inline constexpr std::int64_t kUsualTile = 128;

// Every mistake of a case: an unknown kernel, a size that is missing, unknown or not positive, a
// word that the form lacks, a size above 2^31 (bytes: 2^44), rows that are missing, negative, of
// another number of experts than there are (expert_ffn: nor of an equal share of them), or more
// than tokens x top_k. Empty: it is whole. Messages need no file.
std::vector<std::string> case_mistakes(const KernelCase& kernel_case);

}  // namespace sim
