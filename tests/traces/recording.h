// A capture of one test: the library as a host uses it, with the log's file removed afterwards.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/traces/temp_file.h"
#include "traces/capture/moe_capture.h"
#include "traces/import/import.h"
#include "traces/trace_file.h"

namespace sim::testing {

struct Recording {
  explicit Recording(std::uint32_t flags = 0,
                     std::vector<std::uint32_t> experts_of_layer = {16, 16},
                     std::uint32_t top_k = 2, std::uint64_t buffer_bytes = 0)
      : experts(std::move(experts_of_layer)), log("host.log") {
    moe_capture_options options = MOE_CAPTURE_OPTIONS;
    options.path = log.path().c_str();
    options.model = "test-moe";
    options.provenance = "a test";
    options.layers = static_cast<std::uint32_t>(experts.size());
    options.top_k = top_k;
    options.experts = experts.data();
    options.flags = flags;
    options.buffer_bytes = buffer_bytes;
    char error[256] = "";
    capture = moe_capture_open(&options, error, sizeof error);
    EXPECT_NE(capture, nullptr) << error;
  }
  ~Recording() { moe_capture_close(&capture); }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  // A batch of one layer whose rows have `top_k` ids.
  moe_capture_batch batch(std::int64_t step, std::uint32_t layer,
                          const std::vector<std::int64_t>& ids, std::uint32_t top_k = 2) const {
    moe_capture_batch b = MOE_CAPTURE_BATCH;
    b.step = step;
    b.layer = layer;
    b.top_k = top_k;
    b.tokens = static_cast<std::uint32_t>(ids.size()) / top_k;
    b.ids = ids.data();
    return b;
  }
  int record(std::int64_t step, std::uint32_t layer, const std::vector<std::int64_t>& ids,
             std::uint32_t rank = 0) const {
    moe_capture_batch b = batch(step, layer, ids);
    b.source_rank = rank;
    return moe_capture_record(capture, &b);
  }
  int close() { return moe_capture_close(&capture); }
  std::string out() const { return log.beside("out.moetrace"); }
  // Closes the log and imports it to out().
  ImportReport import(const ImportOptions& options = {}) {
    close();
    return import_trace(log.path(), out(), options);
  }
  std::string import_error(const ImportOptions& options = {}) {
    return error_text([&] { import(options); });
  }

  std::vector<std::uint32_t> experts;
  TempFile log;
  moe_capture* capture = nullptr;
};

inline TokenChunk only_chunk(const std::string& path) { return TraceReader(path).read_chunk(0); }

}  // namespace sim::testing
