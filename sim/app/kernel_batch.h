// `simulate cost --batch`: a kernel question per row of a CSV file.
//
// Columns: device, source, dtype, sms, clock, the sizes of the kernel, and for experts `rows`, in
// any order; other columns are copied through. Fields may be quoted. Every row of the result is the
// row that was asked with time_s,label,in_range behind it.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "sim/app/catalog.h"

namespace sim {

struct BatchResult {
  std::string kernel;
  std::int64_t rows = 0;
  std::int64_t outside = 0;                    // of the calibrated range, or without constants
  std::int64_t substituted = 0;                // by another source or format than was asked for
  std::map<std::string, std::int64_t> labels;  // rows of each
  std::vector<std::string> copied;             // columns that the question has no use for
};

// `device`: of rows that name none; may be empty. Throws Error with every mistake of the file (the
// first 50 and how many more), and then leaves no file. The result replaces `out` at once, at the
// end.
BatchResult run_kernel_batch(const std::string& kernel, const std::string& device,
                             const std::string& batch, const std::string& out,
                             const Catalog& catalog);

std::string batch_text(const BatchResult& result, const std::string& out);
std::string batch_json(const BatchResult& result);

}  // namespace sim
