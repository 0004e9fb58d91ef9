#include "traces/import/capture_frames.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "sim/core/error.h"
#include "traces/capture/moe_capture.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

constexpr std::size_t kPreambleBytes = 12;
constexpr std::size_t kFrameHeaderBytes = 16;

// Bytes of the character that `text` begins with; 0 when it is a control or no well-formed UTF-8.
std::size_t character_bytes(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return first >= 32 && first != 127 ? 1 : 0;
  if (first < 0xC2 || first > 0xF4) return 0;
  const std::size_t size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (text.size() < size) return 0;
  std::uint32_t code = first & (0xFFU >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xC0) != 0x80) return 0;
    code = code << 6 | (next & 0x3F);
  }
  constexpr std::uint32_t kLeast[] = {0xA0, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  return code >= kLeast[size - 2] && code <= 0x10FFFF && !surrogate ? size : 0;
}

// Names come from a foreign program and go into Protobuf strings and onto terminals.
std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t size = character_bytes(text);
    out += size > 0 ? text.substr(0, size) : "?";
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return out;
}

}  // namespace

struct CaptureLog::File {
  gzFile zipped = nullptr;
  ~File() {
    if (zipped != nullptr) gzclose_r(zipped);
  }
  // Fewer bytes than asked for at the end of the file, or where a gzip stream is cut or damaged.
  std::size_t read(char* to, std::size_t size) const {
    const int got = gzread(zipped, to, static_cast<unsigned>(size));
    return got < 0 ? 0 : static_cast<std::size_t>(got);
  }
};

// A whole frame with the right checksum, read from its front.
struct CaptureLog::Frame {
  std::uint32_t kind = 0;
  std::string bytes;  // kind, size, payload
  std::size_t at = 8;

  std::size_t left() const { return bytes.size() - at; }
  template <class T>
  T take() {
    T value{};
    std::memcpy(&value, bytes.data() + at, sizeof value);
    at += sizeof value;
    return value;
  }
  std::uint32_t u32() { return take<std::uint32_t>(); }
  template <class T>
  void column(bool given, std::size_t count, std::vector<T>& to) {
    to.resize(given ? count : 0);
    if (to.empty()) return;
    std::memcpy(to.data(), bytes.data() + at, to.size() * sizeof(T));
    at += to.size() * sizeof(T);
  }
  std::string_view text(std::size_t size) {
    at += size;
    return std::string_view(bytes).substr(at - size, size);
  }
};

CaptureLog::CaptureLog(std::string path, OnDamage on_damage)
    : path_(std::move(path)), on_damage_(on_damage), file_(std::make_unique<File>()) {
  file_->zipped = gzopen(path_.c_str(), "rb");
  if (file_->zipped == nullptr) throw Error(Place{path_}, "cannot read this file");
  gzbuffer(file_->zipped, 1 << 20);
  char preamble[kPreambleBytes];
  if (file_->read(preamble, sizeof preamble) != sizeof preamble ||
      std::memcmp(preamble, MOE_CAPTURE_MAGIC, 8) != 0) {
    throw Error(Place{path_}, "this is no log of traces/capture");
  }
  std::uint32_t version = 0;
  std::memcpy(&version, preamble + 8, 4);
  if (version != MOE_CAPTURE_LOG_VERSION) {
    throw Error(Place{path_}, fmt::format("a log of version {}; this program reads version {}",
                                          version, +MOE_CAPTURE_LOG_VERSION));
  }
  offset_ = kPreambleBytes;
  Frame frame;
  if (!read_frame(frame)) throw Error(Place{path_}, "the log is cut before its header ends");
  if (frame.kind != MOE_CAPTURE_FRAME_HEADER) fail("the first frame is no header");
  read_header(frame);
  offset_ += static_cast<std::int64_t>(frame.bytes.size() + 8);
}

CaptureLog::~CaptureLog() = default;

void CaptureLog::fail(const std::string& what) const {
  throw Error(Place{path_}, fmt::format("byte {}: {}", offset_, what),
              "the log is damaged there; --salvage imports what stands before");
}

bool CaptureLog::read_frame(Frame& frame) {
  char head[kFrameHeaderBytes];
  const std::size_t got = file_->read(head, sizeof head);
  cut_bytes_ = static_cast<std::int64_t>(got);
  const auto field = [&](std::size_t at) {
    std::uint32_t value = 0;
    std::memcpy(&value, head + at, 4);
    return value;
  };
  if (got >= 4 && field(0) != MOE_CAPTURE_FRAME_MARKER) fail("no frame begins here");
  if (got < sizeof head) return false;
  frame.kind = field(4);
  const std::size_t size = field(8);
  if (size > MOE_CAPTURE_MOST_FRAME_BYTES) fail("a frame of more than 1 MiB");
  frame.bytes.resize(8 + size);
  frame.at = 8;
  std::memcpy(frame.bytes.data(), head + 4, 8);
  const std::size_t payload = file_->read(frame.bytes.data() + 8, size);
  cut_bytes_ += static_cast<std::int64_t>(payload);
  if (payload < size) return false;
  cut_bytes_ = 0;
  const uLong crc = crc32(0, reinterpret_cast<const Bytef*>(frame.bytes.data()),
                          static_cast<uInt>(frame.bytes.size()));
  if (crc != field(12)) fail("the checksum of this frame is wrong");
  return true;
}

void CaptureLog::read_header(Frame& frame) {
  if (frame.left() < 20) fail("a header that is too short");
  const std::uint32_t layers = frame.u32();
  const std::uint32_t top_k = frame.u32();
  const std::uint32_t flags = frame.u32();
  const std::size_t model = frame.u32();
  const std::size_t provenance = frame.u32();
  if (layers < 1 || layers > kMostLayers || top_k < 1 || top_k > kMostChoices ||
      model > MOE_CAPTURE_MOST_TEXT_BYTES || provenance > MOE_CAPTURE_MOST_TEXT_BYTES ||
      frame.left() != 8 * std::size_t{layers} + model + provenance) {
    fail("a header with impossible sizes");
  }
  header_.top_k = static_cast<int>(top_k);
  header_.weights = flags & MOE_CAPTURE_WEIGHTS;
  header_.token_ids = flags & MOE_CAPTURE_TOKEN_IDS;
  header_.tags = flags & MOE_CAPTURE_TAGS;
  header_.requests = flags & MOE_CAPTURE_REQUESTS;
  frame.column(true, layers, header_.experts);
  frame.column(true, layers, header_.layer_numbers);
  for (std::size_t i = 0; i < layers; ++i) {
    if (header_.experts[i] < 1 || header_.experts[i] > kMostExperts ||
        header_.layer_numbers[i] < 0) {
      fail("a header with impossible layers");
    }
  }
  header_.model = printable(frame.text(model));
  header_.provenance = printable(frame.text(provenance));
}

void CaptureLog::read_tag(Frame& frame) {
  if (frame.left() < 4 || frame.u32() != tags_.size() || tags_.size() >= MOE_CAPTURE_MOST_TAGS) {
    fail("a tag out of turn");
  }
  tags_.push_back(printable(frame.text(frame.left())));
}

void CaptureLog::read_batch(Frame& frame) {
  if (frame.left() < 32) fail("a batch that is too short");
  CaptureBatch& b = batch_;
  b.step = frame.take<std::int64_t>();
  const std::uint32_t layer = frame.u32();
  const std::uint32_t rank = frame.u32();
  b.tokens = frame.u32();
  const std::size_t choices = frame.u32();
  const std::uint32_t columns = frame.u32();
  const std::uint32_t top_k = frame.u32();
  if (b.step < 0 || b.step > MOE_CAPTURE_MOST_STEP || layer >= header_.experts.size() ||
      rank > INT32_MAX || top_k < 1 || top_k > static_cast<std::uint32_t>(header_.top_k)) {
    fail("a batch with a step, layer, source rank or top-k that cannot be");
  }
  b.layer = static_cast<int>(layer);
  b.source_rank = static_cast<std::int32_t>(rank);
  const int experts = header_.experts[layer];
  const bool vary = columns & MOE_CAPTURE_CHOICES_VARY;
  const std::size_t width = experts > 256 ? 2 : 1;
  const std::size_t per_token = (columns & MOE_CAPTURE_TOKEN_IDS ? 8U : 0U) +
                                (columns & MOE_CAPTURE_REQUESTS ? 16U : 0U) +
                                (columns & MOE_CAPTURE_TAGS ? 4U : 0U) + (vary ? 1U : 0U);
  const std::size_t per_choice = width + (columns & MOE_CAPTURE_WEIGHTS ? 4 : 0);
  // (64-bit products of 32-bit numbers)
  if (frame.left() != b.tokens * per_token + choices * per_choice ||
      (!vary && choices != std::size_t{b.tokens} * top_k)) {
    fail("a batch whose sizes do not agree");
  }
  if (header_.weights != ((columns & MOE_CAPTURE_WEIGHTS) != 0)) fail("a batch without weights");
  frame.column(columns & MOE_CAPTURE_TOKEN_IDS, b.tokens, b.token_ids);
  frame.column(columns & MOE_CAPTURE_REQUESTS, b.tokens, b.requests);
  frame.column(columns & MOE_CAPTURE_REQUESTS, b.tokens, b.positions);
  frame.column(columns & MOE_CAPTURE_TAGS, b.tokens, b.tags);
  frame.column(columns & MOE_CAPTURE_WEIGHTS, choices, b.weights);
  if (width == 2) {
    frame.column(true, choices, b.choices);
  } else {
    const std::string_view ids = frame.text(choices);
    b.choices.resize(choices);
    for (std::size_t i = 0; i < choices; ++i) {
      b.choices[i] = static_cast<unsigned char>(ids[i]);
    }
  }
  frame.column(vary, b.tokens, b.choice_counts);
  if (!vary) b.choice_counts.assign(b.tokens, static_cast<std::uint8_t>(top_k));

  std::size_t sum = 0;
  for (const std::uint8_t count : b.choice_counts) {
    if (count > top_k) fail("a token with more choices than top-k");
    sum += count;
  }
  if (sum != choices) fail("a batch whose sizes do not agree");
  for (const std::uint16_t id : b.choices) {
    if (id >= experts) fail("an expert that this layer does not have");
  }
  for (const std::uint32_t tag : b.tags) {
    if (tag >= tags_.size()) fail("a tag without a name");
  }
  for (std::size_t i = 0; i < b.requests.size(); ++i) {
    if (b.requests[i] < 0 || b.positions[i] < 0) fail("a request or position below 0");
  }
}

void CaptureLog::read_drops(Frame& frame) {
  if (frame.left() != 60) fail("a frame of drops of the wrong size");
  drops_.write_error = frame.u32() == MOE_CAPTURE_REASON_WRITE_ERROR;
  drops_.batches = frame.take<std::uint64_t>();
  drops_.tokens = frame.take<std::uint64_t>();
  drops_.choices = frame.take<std::uint64_t>();
  drops_.first_step = frame.take<std::int64_t>();
  drops_.last_step = frame.take<std::int64_t>();
  drops_.first_layer = frame.u32();
  drops_.last_layer = frame.u32();
  drops_.first_rank = frame.u32();
  drops_.last_rank = frame.u32();
}

CaptureItem CaptureLog::next() {
  if (ended_) return CaptureItem::kEnd;
  try {
    Frame frame;
    while (read_frame(frame)) {
      CaptureItem item = CaptureItem::kEnd;
      switch (frame.kind) {
        case MOE_CAPTURE_FRAME_TAG:
          read_tag(frame);
          break;
        case MOE_CAPTURE_FRAME_BATCH:
          read_batch(frame);
          item = CaptureItem::kBatch;
          break;
        case MOE_CAPTURE_FRAME_DROPS:
          read_drops(frame);
          item = CaptureItem::kDrops;
          break;
        case MOE_CAPTURE_FRAME_END:
          closed_ = true;
          break;
        default:
          fail(fmt::format("a frame of the unknown kind {}", frame.kind));
      }
      offset_ += static_cast<std::int64_t>(frame.bytes.size() + 8);
      if (item != CaptureItem::kEnd) return item;
    }
  } catch (const Error& error) {
    if (on_damage_ == OnDamage::kThrow) throw;
    const std::string text = error.mistakes().front().message;
    damage_ = text;
  }
  ended_ = true;
  return CaptureItem::kEnd;
}

}  // namespace sim
