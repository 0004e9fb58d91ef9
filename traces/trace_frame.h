// The frames of a .moetrace file: fixed integers, checksum, compression. zlib and zstd stay in the
// .cpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sim {

inline constexpr std::string_view kTraceMagic = "MOETRACE";
inline constexpr std::string_view kTrailerMagic = "MOEINDEX";
inline constexpr std::uint64_t kPreambleBytes = 12;   // magic, version
inline constexpr std::uint64_t kFrameHeadBytes = 16;  // kind, stored size, raw size, CRC-32
inline constexpr std::uint64_t kTrailerBytes = 16;    // footer offset, magic

inline constexpr std::uint32_t kHeaderFrame = 1;
inline constexpr std::uint32_t kChunkFrame = 2;
inline constexpr std::uint32_t kFooterFrame = 3;

struct FrameHead {
  std::uint32_t kind = 0;
  std::uint32_t stored = 0;  // bytes that follow the head
  std::uint32_t raw = 0;     // bytes after decompression
  std::uint32_t crc = 0;     // of kind, stored, raw and the stored bytes
};

void put_u32(std::string& to, std::uint32_t value);
void put_u64(std::string& to, std::uint64_t value);
std::uint32_t get_u32(const char* from);
std::uint64_t get_u64(const char* from);

// Head and stored bytes of one frame. REQUIRES: message.size() < 4 GiB.
std::string make_frame(std::uint32_t kind, const std::string& message, int zstd_level);
FrameHead parse_frame_head(const char* bytes);  // kFrameHeadBytes of them
std::uint32_t frame_crc(const FrameHead& head, std::string_view stored);
// False when `stored` does not decompress to exactly head.raw bytes.
bool decompress_frame(const FrameHead& head, std::string_view stored, std::string& raw);

}  // namespace sim
