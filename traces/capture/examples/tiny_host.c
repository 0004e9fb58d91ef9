/* A host in 40 lines: a pretended engine of 3 routed layers, 16 experts, top-2, that records 20
 * steps of 64 tokens on one rank. Its argument is the log to make. */
#include <stdio.h>

#include "moe_capture.h"

enum { kLayers = 3, kExperts = 16, kTopK = 2, kTokens = 64, kSteps = 20 };

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s LOG\n", argv[0]);
    return 1;
  }
  const uint32_t experts[kLayers] = {kExperts, kExperts, kExperts};
  moe_capture_options options = MOE_CAPTURE_OPTIONS;
  options.path = argv[1];
  options.model = "tiny-host";
  options.provenance = "the example of traces/capture: experts by a formula, no model";
  options.layers = kLayers;
  options.experts = experts;
  options.top_k = kTopK;
  options.flags = MOE_CAPTURE_TAGS;
  char error[256];
  moe_capture* capture = moe_capture_open(&options, error, sizeof error);
  if (capture == NULL) {
    fprintf(stderr, "%s\n", error);
    return 1;
  }
  const uint32_t tag = (uint32_t)moe_capture_tag(capture, "example");
  for (int step = 0; step < kSteps; ++step) {
    for (int layer = 0; layer < kLayers; ++layer) {
      int32_t ids[kTokens][kTopK];
      uint32_t tags[kTokens];
      for (int token = 0; token < kTokens; ++token) {
        ids[token][0] = token * token % kExperts; /* 0, 1, 4 or 9 */
        ids[token][1] = (ids[token][0] + 1 + layer + step % 3) % kExperts;
        tags[token] = tag;
      }
      moe_capture_batch batch = MOE_CAPTURE_BATCH;
      batch.step = step;
      batch.layer = (uint32_t)layer;
      batch.tokens = kTokens;
      batch.top_k = kTopK;
      batch.id_type = MOE_CAPTURE_I32;
      batch.ids = ids;
      batch.tags = layer == 0 ? tags : NULL;
      const int result = moe_capture_record(capture, &batch);
      if (result < 0) fprintf(stderr, "%s\n", moe_capture_message(result));
    }
  }
  return moe_capture_close(&capture) == 0 ? 0 : 1;
}
