/* Records which token went to which expert, from inside a running engine. C99, no dependency.
 *
 *   moe_capture_options options = MOE_CAPTURE_OPTIONS;      (sets `size`; then fill in the rest)
 *   moe_capture* capture = moe_capture_open(&options, error, sizeof error);
 *   moe_capture_batch batch = MOE_CAPTURE_BATCH;
 *   batch.step = 0; batch.layer = 0; batch.tokens = 128; batch.top_k = 8; batch.ids = ...;
 *   moe_capture_record(capture, &batch);
 *   moe_capture_close(&capture);
 *
 * record() copies the batch into a bounded buffer and returns: it takes no lock, makes no system
 * call and never waits. A thread of the library appends the buffer to a log. When the buffer is
 * full the batch is dropped, counted, and the log says so. `simulate trace import` turns the log
 * into a .moetrace; a log whose host was killed is readable up to its last whole frame.
 *
 * Rules.
 *   Threads: record, drop, tag, counters and flush may be called by any number of threads at once.
 * Close only when no other call is running or will follow. Batches of one (step, layer, source
 * rank) are joined in the order recorded, so they should come from one thread. Fork: a child must
 * not record; there record() returns MOE_CAPTURE_FORKED, and close() frees the memory and leaves
 * the file alone. Open a log of its own in the child. Close sets the handle to NULL, and closing
 * NULL does nothing, so closing twice is harmless. Signals: the library's thread takes none. Do not
 * end a thread while it is inside record(). Errors come back as values; nothing throws, exits or
 * prints. A full disk is counted and tried again with the next write; the host goes on. Structs
 * begin with their size, so a host built with an older header keeps working: members are only ever
 * added at the end, what a shorter struct lacks is 0 (or not filled in), and what a longer one has
 * beyond must be 0 (or becomes 0). */
#ifndef MOE_CAPTURE_H
#define MOE_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MOE_CAPTURE_API __attribute__((visibility("default")))
#else
#define MOE_CAPTURE_API
#endif

enum {
  MOE_CAPTURE_MOST_LAYERS = 4096,
  MOE_CAPTURE_MOST_EXPERTS = 65536, /* of one layer */
  MOE_CAPTURE_MOST_CHOICES = 255,   /* of one token in one layer */
  MOE_CAPTURE_MOST_TAGS = 4096,
  MOE_CAPTURE_MOST_TEXT_BYTES = 65536 /* model, provenance and tags, each */
};

#define MOE_CAPTURE_MOST_STEP ((int64_t)1 << 53)

/* moe_capture_options.flags: what the log will hold besides the ids. */
enum {
  MOE_CAPTURE_WEIGHTS = 1,   /* gate weights: then every batch has them */
  MOE_CAPTURE_TOKEN_IDS = 2, /* these three: with every batch of at least one layer, */
  MOE_CAPTURE_TAGS = 4,      /*   say the first; the other layers' batches may leave them out */
  MOE_CAPTURE_REQUESTS = 8,  /* request and position of each token */
  MOE_CAPTURE_OVERWRITE = 16 /* replace a file that is there; without it open() refuses */
};

typedef struct moe_capture_options {
  size_t size;                  /* sizeof(moe_capture_options) */
  const char* path;             /* the log to make */
  const char* model;            /* name, e.g. "olmoe-1b-7b"; NULL: not said */
  const char* provenance;       /* what ran, where, when; NULL: not said */
  uint32_t layers;              /* routed layers, 1 to MOE_CAPTURE_MOST_LAYERS */
  uint32_t top_k;               /* most choices of a token in a layer */
  const uint32_t* experts;      /* [layers] experts of each layer */
  const int32_t* layer_numbers; /* [layers] the model's own numbers; NULL: 0, 1, 2, ... */
  uint32_t flags;
  uint32_t reserved;     /* 0 */
  uint64_t buffer_bytes; /* 0: 64 MiB; at least 64 KiB; taken by open(). 1 MiB comes on top. */
} moe_capture_options;

/* moe_capture_batch.id_type */
enum {
  MOE_CAPTURE_I64 = 0, /* as PyTorch's topk gives them */
  MOE_CAPTURE_I32 = 1,
  MOE_CAPTURE_U16 = 2,
  MOE_CAPTURE_U8 = 3
};

/* moe_capture_batch.flags */
enum {
  MOE_CAPTURE_NEGATIVE_IS_NONE = 1 /* an id below 0 is a choice that was not made (I32 and I64) */
};

/* Some tokens in one layer. Pointers are read during record() only, and what they point to must not
 * change meanwhile; ids and all [tokens] columns are aligned as their type is. */
typedef struct moe_capture_batch {
  size_t size;          /* sizeof(moe_capture_batch) */
  int64_t step;         /* forward pass or training step, from 0 */
  uint32_t layer;       /* routed layer: an index into options.experts */
  uint32_t source_rank; /* rank whose tokens these are */
  uint32_t tokens;
  uint32_t top_k;   /* columns of ids, at most options.top_k */
  uint32_t id_type; /* MOE_CAPTURE_I64, ... */
  uint32_t flags;
  const void* ids;          /* [tokens, top_k] experts from 0 */
  size_t row_bytes;         /* from a row of ids to the next; 0: rows are adjacent */
  const uint8_t* choices;   /* [tokens] how many of a row's ids count; NULL: all top_k */
  const float* weights;     /* [tokens, top_k] */
  size_t weights_row_bytes; /* from a row of weights to the next; 0: rows are adjacent */
  const int64_t* token_ids; /* [tokens] */
  const uint32_t* tags;     /* [tokens] from moe_capture_tag() */
  const int64_t* requests;  /* [tokens] from 0 */
  const int64_t* positions; /* [tokens] from 0 */
} moe_capture_batch;

/* What record() returns. Below 0: the batch is wrong and was not recorded. */
enum {
  MOE_CAPTURE_STORED = 0,
  MOE_CAPTURE_DROPPED = 1, /* no room; counted */
  MOE_CAPTURE_NO_HANDLE = -1,
  MOE_CAPTURE_BAD_SIZE = -2,
  MOE_CAPTURE_FORKED = -3,
  MOE_CAPTURE_BAD_STEP = -4,
  MOE_CAPTURE_BAD_LAYER = -5,
  MOE_CAPTURE_BAD_RANK = -6,
  MOE_CAPTURE_BAD_TOP_K = -7,
  MOE_CAPTURE_BAD_ID_TYPE = -8,
  MOE_CAPTURE_BAD_FLAGS = -9,
  MOE_CAPTURE_NO_IDS = -10,
  MOE_CAPTURE_BAD_STRIDE = -11,
  MOE_CAPTURE_BAD_EXPERT = -12,
  MOE_CAPTURE_BAD_CHOICES = -13,
  MOE_CAPTURE_NO_WEIGHTS = -14,
  MOE_CAPTURE_NOT_ANNOUNCED = -15,
  MOE_CAPTURE_BAD_TAG = -16,
  MOE_CAPTURE_BAD_REQUEST = -17,
  MOE_CAPTURE_BAD_TAG_NAME = -18, /* tag() only, as the next two */
  MOE_CAPTURE_TOO_MANY_TAGS = -19,
  MOE_CAPTURE_NO_MEMORY = -20,
  MOE_CAPTURE_WRITE_FAILED = -21, /* flush() and close() only */
  MOE_CAPTURE_MISALIGNED = -22,
  MOE_CAPTURE_CHANGED = -23 /* ids or choices changed during the call; counted as dropped */
};

/* Every batch given to record() or drop() is stored, dropped or refused. Of a batch that goes in as
 * several parts and is dropped in the midst, the tokens and choices are counted on both sides, the
 * batch as dropped. So tokens and choices add up: those stored less those lost are in the log.
 * lost_batches counts the log's frames: a lost batch of several parts counts once for each of
 * them that is lost, and may be more than stored_batches. */
typedef struct moe_capture_counters {
  size_t size;                                               /* sizeof(moe_capture_counters) */
  uint64_t stored_batches, stored_tokens, stored_choices;    /* copied into the buffer */
  uint64_t dropped_batches, dropped_tokens, dropped_choices; /* no room, or drop() */
  uint64_t lost_batches, lost_tokens, lost_choices;          /* stored, but the disk refused */
  uint64_t refused_batches; /* record() or drop() returned below 0, unless MOE_CAPTURE_CHANGED */
  uint64_t written_bytes;   /* length of the log */
  uint64_t write_errors;
} moe_capture_counters;

typedef struct moe_capture moe_capture;

/* Starts a log: its first frame is on disk when this returns. NULL on failure, with one line of
 * text in `error` (may be NULL); a file that the call itself made is gone then. */
MOE_CAPTURE_API moe_capture* moe_capture_open(const moe_capture_options* options, char* error,
                                              size_t error_bytes);

/* Takes the batch whole, or drops it, or refuses it. A batch above 1 MiB (or a fourth of the
 * buffer) goes in as several parts, of which the last may be dropped alone. */
MOE_CAPTURE_API int moe_capture_record(moe_capture* capture, const moe_capture_batch* batch);

/* Says that the host itself dropped a batch before record(): it is counted as dropped, and the log
 * says so before whatever this thread records later, so that import leaves out what it touches.
 * MOE_CAPTURE_DROPPED, or a code below 0. */
MOE_CAPTURE_API int moe_capture_drop(moe_capture* capture, int64_t step, uint32_t layer,
                                     uint32_t source_rank, uint64_t tokens, uint64_t choices);

/* The number of a tag (a domain, adapter, task): the same name gives the same number, from 0.
 * Below 0: a code from above. Takes a lock; call it outside of the hot path. */
MOE_CAPTURE_API int64_t moe_capture_tag(moe_capture* capture, const char* name);

/* 0, or a code from above. Exact when nobody records meanwhile. */
MOE_CAPTURE_API int moe_capture_get_counters(moe_capture* capture, moe_capture_counters* counters);

/* Waits until all that was recorded before is in the file (not: on the platter). 0, or
 * MOE_CAPTURE_WRITE_FAILED when a write failed since the log was opened. */
MOE_CAPTURE_API int moe_capture_flush(moe_capture* capture);

/* Flushes, ends the log, frees the handle and sets it to NULL. Returns as flush() does. */
MOE_CAPTURE_API int moe_capture_close(moe_capture** capture);

/* One line on a code that a function above returned. */
MOE_CAPTURE_API const char* moe_capture_message(int code);

/* (sets the size; the rest is 0) */
#define MOE_CAPTURE_OPTIONS \
  { sizeof(moe_capture_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
#define MOE_CAPTURE_BATCH \
  { sizeof(moe_capture_batch), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
#define MOE_CAPTURE_COUNTERS \
  { sizeof(moe_capture_counters), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* The log, all little endian:
 *   MOE_CAPTURE_MAGIC (8 bytes), MOE_CAPTURE_LOG_VERSION (u32), then frames.
 *   frame   marker u32, kind u32, payload bytes u32, CRC-32 u32 (zlib's, of kind, bytes and
 * payload) Payloads by kind: header  layers u32, top-k u32, flags u32, bytes of model u32, bytes of
 * provenance u32, experts u32[layers], layer numbers i32[layers], model, provenance batch   step
 * i64, layer u32, source rank u32, tokens u32, choices u32 (of all tokens), columns u32
 * (MOE_CAPTURE_WEIGHTS, ... and MOE_CAPTURE_CHOICES_VARY), top-k u32; token ids i64[tokens],
 * requests i64[tokens], positions i64[tokens], tags u32[tokens], weights f32[choices], ids
 * u8[choices] (u16 in a layer of more than 256 experts), choices u8[tokens] - those that the
 * columns name, the ids always tag     number u32, its name; before the first batch that uses it
 *   drops   reason u32, batches u64, tokens u64, choices u64, least and greatest step i64, layer
 *           u32, source rank u32 of those batches. Stands before every batch that the thread
 *           whose batches were dropped recorded later. Reason MOE_CAPTURE_REASON_FULL: dropped,
 *           in the host's batches; MOE_CAPTURE_REASON_WRITE_ERROR: lost, in frames
 *   end     stored, dropped and lost batches, tokens, choices (9 x u64), as counters() has them:
 *           the host closed the log */
#define MOE_CAPTURE_MAGIC "MOECAPTR"
enum {
  MOE_CAPTURE_LOG_VERSION = 1,
  MOE_CAPTURE_FRAME_MARKER = 0x4652434d, /* "MCRF" */
  MOE_CAPTURE_FRAME_HEADER = 1,
  MOE_CAPTURE_FRAME_BATCH = 2,
  MOE_CAPTURE_FRAME_TAG = 3,
  MOE_CAPTURE_FRAME_DROPS = 4,
  MOE_CAPTURE_FRAME_END = 5,
  MOE_CAPTURE_CHOICES_VARY = 256,         /* in a batch frame's columns */
  MOE_CAPTURE_MOST_FRAME_BYTES = 1 << 20, /* of a frame's payload */
  MOE_CAPTURE_REASON_FULL = 1,            /* in a drops frame */
  MOE_CAPTURE_REASON_WRITE_ERROR = 2
};

#ifdef __cplusplus
}
#endif

#endif
