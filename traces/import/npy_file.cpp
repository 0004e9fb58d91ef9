#include "traces/import/npy_file.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <optional>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr std::size_t kMostHeaderBytes = 64 << 10;
constexpr std::int64_t kMostNumbers = std::int64_t{1} << 40;
constexpr std::size_t kMostDimensions = 8;

static_assert(std::endian::native == std::endian::little, "numbers are read as they lie");

// The header is a Python dictionary with three keys. Only what NumPy writes is read: no other
// expression of Python.
class Literal {
 public:
  explicit Literal(std::string_view text) : rest_(text) {}

  bool take(std::string_view word) {
    skip_blanks();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  std::optional<std::string> text() {
    if (!take("'")) return std::nullopt;
    const std::size_t end = rest_.find('\'');
    if (end == rest_.npos) return std::nullopt;
    const std::string found(rest_.substr(0, end));
    rest_.remove_prefix(end + 1);
    return found;
  }
  std::optional<std::int64_t> number() {
    skip_blanks();
    std::int64_t value = 0;
    const auto [end, failed] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (failed != std::errc{} || value < 0) return std::nullopt;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return value;
  }
  bool at_end() {
    skip_blanks();
    return rest_.empty();
  }

 private:
  void skip_blanks() {
    const std::size_t first = rest_.find_first_not_of(" \n");
    rest_.remove_prefix(std::min(first, rest_.size()));
  }
  std::string_view rest_;
};

double half(std::uint16_t bits) {
  const int exponent = (bits >> 10U) & 31;
  const int mantissa = bits & 1023;
  const double sign = (bits & 0x8000U) != 0 ? -1 : 1;
  if (exponent == 31) return mantissa == 0 ? sign * INFINITY : NAN;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

template <class T>
double as(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return static_cast<double>(value);
}

double decode(char kind, int width, const char* bytes) {
  switch (kind) {
    case 'i':
      if (width == 1) return as<std::int8_t>(bytes);
      if (width == 2) return as<std::int16_t>(bytes);
      if (width == 4) return as<std::int32_t>(bytes);
      return as<std::int64_t>(bytes);
    case 'u':
      if (width == 1) return as<std::uint8_t>(bytes);
      if (width == 2) return as<std::uint16_t>(bytes);
      if (width == 4) return as<std::uint32_t>(bytes);
      return as<std::uint64_t>(bytes);
    default:
      if (width == 4) return as<float>(bytes);
      if (width == 8) return as<double>(bytes);
      std::uint16_t bits;
      std::memcpy(&bits, bytes, 2);
      return half(bits);
  }
}

}  // namespace

struct NpyFile::Zipped {
  explicit Zipped(const std::string& path) : handle(gzopen(path.c_str(), "rb")) {}
  ~Zipped() {
    if (handle != nullptr) gzclose_r(handle);
  }
  Zipped(const Zipped&) = delete;
  Zipped& operator=(const Zipped&) = delete;
  gzFile handle;
};

bool is_npy(std::string_view head) { return head.starts_with(kMagic); }

NpyFile::NpyFile(std::string path) : path_(std::move(path)) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(path_, failed)) fail("there is no such file");
  file_ = std::make_unique<Zipped>(path_);
  if (file_->handle == nullptr) fail("cannot read this file");
  char start[8];
  read_bytes(start, 8, "its first bytes");
  if (!is_npy({start, 8})) fail("this is not a .npy file", "numpy.save writes one");
  const int version = static_cast<unsigned char>(start[6]);
  if (version < 1 || version > 3 || start[7] != 0) {
    fail(fmt::format("version {}.{} of .npy, 1.0 to 3.0 are known", version,
                     static_cast<unsigned char>(start[7])));
  }
  unsigned char length[4] = {};
  read_bytes(reinterpret_cast<char*>(length), version == 1 ? 2 : 4, "its header");
  const std::size_t bytes = length[0] | std::size_t{length[1]} << 8U |
                            std::size_t{length[2]} << 16U | std::size_t{length[3]} << 24U;
  if (bytes > kMostHeaderBytes) fail(fmt::format("a header of {} bytes", bytes));
  std::string header(bytes, '\0');
  read_bytes(header.data(), bytes, "its header");
  parse_header(header);
}

NpyFile::~NpyFile() = default;

void NpyFile::fail(const std::string& message, const std::string& hint) const {
  throw Error(Place{path_}, message, hint);
}

void NpyFile::read_bytes(char* to, std::size_t bytes, const char* what) {
  const int got = gzread(file_->handle, to, static_cast<unsigned>(bytes));
  int code = Z_OK;
  gzerror(file_->handle, &code);
  if (got < 0 || (code != Z_OK && code != Z_STREAM_END)) {
    fail("cannot unzip this file", "it is damaged or cut short");
  }
  if (static_cast<std::size_t>(got) != bytes) {
    fail(fmt::format("the file ends inside {}", what), "it is cut short");
  }
}

void NpyFile::parse_header(std::string_view header) {
  Literal text(header);
  const auto expect = [&](bool right) {
    if (right) return;
    fail("the header is not {'descr': ..., 'fortran_order': ..., 'shape': (...), }",
         "numpy.save writes it so");
  };
  expect(text.take("{") && text.take("'descr':"));
  if (text.take("[")) fail("an array of records", "save one field of it");
  const std::optional<std::string> type = text.text();
  expect(type.has_value() && text.take(",") && text.take("'fortran_order':"));
  fortran_order_ = text.take("True");
  expect((fortran_order_ || text.take("False")) && text.take(",") && text.take("'shape':") &&
         text.take("("));
  std::int64_t numbers = 1;
  while (!text.take(")")) {
    const std::optional<std::int64_t> size = text.number();
    expect(size.has_value() && shape_.size() < kMostDimensions);
    shape_.push_back(*size);
    if (*size > 0 && numbers > kMostNumbers / *size) fail("an array of more than 2^40 numbers");
    numbers *= std::max<std::int64_t>(*size, 1);
    if (text.take(",")) continue;
    expect(text.take(")") && shape_.size() > 1);
    break;
  }
  text.take(",");
  expect(text.take("}") && text.at_end());
  type_ = *type;
  const std::string hint = "whole numbers or floats of a little-endian machine: <i8, <u4, <f4, ...";
  if (type_.size() != 3 || (type_[0] != '<' && type_[0] != '|') ||
      std::string_view("iuf").find(type_[1]) == std::string_view::npos) {
    fail(fmt::format("an array of type '{}'", type_), hint);
  }
  kind_ = type_[1];
  width_ = type_[2] - '0';
  const bool known = width_ == 2 || width_ == 4 || width_ == 8 || (width_ == 1 && kind_ != 'f');
  if (!known || (type_[0] == '|') != (width_ == 1)) {
    fail(fmt::format("an array of type '{}'", type_), hint);
  }
}

void NpyFile::read(std::size_t count, std::vector<double>& to) {
  // In pieces: what the header claims is never allocated before the file has it.
  constexpr std::size_t kPiece = 64 << 10;
  to.clear();
  while (to.size() < count) {
    const std::size_t piece = std::min(kPiece, count - to.size());
    bytes_.resize(piece * static_cast<std::size_t>(width_));
    read_bytes(bytes_.data(), bytes_.size(), "its numbers");
    for (std::size_t i = 0; i < piece; ++i) {
      to.push_back(decode(kind_, width_, bytes_.data() + i * static_cast<std::size_t>(width_)));
    }
  }
}

void NpyFile::expect_end() {
  char byte;
  if (gzread(file_->handle, &byte, 1) > 0) fail("something follows the last number of the array");
}

}  // namespace sim
