#include "sim/input/text_file.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>
#include <utility>

namespace sim {
namespace {

constexpr std::size_t kReadBytes = 256 << 10;

void require_file(const std::string& path) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(path, failed)) {
    throw Error(Place{path}, "there is no such file");
  }
}

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> fields;
  for (std::size_t begin = 0;;) {
    const std::size_t end = line.find(',', begin);
    fields.push_back(line.substr(begin, end - begin));
    if (end == std::string_view::npos) return fields;
    begin = end + 1;
  }
}

}  // namespace

struct TextFile::Zipped {
  explicit Zipped(const std::string& path) : handle(gzopen(path.c_str(), "rb")) {
    if (handle != nullptr) gzbuffer(handle, kReadBytes);
  }
  ~Zipped() {
    if (handle != nullptr) gzclose_r(handle);
  }
  Zipped(const Zipped&) = delete;
  Zipped& operator=(const Zipped&) = delete;
  gzFile handle;
};

std::string read_head(const std::string& path, std::size_t bytes) {
  require_file(path);
  const gzFile handle = gzopen(path.c_str(), "rb");
  if (handle == nullptr) throw Error(Place{path}, "cannot read this file");
  std::string head(bytes, '\0');
  const int got = gzread(handle, head.data(), static_cast<unsigned>(bytes));
  gzclose_r(handle);
  head.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return head;
}

TextFile::TextFile(std::string path, std::size_t most_line_bytes)
    : path_(std::move(path)), most_line_bytes_(most_line_bytes) {
  require_file(path_);
  file_ = std::make_unique<Zipped>(path_);
  if (file_->handle == nullptr) throw Error(Place{path_}, "cannot read this file");
}

TextFile::~TextFile() = default;

Place TextFile::place(std::string_view at) const {
  int column = 1;
  if (at.data() >= current_.data() && at.data() <= current_.data() + current_.size()) {
    column += static_cast<int>(at.data() - current_.data());
  }
  return {path_, line_, column};
}

void TextFile::fail(std::string_view at, std::string message, std::string hint) const {
  throw Error(place(at), std::move(message), std::move(hint));
}

bool TextFile::refill() {
  if (ended_) return false;
  buffer_.erase(0, begin_);
  searched_ -= begin_;
  begin_ = 0;
  if (buffer_.size() > most_line_bytes_) {
    throw Error(Place{path_, line_ + 1, 0},
                fmt::format("this line is longer than {} MiB", most_line_bytes_ >> 20),
                "is it a text file of the format you named?");
  }
  const std::size_t before = buffer_.size();
  buffer_.resize(before + kReadBytes);
  const int got = gzread(file_->handle, buffer_.data() + before, kReadBytes);
  int code = Z_OK;
  const char* why = gzerror(file_->handle, &code);
  if (got < 0 || (code != Z_OK && code != Z_STREAM_END)) {
    throw Error(Place{path_, line_ + 1, 0}, fmt::format("cannot unzip this file: {}", why),
                "it is damaged or cut short");
  }
  buffer_.resize(before + static_cast<std::size_t>(got));
  ended_ = got == 0;
  return !ended_;
}

bool TextFile::next(std::string_view& line) {
  std::size_t end;
  while ((end = buffer_.find('\n', searched_)) == std::string::npos) {
    searched_ = buffer_.size();
    if (refill()) continue;
    if (begin_ == buffer_.size()) return false;
    end = buffer_.size();  // a last line without its end
    break;
  }
  current_ = std::string_view(buffer_).substr(begin_, end - begin_);
  begin_ = std::min(end + 1, buffer_.size());
  searched_ = begin_;
  if (line_ == 0 && current_.starts_with("\xef\xbb\xbf")) current_.remove_prefix(3);
  if (!current_.empty() && current_.back() == '\r') current_.remove_suffix(1);
  ++line_;
  line = current_;
  return true;
}

CsvFile::CsvFile(std::string path) : file_(std::move(path)) {
  std::string_view line;
  if (!file_.next(line) || line.empty()) {
    throw Error(Place{file_.path(), 1, 1}, "there is no line of column names");
  }
  for (const std::string_view name : split(line)) columns_.emplace_back(name);
}

bool CsvFile::has(std::string_view name) const {
  return std::find(columns_.begin(), columns_.end(), name) != columns_.end();
}

std::size_t CsvFile::column(std::string_view name) const {
  const auto found = std::find(columns_.begin(), columns_.end(), name);
  if (found == columns_.end()) {
    std::string names;
    for (const std::string& c : columns_) names += (names.empty() ? "" : ", ") + c;
    throw Error(Place{file_.path(), 1, 1}, fmt::format("there is no column '{}'", name),
                fmt::format("there are: {}", names.substr(0, 400)));
  }
  return static_cast<std::size_t>(found - columns_.begin());
}

bool CsvFile::next() {
  std::string_view line;
  do {
    if (!file_.next(line)) return false;
  } while (line.empty());
  fields_ = split(line);
  if (fields_.size() != columns_.size()) {
    file_.fail(line, fmt::format("{} fields in this row, there are {} columns", fields_.size(),
                                 columns_.size()));
  }
  return true;
}

void CsvFile::fail(std::size_t column, std::string message, std::string hint) const {
  file_.fail(fields_[column], fmt::format("{}: {}", columns_[column], message), std::move(hint));
}

Place CsvFile::place(std::size_t column) const { return file_.place(fields_[column]); }

std::int64_t CsvFile::count(std::size_t column, std::int64_t most) const {
  const std::string_view field = fields_[column];
  std::int64_t value = 0;
  const auto [end, failed] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (failed != std::errc{} || end != field.data() + field.size() || value < 0 || value > most) {
    fail(column, fmt::format("'{}' is not a whole number from 0 to {}", field, most));
  }
  return value;
}

double CsvFile::number(std::size_t column, double least, double most) const {
  const std::string_view field = fields_[column];
  double value = 0;
  const auto [end, failed] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (failed != std::errc{} || end != field.data() + field.size() ||
      !(value >= least && value <= most)) {
    fail(column, fmt::format("'{}' is not a number from {} to {}", field, least, most));
  }
  return value;
}

int CsvFile::experts(std::size_t column, int experts, int most,
                     std::vector<std::uint16_t>& out) const {
  const char* at = fields_[column].data();
  const char* const end = at + fields_[column].size();
  const std::size_t first = out.size();
  while (at < end) {
    if (*at == ' ') {
      ++at;
      continue;
    }
    int id = 0;
    const auto [stop, failed] = std::from_chars(at, end, id);
    const std::string_view place(at, static_cast<std::size_t>(end - at));
    const std::string_view word = place.substr(0, place.find(' '));
    if (failed != std::errc{} || stop != word.data() + word.size()) {
      file_.fail(place, fmt::format("{}: '{}' is not an expert id", columns_[column], word));
    }
    if (id < 0 || id >= experts) {
      file_.fail(
          place,
          fmt::format("{}: expert {} of a layer with {} experts", columns_[column], id, experts),
          "ids count from 0; --experts gives another number");
    }
    if (std::find(out.begin() + static_cast<long>(first), out.end(), id) != out.end()) {
      file_.fail(place, fmt::format("{}: expert {} twice for one token", columns_[column], id));
    }
    out.push_back(static_cast<std::uint16_t>(id));
    if (out.size() - first > static_cast<std::size_t>(most)) {
      file_.fail(place,
                 fmt::format("{}: more than {} experts for one token", columns_[column], most));
    }
    at = stop;
  }
  return static_cast<int>(out.size() - first);
}

int CsvFile::numbers(std::size_t column, std::vector<float>& out) const {
  const char* at = fields_[column].data();
  const char* const end = at + fields_[column].size();
  const std::size_t first = out.size();
  while (at < end) {
    if (*at == ' ') {
      ++at;
      continue;
    }
    float value = 0;
    const auto [stop, failed] = std::from_chars(at, end, value);
    if (failed != std::errc{} || !std::isfinite(value) || (stop != end && *stop != ' ')) {
      const std::string_view place(at, static_cast<std::size_t>(end - at));
      file_.fail(place, fmt::format("{}: '{}' is not a number", columns_[column],
                                    place.substr(0, place.find(' '))));
    }
    out.push_back(value);
    at = stop;
  }
  return static_cast<int>(out.size() - first);
}

}  // namespace sim
