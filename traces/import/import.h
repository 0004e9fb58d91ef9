// Foreign routing traces into .moetrace files: one table of formats, one .cpp per format.
//
// Files may be gzipped; they are read as a stream. A wrong row is an Error at file:line:column.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "traces/import/step_range.h"

namespace sim {

struct ImportOptions {
  std::string format;  // "": recognise it
  std::string model;   // "": from the file's path, when it names a known model
  // For models that the table in known_models.cpp does not have; they win over it.
  std::optional<int> experts;
  std::optional<int> top_k;
  // "requests" or "steps": which of the two a trace keeps when the file has both; "": requests.
  std::string keep = {};
  // Of files of tokens.
  bool counts = false;                  // store counts per (step, tag, layer) instead of tokens
  bool without_token_ids = false;       // which text it was cannot be read back
  std::optional<StepRange> steps = {};  // only these
  // Of capture logs.
  std::vector<std::string> more_files = {};  // further logs of the same run
  bool salvage = false;                      // import what stands before damage
};

struct ImportReport {
  std::string format;
  std::string model;
  std::int64_t rows = 0;           // tokens, or histograms
  std::vector<std::string> notes;  // what the file does not say and was assumed; in provenance too
};

// What a format's function gets.
struct ImportJob {
  std::string path;
  std::string out;
  ImportOptions options;
};

// Which options mean something to a format; the others are refused.
enum class TakesOptions {
  kModelOnly,
  kTokens,
  kRequestsOrSteps,
  kCaptureLog
};  // each with those before

struct ImportFormat {
  std::string_view name;
  std::string_view help;  // one line
  // Whether a file looks like this: its path and its first 4 KiB, unzipped.
  bool (*sniff)(std::string_view path, std::string_view head);
  ImportReport (*run)(const ImportJob& job);
  TakesOptions takes = TakesOptions::kModelOnly;
};

// Every format, in the order in which they are tried.
std::span<const ImportFormat> import_formats();

// Throws Error: the format is not known or not recognised (the known ones are listed), a row is
// wrong, or the number of experts is neither in the file nor known from the model.
ImportReport import_trace(const std::string& path, const std::string& out,
                          const ImportOptions& options = {});

}  // namespace sim
