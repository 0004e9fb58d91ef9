/* Four threads record, name tags, flush and read counters at once into a buffer that is too small:
 * built with ThreadSanitizer, which ends it with an error when two of them race. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "moe_capture.h"

enum { kThreads = 4, kSteps = 600, kTokens = 64, kTopK = 4 };

static moe_capture* capture;
static uint64_t results[kThreads][2];

static void* host(void* argument) {
  const unsigned rank = (unsigned)(size_t)argument;
  int32_t ids[kTokens * kTopK];
  uint32_t tags[kTokens];
  for (int i = 0; i < kTokens * kTopK; ++i) ids[i] = (int)(i + rank) % 64;
  for (int step = 0; step < kSteps; ++step) {
    char name[32];
    snprintf(name, sizeof name, "tag%d", step / 50);
    const int64_t tag = moe_capture_tag(capture, name);
    for (int i = 0; i < kTokens; ++i) tags[i] = (uint32_t)tag;
    moe_capture_batch batch = MOE_CAPTURE_BATCH;
    batch.step = step;
    batch.source_rank = rank;
    batch.tokens = kTokens;
    batch.top_k = kTopK;
    batch.id_type = MOE_CAPTURE_I32;
    batch.ids = ids;
    batch.tags = tags;
    const int result = moe_capture_record(capture, &batch);
    if (result < 0) {
      fprintf(stderr, "%s\n", moe_capture_message(result));
      exit(1);
    }
    ++results[rank][result];
    moe_capture_counters counters = MOE_CAPTURE_COUNTERS;
    if (step % 64 == 0) moe_capture_get_counters(capture, &counters);
    if (step % 128 == 0) moe_capture_flush(capture);
  }
  return NULL;
}

int main(int argc, char** argv) {
  if (argc != 2) return 1;
  const uint32_t experts[1] = {64};
  moe_capture_options options = MOE_CAPTURE_OPTIONS;
  options.path = argv[1];
  options.layers = 1;
  options.experts = experts;
  options.top_k = kTopK;
  options.flags = MOE_CAPTURE_TAGS | MOE_CAPTURE_OVERWRITE;
  options.buffer_bytes = 65536;
  char error[256];
  capture = moe_capture_open(&options, error, sizeof error);
  if (capture == NULL) {
    fprintf(stderr, "%s\n", error);
    return 1;
  }
  pthread_t threads[kThreads];
  for (size_t i = 0; i < kThreads; ++i) pthread_create(&threads[i], NULL, host, (void*)i);
  uint64_t stored = 0, dropped = 0;
  for (size_t i = 0; i < kThreads; ++i) {
    pthread_join(threads[i], NULL);
    stored += results[i][0];
    dropped += results[i][1];
  }
  moe_capture_counters counters = MOE_CAPTURE_COUNTERS;
  moe_capture_get_counters(capture, &counters);
  const int same = counters.stored_batches == stored && counters.dropped_batches == dropped &&
                   stored + dropped == kThreads * kSteps && stored > 0;
  printf("%llu batches stored, %llu dropped\n", (unsigned long long)stored,
         (unsigned long long)dropped);
  remove(argv[1]);
  return moe_capture_close(&capture) == 0 && same ? 0 : 1;
}
