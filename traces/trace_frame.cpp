#include "traces/trace_frame.h"

#include <zlib.h>
#include <zstd.h>

#include <limits>

#include "sim/core/error.h"

namespace sim {

void put_u32(std::string& to, std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) to.push_back(static_cast<char>(value >> shift));
}

void put_u64(std::string& to, std::uint64_t value) {
  put_u32(to, static_cast<std::uint32_t>(value));
  put_u32(to, static_cast<std::uint32_t>(value >> 32));
}

std::uint32_t get_u32(const char* from) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(from[i]);
  return value;
}

std::uint64_t get_u64(const char* from) {
  return get_u32(from) | static_cast<std::uint64_t>(get_u32(from + 4)) << 32;
}

std::uint32_t frame_crc(const FrameHead& head, std::string_view stored) {
  std::string fields;
  put_u32(fields, head.kind);
  put_u32(fields, head.stored);
  put_u32(fields, head.raw);
  const uLong start = crc32_z(0, reinterpret_cast<const Bytef*>(fields.data()), fields.size());
  return static_cast<std::uint32_t>(
      crc32_z(start, reinterpret_cast<const Bytef*>(stored.data()), stored.size()));
}

std::string make_frame(std::uint32_t kind, const std::string& message, int zstd_level) {
  SIM_CHECK(message.size() < std::numeric_limits<std::uint32_t>::max() / 2, "a frame is bounded");
  std::string stored(ZSTD_compressBound(message.size()), '\0');
  const std::size_t size =
      ZSTD_compress(stored.data(), stored.size(), message.data(), message.size(), zstd_level);
  SIM_CHECK(!ZSTD_isError(size), "zstd compresses into its own bound");
  stored.resize(size);
  FrameHead head{kind, static_cast<std::uint32_t>(size), static_cast<std::uint32_t>(message.size()),
                 0};
  head.crc = frame_crc(head, stored);
  std::string frame;
  frame.reserve(kFrameHeadBytes + stored.size());
  put_u32(frame, head.kind);
  put_u32(frame, head.stored);
  put_u32(frame, head.raw);
  put_u32(frame, head.crc);
  frame += stored;
  return frame;
}

FrameHead parse_frame_head(const char* bytes) {
  return {get_u32(bytes), get_u32(bytes + 4), get_u32(bytes + 8), get_u32(bytes + 12)};
}

bool decompress_frame(const FrameHead& head, std::string_view stored, std::string& raw) {
  raw.resize(head.raw);
  const std::size_t size = ZSTD_decompress(raw.data(), raw.size(), stored.data(), stored.size());
  return !ZSTD_isError(size) && size == head.raw;
}

}  // namespace sim
