// How far GEMM, attention, MLA and streaming kernels are from measured tables: the page
// models/accuracy_dense.md.
#pragma once

#include <string>

namespace sim {

// Runs every specification of `root`/models/calibration/specs that is of these kernels, and
// compares its constants with tables that no fit saw. Deterministic. Throws Error: a table is
// missing.
std::string dense_accuracy_markdown(const std::string& root, const std::string& data_folder);

}  // namespace sim
