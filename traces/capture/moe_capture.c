/* The recorder of moe_capture.h: C11 and POSIX threads, nothing else; one file, so that an engine
 * can take it along.
 *
 * Hosts copy frames into a ring of bytes; one writer thread empties it into the file.
 *   Positions only grow; a position's place is position % capacity. A host reserves room by moving
 *   `head` with compare-and-swap, fills it, and publishes it by storing position + 1 into the stamp
 *   of its first 64-byte block. Stamps never repeat, so what an earlier lap left there cannot be
 *   taken for a new frame. The writer takes published frames in order and moves `tail`. */
#if !defined(_GNU_SOURCE) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#define _FILE_OFFSET_BITS 64

#include "moe_capture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the log is little endian and this library copies the host's integers into it"
#endif

enum {
  kBlock = 64,      /* of the ring; each has a stamp */
  kPrologue = 16,   /* before a frame in the ring: reserved bytes u64, frame bytes u64 (0: padding) */
  kFrame = 16,      /* marker, kind, payload bytes, CRC */
  kBatchHead = 32,  /* of a batch frame's payload, before the columns */
  kDropsBytes = 60, /* payload of a drops frame */
  kStageBytes = MOE_CAPTURE_MOST_FRAME_BYTES + 4096,
  kLeastBuffer = 64 * 1024,
  kDefaultBuffer = 64 * 1024 * 1024
};

/* The least that a host's struct may have: what must be said. All behind it may be missing or 0,
 * and a member that the header gains later comes at the end, so that these never grow. */
#define LEAST_BYTES(TYPE, LAST) (offsetof(TYPE, LAST) + sizeof(((TYPE*)0)->LAST))
static const size_t kLeastOptions = LEAST_BYTES(moe_capture_options, reserved);
static const size_t kLeastBatch = LEAST_BYTES(moe_capture_batch, ids);
static const size_t kLeastCounters = LEAST_BYTES(moe_capture_counters, dropped_choices);
enum { kMostStruct = 4096 };

/* What was dropped or lost since it was last written. Only the writer thread uses these. */
typedef struct {
  uint64_t batches, tokens, choices;
  int64_t least_step, most_step;
  uint32_t least_layer, most_layer, least_rank, most_rank;
} loss;

/* The same as hosts count it. There are two, used in turn: a host announces itself in `users` and
 * then makes sure that the slot is still the active one; the writer makes the other one active and
 * reads a slot when it has no users left. So every loss is read whole, and hosts never wait. */
typedef struct {
  atomic_uint users;
  _Atomic uint64_t batches, tokens, choices;
  _Atomic int64_t least_step, most_step;
  _Atomic int64_t least_layer, most_layer, least_rank, most_rank;
} drop_slot;

struct moe_capture {
  uint32_t layers, top_k, flags;
  uint32_t* experts;
  unsigned generation; /* of the process; a fork raises it */
  int file;

  unsigned char* ring;
  _Atomic uint64_t* stamps;
  uint64_t capacity;    /* a multiple of kBlock */
  uint64_t most_payload; /* of one frame */

  char apart_head[64]; /* hosts and writer each touch their own cache lines */
  _Atomic uint64_t head;
  char apart_tail[64];
  _Atomic uint64_t tail;
  char apart_counters[64];

  _Atomic uint64_t stored_batches, stored_tokens, stored_choices;
  _Atomic uint64_t dropped_batches, dropped_tokens, dropped_choices;
  _Atomic uint64_t lost_batches, lost_tokens, lost_choices;
  _Atomic uint64_t refused, written_bytes, write_errors;
  _Atomic uint64_t settled; /* ring position up to which frames are written, or lost */
  drop_slot drops[2];
  atomic_uint active_drops;

  pthread_mutex_t tag_lock;
  char** tags;
  atomic_uint tag_count;

  pthread_t writer;
  atomic_int closing;
  /* The writer's own. */
  unsigned char* stage; /* frames on their way to the file */
  size_t staged;
  loss staged_batches;  /* in the stage */
  loss full, failed;    /* not yet in the file: dropped for want of room, lost to write errors */
  uint64_t file_bytes;  /* whole frames */
  unsigned tags_staged, tags_written;
};

/* ---- CRC-32 (the polynomial of zlib), eight bytes at a time ---- */

static uint32_t crc_table[8][256];

static void make_crc_table(void) {
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0xedb88320u : 0);
    crc_table[0][i] = value;
  }
  for (int t = 1; t < 8; ++t) {
    for (int i = 0; i < 256; ++i) {
      const uint32_t before = crc_table[t - 1][i];
      crc_table[t][i] = (before >> 8) ^ crc_table[0][before & 255];
    }
  }
}

static uint32_t crc32_of(const unsigned char* bytes, size_t size) {
  uint32_t crc = 0xffffffffu;
  for (; size >= 8; bytes += 8, size -= 8) {
    uint32_t low, high;
    memcpy(&low, bytes, 4);
    memcpy(&high, bytes + 4, 4);
    low ^= crc;
    crc = crc_table[7][low & 255] ^ crc_table[6][(low >> 8) & 255] ^
          crc_table[5][(low >> 16) & 255] ^ crc_table[4][low >> 24] ^ crc_table[3][high & 255] ^
          crc_table[2][(high >> 8) & 255] ^ crc_table[1][(high >> 16) & 255] ^
          crc_table[0][high >> 24];
  }
  for (; size > 0; ++bytes, --size) crc = (crc >> 8) ^ crc_table[0][(crc ^ *bytes) & 255];
  return ~crc;
}

/* ---- forks ---- */

static atomic_uint process_generation;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void in_forked_child(void) { atomic_fetch_add(&process_generation, 1); }

static void prepare_process(void) {
  make_crc_table();
  pthread_atfork(NULL, NULL, in_forked_child);
}

static int forked(const moe_capture* c) {
  return c->generation != atomic_load_explicit(&process_generation, memory_order_relaxed);
}

/* ---- frames ---- */

static unsigned char* put(unsigned char* to, const void* from, size_t size) {
  if (size > 0) memcpy(to, from, size);
  return to + size;
}
static unsigned char* put_u32(unsigned char* to, uint64_t value) {
  const uint32_t narrow = (uint32_t)value;
  return put(to, &narrow, 4);
}
static unsigned char* put_u64(unsigned char* to, uint64_t value) { return put(to, &value, 8); }

static unsigned char* begin_frame(unsigned char* to, uint32_t kind, size_t payload) {
  to = put_u32(to, MOE_CAPTURE_FRAME_MARKER);
  to = put_u32(to, kind);
  to = put_u32(to, payload);
  return put_u32(to, 0);
}

/* The checksum covers kind, size and payload: the frame without its marker and the field itself. */
static void seal_frame(unsigned char* frame, size_t payload) {
  /* kind and size stand before the field and the payload after it; move them together */
  unsigned char kept[8];
  memcpy(kept, frame + 4, 8);
  memcpy(frame + 8, kept, 8);
  const uint32_t crc = crc32_of(frame + 8, 8 + payload);
  memcpy(frame + 4, kept, 8);
  put_u32(frame + 12, crc);
}

/* ---- the writer ---- */

static void no_loss(loss* l) { memset(l, 0, sizeof *l); }

static void add_loss(loss* to, const loss* from) {
  if (from->batches == 0) return;
  if (to->batches == 0) {
    *to = *from;
    return;
  }
  to->batches += from->batches;
  to->tokens += from->tokens;
  to->choices += from->choices;
  if (from->least_step < to->least_step) to->least_step = from->least_step;
  if (from->most_step > to->most_step) to->most_step = from->most_step;
  if (from->least_layer < to->least_layer) to->least_layer = from->least_layer;
  if (from->most_layer > to->most_layer) to->most_layer = from->most_layer;
  if (from->least_rank < to->least_rank) to->least_rank = from->least_rank;
  if (from->most_rank > to->most_rank) to->most_rank = from->most_rank;
}

/* Appends to the file, whole or not at all. */
static int append(moe_capture* c, const unsigned char* bytes, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t wrote =
        pwrite(c->file, bytes + done, size - done, (off_t)(c->file_bytes + done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      const int reason = wrote == 0 ? ENOSPC : errno;
      atomic_fetch_add(&c->write_errors, 1);
      /* Half a frame may not stand between whole ones. It fails on what is not a plain file. */
      if (ftruncate(c->file, (off_t)c->file_bytes) != 0) { /* nothing more can be done */
      }
      errno = reason;
      return 0;
    }
    done += (size_t)wrote;
  }
  c->file_bytes += size;
  atomic_store(&c->written_bytes, c->file_bytes);
  return 1;
}

static void write_loss(moe_capture* c, uint32_t reason, loss* l) {
  if (l->batches == 0) return;
  unsigned char frame[kFrame + kDropsBytes];
  unsigned char* to = begin_frame(frame, MOE_CAPTURE_FRAME_DROPS, kDropsBytes);
  to = put_u32(to, reason);
  to = put_u64(to, l->batches);
  to = put_u64(to, l->tokens);
  to = put_u64(to, l->choices);
  to = put(to, &l->least_step, 8);
  to = put(to, &l->most_step, 8);
  to = put_u32(to, l->least_layer);
  to = put_u32(to, l->most_layer);
  to = put_u32(to, l->least_rank);
  put_u32(to, l->most_rank);
  seal_frame(frame, kDropsBytes);
  if (append(c, frame, sizeof frame)) no_loss(l);
}

static void reset_drop_slot(drop_slot* slot) {
  atomic_store(&slot->batches, 0);
  atomic_store(&slot->tokens, 0);
  atomic_store(&slot->choices, 0);
  atomic_store(&slot->least_step, INT64_MAX);
  atomic_store(&slot->least_layer, INT64_MAX);
  atomic_store(&slot->least_rank, INT64_MAX);
  atomic_store(&slot->most_step, -1);
  atomic_store(&slot->most_layer, -1);
  atomic_store(&slot->most_rank, -1);
}

static void collect_drops(moe_capture* c) {
  const unsigned before = atomic_load(&c->active_drops);
  atomic_store(&c->active_drops, 1 - before);
  drop_slot* slot = &c->drops[before];
  while (atomic_load(&slot->users) != 0) sched_yield(); /* some instructions of a host thread */
  if (atomic_load(&slot->batches) == 0) return;
  const loss l = {atomic_load(&slot->batches),
                  atomic_load(&slot->tokens),
                  atomic_load(&slot->choices),
                  atomic_load(&slot->least_step),
                  atomic_load(&slot->most_step),
                  (uint32_t)atomic_load(&slot->least_layer),
                  (uint32_t)atomic_load(&slot->most_layer),
                  (uint32_t)atomic_load(&slot->least_rank),
                  (uint32_t)atomic_load(&slot->most_rank)};
  add_loss(&c->full, &l);
  reset_drop_slot(slot);
}

static void lose(moe_capture* c, const loss* l) {
  atomic_fetch_add(&c->lost_batches, l->batches);
  atomic_fetch_add(&c->lost_tokens, l->tokens);
  atomic_fetch_add(&c->lost_choices, l->choices);
  add_loss(&c->failed, l);
}

/* Drops go into the file before the frames that were taken from the ring before they were looked
 * at: so a thread's drop stands before whatever that thread recorded later. 0 when the staged
 * frames are lost. */
static int write_stage(moe_capture* c) {
  collect_drops(c);
  write_loss(c, MOE_CAPTURE_REASON_FULL, &c->full);
  write_loss(c, MOE_CAPTURE_REASON_WRITE_ERROR, &c->failed);
  int whole = 1;
  if (c->staged > 0) {
    whole = append(c, c->stage, c->staged);
    if (whole) {
      c->tags_written = c->tags_staged;
    } else {
      c->tags_staged = c->tags_written; /* they come again, before the next batch */
      lose(c, &c->staged_batches);
    }
    c->staged = 0;
    no_loss(&c->staged_batches);
  }
  atomic_store(&c->settled, atomic_load_explicit(&c->tail, memory_order_relaxed));
  return whole;
}

static int stage_full(const moe_capture* c, size_t size) { return c->staged + size > kStageBytes; }

/* 0 when a write failed, and with it some tags. */
static int stage_tags(moe_capture* c) {
  while (c->tags_staged < atomic_load(&c->tag_count)) {
    pthread_mutex_lock(&c->tag_lock);
    const char* name = c->tags[c->tags_staged];
    pthread_mutex_unlock(&c->tag_lock);
    const size_t payload = 4 + strlen(name);
    if (stage_full(c, kFrame + payload) && !write_stage(c)) return 0;
    unsigned char* frame = c->stage + c->staged;
    unsigned char* to = begin_frame(frame, MOE_CAPTURE_FRAME_TAG, payload);
    to = put_u32(to, c->tags_staged);
    put(to, name, payload - 4);
    seal_frame(frame, payload);
    c->staged += kFrame + payload;
    ++c->tags_staged;
  }
  return 1;
}

static void stage_batch(moe_capture* c, const unsigned char* frame, size_t size) {
  const unsigned char* head = frame + kFrame;
  int64_t step;
  uint32_t layer, rank, tokens, choices;
  memcpy(&step, head, 8);
  memcpy(&layer, head + 8, 4);
  memcpy(&rank, head + 12, 4);
  memcpy(&tokens, head + 16, 4);
  memcpy(&choices, head + 20, 4);
  const loss one = {1, tokens, choices, step, step, layer, layer, rank, rank};

  if (stage_full(c, size)) write_stage(c); /* before the tags: should it fail, they come again */
  if (!stage_tags(c) || (stage_full(c, size) && !write_stage(c))) {
    lose(c, &one);
    return;
  }
  memcpy(c->stage + c->staged, frame, size);
  seal_frame(c->stage + c->staged, size - kFrame);
  c->staged += size;
  add_loss(&c->staged_batches, &one);
}

/* Takes all that is published; returns its bytes. */
static uint64_t drain(moe_capture* c) {
  const uint64_t first = atomic_load_explicit(&c->tail, memory_order_relaxed);
  uint64_t position = first;
  for (;;) {
    const uint64_t place = position % c->capacity;
    if (atomic_load_explicit(&c->stamps[place / kBlock], memory_order_acquire) != position + 1) {
      break;
    }
    uint64_t reserved, size;
    memcpy(&reserved, c->ring + place, 8);
    memcpy(&size, c->ring + place + 8, 8);
    if (size > 0) stage_batch(c, c->ring + place + kPrologue, (size_t)size);
    position += reserved;
    atomic_store_explicit(&c->tail, position, memory_order_release);
  }
  return position - first;
}

static void sleep_ns(long nanoseconds) {
  const struct timespec time = {0, nanoseconds};
  nanosleep(&time, NULL);
}

static void* run_writer(void* argument) {
  moe_capture* c = argument;
  /* Hosts make no system call to wake this thread, so it looks every millisecond, and less often
   * in a quiet host whose buffer holds more than it can record meanwhile. */
  const long least = 1000000, most = c->capacity >= 8 * 1024 * 1024 ? 8 * least : least;
  long pause = least;
  for (;;) {
    const int closing = atomic_load(&c->closing);
    const uint64_t moved = drain(c);
    write_stage(c);
    if (closing &&
        atomic_load(&c->head) == atomic_load_explicit(&c->tail, memory_order_relaxed)) {
      return NULL;
    }
    if (moved > 0) pause = least;
    if (moved < c->capacity / 8) sleep_ns(pause);
    if (moved == 0 && pause < most) pause *= 2;
  }
}

/* ---- open ---- */

static void release(moe_capture* c) {
  if (c->file >= 0) close(c->file);
  pthread_mutex_destroy(&c->tag_lock);
  const unsigned tags = atomic_load(&c->tag_count);
  for (unsigned i = 0; i < tags; ++i) free(c->tags[i]);
  free(c->tags);
  free(c->stage);
  free((void*)c->stamps);
  free(c->ring);
  free(c->experts);
  free(c);
}

static moe_capture* refuse(moe_capture* c, char* error, size_t bytes, const char* path,
                           const char* what) {
  if (error != NULL && bytes > 0) {
    snprintf(error, bytes, "%s%s%s", path ? path : "", path ? ": " : "", what);
  }
  if (c != NULL) release(c);
  return NULL;
}

/* Copies a struct of the host's of at least `least` bytes, whose header may be older (shorter) or
 * newer (longer; then what we do not know must be 0) than this library. */
static int take_struct(void* to, size_t size, const void* from, size_t least) {
  size_t given;
  memcpy(&given, from, sizeof given);
  if (given < least || given > kMostStruct) return 0;
  for (size_t i = size; i < given; ++i) {
    if (((const unsigned char*)from)[i] != 0) return 0;
  }
  memset(to, 0, size);
  memcpy(to, from, given < size ? given : size);
  return 1;
}

static const char* wrong_options(const moe_capture_options* o) {
  if (o->path == NULL || o->path[0] == '\0') return "options.path names no file";
  if (o->layers < 1 || o->layers > MOE_CAPTURE_MOST_LAYERS) return "options.layers is not 1 to 4096";
  if (o->experts == NULL) return "options.experts is NULL";
  for (uint32_t i = 0; i < o->layers; ++i) {
    if (o->experts[i] < 1 || o->experts[i] > MOE_CAPTURE_MOST_EXPERTS) {
      return "options.experts has a layer without 1 to 65536 experts";
    }
    if (o->layer_numbers != NULL && o->layer_numbers[i] < 0) {
      return "options.layer_numbers has a number below 0";
    }
  }
  if (o->top_k < 1 || o->top_k > MOE_CAPTURE_MOST_CHOICES) return "options.top_k is not 1 to 255";
  if ((o->flags & ~(uint32_t)31) != 0 || o->reserved != 0) {
    return "options.flags has a bit that this library does not know";
  }
  if (o->buffer_bytes != 0 && o->buffer_bytes < kLeastBuffer) {
    return "options.buffer_bytes is below 65536";
  }
  if (o->buffer_bytes > (uint64_t)1 << 40) return "options.buffer_bytes is above 2^40";
  if ((o->model != NULL && strlen(o->model) > MOE_CAPTURE_MOST_TEXT_BYTES) ||
      (o->provenance != NULL && strlen(o->provenance) > MOE_CAPTURE_MOST_TEXT_BYTES)) {
    return "options.model or options.provenance is longer than 65536 bytes";
  }
  return NULL;
}

static int write_header(moe_capture* c, const moe_capture_options* o) {
  const size_t model = o->model ? strlen(o->model) : 0;
  const size_t provenance = o->provenance ? strlen(o->provenance) : 0;
  const size_t payload = 20 + (size_t)8 * o->layers + model + provenance;
  unsigned char* to = put(c->stage, MOE_CAPTURE_MAGIC, 8);
  unsigned char* frame = put_u32(to, MOE_CAPTURE_LOG_VERSION);
  to = begin_frame(frame, MOE_CAPTURE_FRAME_HEADER, payload);
  to = put_u32(to, o->layers);
  to = put_u32(to, o->top_k);
  to = put_u32(to, o->flags & ~(uint32_t)MOE_CAPTURE_OVERWRITE);
  to = put_u32(to, model);
  to = put_u32(to, provenance);
  to = put(to, o->experts, (size_t)4 * o->layers);
  for (uint32_t i = 0; i < o->layers; ++i) {
    to = put_u32(to, o->layer_numbers ? (uint32_t)o->layer_numbers[i] : i);
  }
  to = put(to, o->model, model);
  put(to, o->provenance, provenance);
  seal_frame(frame, payload);
  return append(c, c->stage, 12 + kFrame + payload);
}

moe_capture* moe_capture_open(const moe_capture_options* given, char* error, size_t error_bytes) {
  pthread_once(&once, prepare_process);
  moe_capture_options o;
  if (given == NULL) return refuse(NULL, error, error_bytes, NULL, "options is NULL");
  if (!take_struct(&o, sizeof o, given, kLeastOptions)) {
    return refuse(NULL, error, error_bytes, NULL,
                  "options.size is not sizeof(moe_capture_options), or the header is newer");
  }
  const char* wrong = wrong_options(&o);
  if (wrong != NULL) return refuse(NULL, error, error_bytes, NULL, wrong);

  moe_capture* c = calloc(1, sizeof *c);
  if (c == NULL) return refuse(NULL, error, error_bytes, o.path, "no memory");
  c->file = -1;
  pthread_mutex_init(&c->tag_lock, NULL);
  c->layers = o.layers;
  c->top_k = o.top_k;
  c->flags = o.flags;
  c->generation = atomic_load(&process_generation);
  const uint64_t buffer = o.buffer_bytes ? o.buffer_bytes : kDefaultBuffer;
  c->capacity = buffer / (kBlock + 8) * kBlock; /* the stamps are part of it */
  c->most_payload = c->capacity / 4 < MOE_CAPTURE_MOST_FRAME_BYTES ? c->capacity / 4
                                                                   : MOE_CAPTURE_MOST_FRAME_BYTES;
  c->most_payload -= kBlock;
  c->experts = malloc(sizeof(uint32_t) * o.layers);
  c->ring = malloc((size_t)c->capacity);
  c->stamps = malloc((size_t)(c->capacity / kBlock) * sizeof *c->stamps);
  c->stage = malloc(kStageBytes);
  c->tags = calloc(MOE_CAPTURE_MOST_TAGS, sizeof(char*));
  if (!c->experts || !c->ring || !c->stamps || !c->stage || !c->tags) {
    return refuse(c, error, error_bytes, o.path, "no memory for the buffer");
  }
  memcpy(c->experts, o.experts, sizeof(uint32_t) * o.layers);
  /* Every page is touched now, so that record() meets no page fault. (Zeros would become a calloc,
   * which touches nothing.) */
  memset(c->ring, 1, (size_t)c->capacity);
  for (uint64_t i = 0; i < c->capacity / kBlock; ++i) atomic_init(&c->stamps[i], 0);
  reset_drop_slot(&c->drops[0]);
  reset_drop_slot(&c->drops[1]);

  const int mode = O_WRONLY | O_CREAT | O_CLOEXEC;
  c->file = open(o.path, mode | O_EXCL, 0644);
  const int made = c->file >= 0; /* so it may be taken away again */
  if (!made && errno == EEXIST && (o.flags & MOE_CAPTURE_OVERWRITE)) {
    c->file = open(o.path, mode | O_TRUNC, 0644);
  }
  if (c->file < 0) {
    return refuse(c, error, error_bytes, o.path,
                  errno == EEXIST ? "there is such a file; MOE_CAPTURE_OVERWRITE replaces it"
                                  : strerror(errno));
  }
  if (!write_header(c, &o)) {
    const int reason = errno;
    if (made) unlink(o.path);
    return refuse(c, error, error_bytes, o.path, strerror(reason));
  }

  sigset_t all, before; /* the writer takes no signal of the host's; SIGXFSZ would end the host */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int failed = pthread_create(&c->writer, NULL, run_writer, c);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failed) {
    if (made) unlink(o.path);
    return refuse(c, error, error_bytes, o.path, "cannot start the writer thread");
  }
  return c;
}

/* ---- record ---- */

static size_t id_bytes(uint32_t type) {
  switch (type) {
    case MOE_CAPTURE_I64: return 8;
    case MOE_CAPTURE_I32: return 4;
    case MOE_CAPTURE_U16: return 2;
    default: return 1;
  }
}

/* For each type of id: whether all are below `experts` (at most 65536), and a copy that narrows.
 * Negative ids are large ones here. */
#define MOE_CAPTURE_IDS(NAME, TYPE)                                                             \
  static int all_below_##NAME(const void* ids, size_t count, uint32_t experts) {                \
    const TYPE* from = ids;                                                                     \
    unsigned wrong = 0;                                                                         \
    for (size_t i = 0; i < count; ++i) wrong |= from[i] >= experts;                             \
    return !wrong;                                                                              \
  }                                                                                             \
  static void narrow_##NAME(unsigned char* to, size_t width, const void* ids, size_t count) {   \
    const TYPE* from = ids;                                                                     \
    if (width == 1) {                                                                           \
      for (size_t i = 0; i < count; ++i) to[i] = (unsigned char)from[i];                        \
    } else {                                                                                    \
      for (size_t i = 0; i < count; ++i) {                                                      \
        const uint16_t id = (uint16_t)from[i];                                                  \
        memcpy(to + 2 * i, &id, 2);                                                             \
      }                                                                                         \
    }                                                                                           \
  }
MOE_CAPTURE_IDS(64, uint64_t)
MOE_CAPTURE_IDS(32, uint32_t)
MOE_CAPTURE_IDS(16, uint16_t)
MOE_CAPTURE_IDS(8, uint8_t)

static int all_below(uint32_t type, const void* ids, size_t count, uint32_t experts) {
  switch (type) {
    case MOE_CAPTURE_I64: return all_below_64(ids, count, experts);
    case MOE_CAPTURE_I32: return all_below_32(ids, count, experts);
    case MOE_CAPTURE_U16: return all_below_16(ids, count, experts);
    default: return all_below_8(ids, count, experts);
  }
}

static void narrow(uint32_t type, unsigned char* to, size_t width, const void* ids, size_t count) {
  switch (type) {
    case MOE_CAPTURE_I64: narrow_64(to, width, ids, count); break;
    case MOE_CAPTURE_I32: narrow_32(to, width, ids, count); break;
    case MOE_CAPTURE_U16: narrow_16(to, width, ids, count); break;
    default: narrow_8(to, width, ids, count); break;
  }
}

static int choices_vary(const moe_capture_batch* b) {
  return b->choices != NULL || (b->flags & MOE_CAPTURE_NEGATIVE_IS_NONE);
}

static int rows_adjacent(const moe_capture_batch* b) {
  return b->row_bytes == b->top_k * id_bytes(b->id_type);
}

static const unsigned char* row_of(const moe_capture_batch* b, uint32_t token) {
  return (const unsigned char*)b->ids + token * b->row_bytes;
}

/* An id, read once; one below 0 is a large one here. */
static uint64_t id_at(const moe_capture_batch* b, uint32_t token, uint32_t i) {
  const unsigned char* at = row_of(b, token) + i * id_bytes(b->id_type);
  switch (b->id_type) {
    case MOE_CAPTURE_I64: return *(const volatile uint64_t*)at;
    case MOE_CAPTURE_I32: return *(const volatile uint32_t*)at;
    case MOE_CAPTURE_U16: return *(const volatile uint16_t*)at;
    default: return *(const volatile uint8_t*)at;
  }
}

static int is_none(const moe_capture_batch* b, uint64_t id) {
  if (!(b->flags & MOE_CAPTURE_NEGATIVE_IS_NONE)) return 0;
  return b->id_type == MOE_CAPTURE_I64 ? id > INT64_MAX : id > INT32_MAX;
}

/* Checks the ids of some tokens and counts their choices. */
static int check_ids(const moe_capture_batch* b, uint32_t experts, uint32_t first, uint32_t tokens,
                     uint64_t* choices) {
  *choices = 0;
  if (!choices_vary(b)) {
    *choices = (uint64_t)tokens * b->top_k;
    if (rows_adjacent(b)) {
      return all_below(b->id_type, row_of(b, first), (size_t)*choices, experts)
                 ? 0
                 : MOE_CAPTURE_BAD_EXPERT;
    }
    for (uint32_t t = first; t < first + tokens; ++t) {
      if (!all_below(b->id_type, row_of(b, t), b->top_k, experts)) return MOE_CAPTURE_BAD_EXPERT;
    }
    return 0;
  }
  for (uint32_t t = first; t < first + tokens; ++t) {
    const uint32_t count = b->choices ? b->choices[t] : b->top_k;
    if (count > b->top_k) return MOE_CAPTURE_BAD_CHOICES;
    for (uint32_t i = 0; i < count; ++i) {
      const uint64_t id = id_at(b, t, i);
      if (is_none(b, id)) continue;
      if (id >= experts) return MOE_CAPTURE_BAD_EXPERT;
      ++*choices;
    }
  }
  return 0;
}

static int check_columns(const moe_capture* c, const moe_capture_batch* b) {
  if (((c->flags & MOE_CAPTURE_WEIGHTS) != 0) != (b->weights != NULL)) {
    return b->weights ? MOE_CAPTURE_NOT_ANNOUNCED : MOE_CAPTURE_NO_WEIGHTS;
  }
  if ((b->token_ids && !(c->flags & MOE_CAPTURE_TOKEN_IDS)) ||
      (b->tags && !(c->flags & MOE_CAPTURE_TAGS)) ||
      ((b->requests || b->positions) && !(c->flags & MOE_CAPTURE_REQUESTS))) {
    return MOE_CAPTURE_NOT_ANNOUNCED;
  }
  if (!b->requests != !b->positions) return MOE_CAPTURE_BAD_REQUEST;
  if (b->tags != NULL) {
    const unsigned known = atomic_load(&((moe_capture*)c)->tag_count);
    for (uint32_t t = 0; t < b->tokens; ++t) {
      if (b->tags[t] >= known) return MOE_CAPTURE_BAD_TAG;
    }
  }
  if (b->requests != NULL) {
    for (uint32_t t = 0; t < b->tokens; ++t) {
      if ((b->requests[t] | b->positions[t]) < 0) return MOE_CAPTURE_BAD_REQUEST;
    }
  }
  return 0;
}

static int check_place(const moe_capture* c, const moe_capture_batch* b) {
  if (b->step < 0 || b->step > MOE_CAPTURE_MOST_STEP) return MOE_CAPTURE_BAD_STEP;
  if (b->layer >= c->layers) return MOE_CAPTURE_BAD_LAYER;
  if (b->source_rank > INT32_MAX) return MOE_CAPTURE_BAD_RANK;
  return 0;
}

/* Fills in the strides. */
static int check_batch(const moe_capture* c, moe_capture_batch* b) {
  const int wrong_place = check_place(c, b);
  if (wrong_place) return wrong_place;
  if (b->top_k < 1 || b->top_k > c->top_k) return MOE_CAPTURE_BAD_TOP_K;
  if (b->id_type > MOE_CAPTURE_U8) return MOE_CAPTURE_BAD_ID_TYPE;
  if ((b->flags & ~(uint32_t)MOE_CAPTURE_NEGATIVE_IS_NONE) != 0 ||
      (b->flags != 0 && b->id_type > MOE_CAPTURE_I32)) {
    return MOE_CAPTURE_BAD_FLAGS;
  }
  if (b->tokens > 0 && b->ids == NULL) return MOE_CAPTURE_NO_IDS;
  const size_t size = id_bytes(b->id_type);
  if (b->row_bytes == 0) b->row_bytes = b->top_k * size;
  if (b->weights_row_bytes == 0) b->weights_row_bytes = b->top_k * sizeof(float);
  if ((uintptr_t)b->token_ids % sizeof(int64_t) != 0 ||
      (uintptr_t)b->tags % sizeof(uint32_t) != 0 ||
      (uintptr_t)b->requests % sizeof(int64_t) != 0 ||
      (uintptr_t)b->positions % sizeof(int64_t) != 0) {
    return MOE_CAPTURE_MISALIGNED;
  }
  if (b->row_bytes < b->top_k * size || b->row_bytes % size != 0 ||
      (uintptr_t)b->ids % size != 0 || b->weights_row_bytes < b->top_k * sizeof(float)) {
    return MOE_CAPTURE_BAD_STRIDE;
  }
  return check_columns(c, b);
}

static void lower(_Atomic int64_t* to, int64_t value) {
  int64_t seen = atomic_load(to);
  while (value < seen && !atomic_compare_exchange_weak(to, &seen, value)) {
  }
}
static void raise_to(_Atomic int64_t* to, int64_t value) {
  int64_t seen = atomic_load(to);
  while (value > seen && !atomic_compare_exchange_weak(to, &seen, value)) {
  }
}

static void count_drop(moe_capture* c, const moe_capture_batch* b, uint64_t tokens,
                       uint64_t choices) {
  drop_slot* slot;
  for (;;) {
    const unsigned active = atomic_load(&c->active_drops);
    slot = &c->drops[active];
    atomic_fetch_add(&slot->users, 1);
    if (atomic_load(&c->active_drops) == active) break;
    atomic_fetch_sub(&slot->users, 1);
  }
  lower(&slot->least_step, b->step);
  raise_to(&slot->most_step, b->step);
  lower(&slot->least_layer, b->layer);
  raise_to(&slot->most_layer, b->layer);
  lower(&slot->least_rank, b->source_rank);
  raise_to(&slot->most_rank, b->source_rank);
  atomic_fetch_add(&slot->tokens, tokens);
  atomic_fetch_add(&slot->choices, choices);
  atomic_fetch_add(&slot->batches, 1);
  atomic_fetch_sub(&slot->users, 1);
  atomic_fetch_add_explicit(&c->dropped_batches, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&c->dropped_tokens, tokens, memory_order_relaxed);
  atomic_fetch_add_explicit(&c->dropped_choices, choices, memory_order_relaxed);
}

/* A block's first bytes and its stamp, in this order: from then on the writer may take it. */
static void publish(moe_capture* c, uint64_t position, uint64_t reserved, uint64_t frame_bytes) {
  const uint64_t place = position % c->capacity;
  memcpy(c->ring + place, &reserved, 8);
  memcpy(c->ring + place + 8, &frame_bytes, 8);
  atomic_store_explicit(&c->stamps[place / kBlock], position + 1, memory_order_release);
}

/* Room for a frame in one piece: where the ring would end first, its rest is published as padding.
 * NULL when there is none. */
static unsigned char* reserve(moe_capture* c, uint64_t need, uint64_t* position) {
  for (;;) {
    const uint64_t tail = atomic_load_explicit(&c->tail, memory_order_acquire);
    uint64_t head = atomic_load_explicit(&c->head, memory_order_relaxed);
    const uint64_t to_end = c->capacity - head % c->capacity;
    const uint64_t padding = to_end < need ? to_end : 0;
    if (head - tail + padding + need > c->capacity) return NULL;
    if (!atomic_compare_exchange_weak_explicit(&c->head, &head, head + padding + need,
                                               memory_order_acq_rel, memory_order_relaxed)) {
      continue;
    }
    if (padding > 0) publish(c, head, padding, 0);
    *position = head + padding;
    return c->ring + *position % c->capacity;
  }
}

/* The columns whose values follow the head. */
static uint32_t columns_of(const moe_capture_batch* b) {
  return (b->weights ? MOE_CAPTURE_WEIGHTS : 0) | (b->token_ids ? MOE_CAPTURE_TOKEN_IDS : 0) |
         (b->tags ? MOE_CAPTURE_TAGS : 0) | (b->requests ? MOE_CAPTURE_REQUESTS : 0) |
         (choices_vary(b) ? MOE_CAPTURE_CHOICES_VARY : 0);
}

static uint64_t token_bytes(const moe_capture_batch* b) {
  return (b->token_ids ? 8 : 0) + (b->requests ? 16 : 0) + (b->tags ? 4 : 0) +
         (choices_vary(b) ? 1 : 0);
}

/* Weights and ids of tokens that make top_k choices each. */
static void put_rows(unsigned char* weights, unsigned char* ids, const moe_capture_batch* b,
                     size_t width, uint32_t first, uint32_t tokens) {
  for (uint32_t t = first; b->weights != NULL && t < first + tokens; ++t) {
    const unsigned char* row = (const unsigned char*)b->weights + t * b->weights_row_bytes;
    weights = put(weights, row, b->top_k * sizeof(float));
  }
  if (rows_adjacent(b)) {
    narrow(b->id_type, ids, width, row_of(b, first), (size_t)tokens * b->top_k);
    return;
  }
  for (uint32_t t = first; t < first + tokens; ++t, ids += width * b->top_k) {
    narrow(b->id_type, ids, width, row_of(b, t), b->top_k);
  }
}

/* Weights, ids and numbers of choices of tokens that may make fewer. The choices were counted
 * before and room was reserved for as many: 0 when the host's memory does not hold as many any
 * more. Here an id is read once. */
static int put_choices(unsigned char* weights, unsigned char* ids, unsigned char* counts,
                       const moe_capture_batch* b, size_t width, uint32_t experts, uint32_t first,
                       uint32_t tokens, uint64_t choices) {
  uint64_t left = choices;
  for (uint32_t t = first; t < first + tokens; ++t) {
    const uint32_t given = b->choices ? ((const volatile uint8_t*)b->choices)[t] : b->top_k;
    const uint32_t count = given < b->top_k ? given : b->top_k;
    unsigned kept = 0;
    for (uint32_t i = 0; i < count; ++i) {
      const uint64_t id = id_at(b, t, i);
      if (is_none(b, id)) continue;
      if (left == 0 || id >= experts) return 0;
      --left;
      ids[0] = (unsigned char)id;
      if (width == 2) ids[1] = (unsigned char)(id >> 8);
      ids += width;
      if (b->weights != NULL) {
        const unsigned char* row = (const unsigned char*)b->weights + t * b->weights_row_bytes;
        weights = put(weights, row + i * sizeof(float), sizeof(float));
      }
      ++kept;
    }
    *counts++ = (unsigned char)kept;
  }
  return left == 0;
}

/* Some tokens of a batch as one frame: stored, dropped, or MOE_CAPTURE_CHANGED. */
static int store_part(moe_capture* c, const moe_capture_batch* b, uint32_t first, uint32_t tokens,
                      uint64_t choices) {
  const size_t width = c->experts[b->layer] > 256 ? 2 : 1;
  const uint64_t payload = kBatchHead + tokens * token_bytes(b) +
                           choices * (width + (b->weights ? sizeof(float) : 0));
  const uint64_t size = kFrame + payload;
  const uint64_t need = (kPrologue + size + kBlock - 1) / kBlock * kBlock;
  uint64_t position;
  unsigned char* to = reserve(c, need, &position);
  if (to == NULL) return MOE_CAPTURE_DROPPED;
  to = begin_frame(to + kPrologue, MOE_CAPTURE_FRAME_BATCH, (size_t)payload);
  to = put(to, &b->step, 8);
  to = put_u32(to, b->layer);
  to = put_u32(to, b->source_rank);
  to = put_u32(to, tokens);
  to = put_u32(to, choices);
  to = put_u32(to, columns_of(b));
  to = put_u32(to, b->top_k);
  if (b->token_ids) to = put(to, b->token_ids + first, (size_t)8 * tokens);
  if (b->requests) to = put(to, b->requests + first, (size_t)8 * tokens);
  if (b->positions) to = put(to, b->positions + first, (size_t)8 * tokens);
  if (b->tags) to = put(to, b->tags + first, (size_t)4 * tokens);
  unsigned char* ids = to + (b->weights ? choices * sizeof(float) : 0);
  if (!choices_vary(b)) {
    put_rows(to, ids, b, width, first, tokens);
  } else if (!put_choices(to, ids, ids + choices * width, b, width, c->experts[b->layer], first,
                          tokens, choices)) {
    publish(c, position, need, 0); /* as padding */
    return MOE_CAPTURE_CHANGED;
  }
  publish(c, position, need, size);
  return MOE_CAPTURE_STORED;
}

static int record(moe_capture* c, moe_capture_batch* b) {
  const int wrong = check_batch(c, b);
  if (wrong) return wrong;
  if (b->tokens == 0) return MOE_CAPTURE_STORED;
  const uint32_t experts = c->experts[b->layer];
  uint64_t choices;
  const int bad_ids = check_ids(b, experts, 0, b->tokens, &choices);
  if (bad_ids) return bad_ids;

  const uint64_t row = token_bytes(b) + b->top_k * (2 + sizeof(float));
  const uint64_t most = (c->most_payload - kBatchHead) / row;
  uint64_t stored_tokens = 0, stored_choices = 0;
  int result = MOE_CAPTURE_STORED;
  while (stored_tokens < b->tokens) {
    const uint64_t left = b->tokens - stored_tokens;
    const uint32_t tokens = (uint32_t)(left < most ? left : most);
    uint64_t part = choices;
    if (tokens < b->tokens) check_ids(b, experts, (uint32_t)stored_tokens, tokens, &part);
    result = store_part(c, b, (uint32_t)stored_tokens, tokens, part);
    if (result != MOE_CAPTURE_STORED) break;
    stored_tokens += tokens;
    stored_choices += part;
  }
  atomic_fetch_add_explicit(&c->stored_tokens, stored_tokens, memory_order_relaxed);
  atomic_fetch_add_explicit(&c->stored_choices, stored_choices, memory_order_relaxed);
  if (result != MOE_CAPTURE_STORED) {
    /* (the parts of a changed batch may hold more choices than were counted at first) */
    const uint64_t left = choices > stored_choices ? choices - stored_choices : 0;
    count_drop(c, b, b->tokens - stored_tokens, left);
    return result;
  }
  atomic_fetch_add_explicit(&c->stored_batches, 1, memory_order_relaxed);
  return MOE_CAPTURE_STORED;
}

int moe_capture_record(moe_capture* c, const moe_capture_batch* given) {
  if (c == NULL || given == NULL) return MOE_CAPTURE_NO_HANDLE;
  if (forked(c)) return MOE_CAPTURE_FORKED;
  moe_capture_batch b;
  const int result =
      take_struct(&b, sizeof b, given, kLeastBatch) ? record(c, &b) : MOE_CAPTURE_BAD_SIZE;
  if (result < 0 && result != MOE_CAPTURE_CHANGED) {
    atomic_fetch_add_explicit(&c->refused, 1, memory_order_relaxed);
  }
  return result;
}

int moe_capture_drop(moe_capture* c, int64_t step, uint32_t layer, uint32_t source_rank,
                     uint64_t tokens, uint64_t choices) {
  if (c == NULL) return MOE_CAPTURE_NO_HANDLE;
  if (forked(c)) return MOE_CAPTURE_FORKED;
  moe_capture_batch b = MOE_CAPTURE_BATCH;
  b.step = step;
  b.layer = layer;
  b.source_rank = source_rank;
  const int wrong = check_place(c, &b);
  if (wrong) {
    atomic_fetch_add_explicit(&c->refused, 1, memory_order_relaxed);
    return wrong;
  }
  count_drop(c, &b, tokens, choices);
  return MOE_CAPTURE_DROPPED;
}

/* ---- the rest ---- */

int64_t moe_capture_tag(moe_capture* c, const char* name) {
  if (c == NULL) return MOE_CAPTURE_NO_HANDLE;
  if (forked(c)) return MOE_CAPTURE_FORKED;
  if (name == NULL || strlen(name) > MOE_CAPTURE_MOST_TEXT_BYTES) return MOE_CAPTURE_BAD_TAG_NAME;
  pthread_mutex_lock(&c->tag_lock);
  const unsigned count = atomic_load(&c->tag_count);
  unsigned number = 0;
  while (number < count && strcmp(c->tags[number], name) != 0) ++number;
  int64_t result = number;
  if (number == MOE_CAPTURE_MOST_TAGS) {
    result = MOE_CAPTURE_TOO_MANY_TAGS;
  } else if (number == count) {
    char* copy = malloc(strlen(name) + 1);
    if (copy == NULL) {
      result = MOE_CAPTURE_NO_MEMORY;
    } else {
      strcpy(copy, name);
      c->tags[number] = copy;
      atomic_store(&c->tag_count, count + 1);
    }
  }
  pthread_mutex_unlock(&c->tag_lock);
  return result;
}

int moe_capture_get_counters(moe_capture* c, moe_capture_counters* given) {
  if (c == NULL || given == NULL) return MOE_CAPTURE_NO_HANDLE;
  const size_t size = given->size;
  if (size < kLeastCounters || size > kMostStruct) return MOE_CAPTURE_BAD_SIZE;
  moe_capture_counters counters = MOE_CAPTURE_COUNTERS;
  counters.size = size;
  counters.stored_batches = atomic_load(&c->stored_batches);
  counters.stored_tokens = atomic_load(&c->stored_tokens);
  counters.stored_choices = atomic_load(&c->stored_choices);
  counters.dropped_batches = atomic_load(&c->dropped_batches);
  counters.dropped_tokens = atomic_load(&c->dropped_tokens);
  counters.dropped_choices = atomic_load(&c->dropped_choices);
  counters.lost_batches = atomic_load(&c->lost_batches);
  counters.lost_tokens = atomic_load(&c->lost_tokens);
  counters.lost_choices = atomic_load(&c->lost_choices);
  counters.refused_batches = atomic_load(&c->refused);
  counters.written_bytes = atomic_load(&c->written_bytes);
  counters.write_errors = atomic_load(&c->write_errors);
  memset(given, 0, size); /* what only a newer header has is 0 */
  memcpy(given, &counters, size < sizeof counters ? size : sizeof counters);
  return 0;
}

int moe_capture_flush(moe_capture* c) {
  if (c == NULL) return MOE_CAPTURE_NO_HANDLE;
  if (forked(c)) return MOE_CAPTURE_FORKED;
  const uint64_t target = atomic_load(&c->head);
  while (atomic_load(&c->settled) < target) sleep_ns(200000);
  return atomic_load(&c->write_errors) ? MOE_CAPTURE_WRITE_FAILED : 0;
}

static void write_end(moe_capture* c) {
  unsigned char frame[kFrame + 72];
  unsigned char* to = begin_frame(frame, MOE_CAPTURE_FRAME_END, 72);
  to = put_u64(to, atomic_load(&c->stored_batches));
  to = put_u64(to, atomic_load(&c->stored_tokens));
  to = put_u64(to, atomic_load(&c->stored_choices));
  to = put_u64(to, atomic_load(&c->dropped_batches));
  to = put_u64(to, atomic_load(&c->dropped_tokens));
  to = put_u64(to, atomic_load(&c->dropped_choices));
  to = put_u64(to, atomic_load(&c->lost_batches));
  to = put_u64(to, atomic_load(&c->lost_tokens));
  put_u64(to, atomic_load(&c->lost_choices));
  seal_frame(frame, 72);
  append(c, frame, sizeof frame);
}

int moe_capture_close(moe_capture** handle) {
  if (handle == NULL || *handle == NULL) return 0;
  moe_capture* c = *handle;
  *handle = NULL;
  int result = 0;
  if (!forked(c)) {
    atomic_store(&c->closing, 1);
    pthread_join(c->writer, NULL);
    write_loss(c, MOE_CAPTURE_REASON_FULL, &c->full); /* a last try, after a write error */
    write_loss(c, MOE_CAPTURE_REASON_WRITE_ERROR, &c->failed);
    write_end(c);
  }
  if (atomic_load(&c->write_errors)) result = MOE_CAPTURE_WRITE_FAILED;
  release(c);
  return result;
}

const char* moe_capture_message(int code) {
  switch (code) {
    case MOE_CAPTURE_STORED: return "stored";
    case MOE_CAPTURE_DROPPED: return "dropped: the buffer is full";
    case MOE_CAPTURE_NO_HANDLE: return "the capture or the argument is NULL";
    case MOE_CAPTURE_BAD_SIZE: return "the struct's size is not its sizeof, or the header is newer";
    case MOE_CAPTURE_FORKED: return "this process was forked after open(); open a log of its own";
    case MOE_CAPTURE_BAD_STEP: return "step is below 0 or above 2^53";
    case MOE_CAPTURE_BAD_LAYER: return "layer is not below options.layers";
    case MOE_CAPTURE_BAD_RANK: return "source_rank is above 2^31 - 1";
    case MOE_CAPTURE_BAD_TOP_K: return "top_k is not 1 to options.top_k";
    case MOE_CAPTURE_BAD_ID_TYPE: return "id_type is none of MOE_CAPTURE_I64, I32, U16, U8";
    case MOE_CAPTURE_BAD_FLAGS:
      return "flags has an unknown bit, or NEGATIVE_IS_NONE with unsigned ids";
    case MOE_CAPTURE_NO_IDS: return "ids is NULL";
    case MOE_CAPTURE_BAD_STRIDE:
      return "row_bytes is below a row's length or no whole number of ids, or ids is misaligned";
    case MOE_CAPTURE_BAD_EXPERT: return "an id is not an expert of this layer";
    case MOE_CAPTURE_BAD_CHOICES: return "a token has more choices than top_k";
    case MOE_CAPTURE_NO_WEIGHTS: return "weights is NULL, but options.flags announced weights";
    case MOE_CAPTURE_NOT_ANNOUNCED: return "a column is given that options.flags did not announce";
    case MOE_CAPTURE_BAD_TAG: return "a tag is not a number that moe_capture_tag() gave";
    case MOE_CAPTURE_BAD_REQUEST:
      return "a request or position is below 0, or one is given without the other";
    case MOE_CAPTURE_BAD_TAG_NAME: return "the tag's name is NULL or longer than 65536 bytes";
    case MOE_CAPTURE_TOO_MANY_TAGS: return "there are 4096 tags already";
    case MOE_CAPTURE_NO_MEMORY: return "no memory";
    case MOE_CAPTURE_MISALIGNED: return "token_ids, tags, requests or positions is misaligned";
    case MOE_CAPTURE_CHANGED: return "the ids or choices changed while record() read them";
    case MOE_CAPTURE_WRITE_FAILED: return "a write to the log failed; the counters say what is lost";
    default: return "no code of this library";
  }
}
