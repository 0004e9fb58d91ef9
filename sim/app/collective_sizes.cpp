#include "sim/app/collective_sizes.h"

#include <fmt/format.h>

#include <cmath>
#include <optional>
#include <string_view>

#include "sim/input/quantity.h"

namespace sim {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c == separator) {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

std::optional<std::int64_t> bytes_of(const std::string& word, std::string& mistake) {
  static constexpr std::string_view kSuffixes = "KMG";
  if (const auto count = parse_count(word)) return count;
  const char last = word.empty() ? ' ' : word.back();
  const std::size_t power = kSuffixes.find(last >= 'a' ? static_cast<char>(last - 32) : last);
  if (power != std::string_view::npos) {
    const auto number = parse_number(std::string_view(word).substr(0, word.size() - 1));
    const double bytes = number.value_or(-1) * std::pow(1024.0, static_cast<double>(power + 1));
    if (number && std::fabs(bytes) < 9e18 && bytes == std::floor(bytes)) {
      return static_cast<std::int64_t>(bytes);
    }
  }
  if (const auto bytes = parse_bytes(word, mistake)) return bytes->count();
  mistake = fmt::format("'{}' is not a size; write it like 4096, 8M, '16 MB' or 8:128M:2", word);
  return std::nullopt;
}

std::optional<std::int64_t> tokens_of(const std::string& word, std::string& mistake) {
  if (const auto count = parse_count(word)) return count;
  mistake = fmt::format("'{}' is not a count of tokens; write it like 128 or 1:4096:2", word);
  return std::nullopt;
}

class SizeReader {
 public:
  using Parse = std::optional<std::int64_t>(const std::string&, std::string&);
  SizeReader(Parse* parse, std::int64_t most, std::string_view unit, Place place,
             Mistakes& mistakes)
      : parse_(parse), most_(most), unit_(unit), place_(std::move(place)), mistakes_(mistakes) {}

  std::vector<std::int64_t> read(const std::string& text) {
    for (const std::string& word : split(text, ',')) {
      const std::vector<std::string> range = split(word, ':');
      if (range.size() == 1) {
        if (const auto size = one(word)) add(*size);
      } else if (range.size() == 3) {
        read_range(range);
      } else {
        mistakes_.add(place_, fmt::format("'{}' is not a range", word),
                      "write begin:end:factor, like 8:128M:2");
      }
      if (failed_) break;
    }
    return std::move(sizes_);
  }

 private:
  std::optional<std::int64_t> one(const std::string& word) {
    std::string why;
    const auto size = parse_(word, why);
    if (!size) {
      mistakes_.add(place_, why);
    } else if (*size < 1) {
      mistakes_.add(place_, fmt::format("'{}': at least 1", word));
    } else if (*size > most_) {
      mistakes_.add(place_, fmt::format("'{}': at most {} {}", word, most_, unit_));
    } else {
      return size;
    }
    failed_ = true;
    return std::nullopt;
  }
  void read_range(const std::vector<std::string>& words) {
    const auto begin = one(words[0]);
    const auto end = one(words[1]);
    const auto factor = parse_number(words[2]);
    if (!factor || !(*factor > 1)) {
      mistakes_.add(place_, fmt::format("'{}' is not a factor above 1", words[2]),
                    "write begin:end:factor, like 8:128M:2");
      failed_ = true;
    }
    if (failed_) return;
    if (*end < *begin) {
      mistakes_.add(place_, fmt::format("the range {}:{} is empty", words[0], words[1]));
      failed_ = true;
    }
    double next = static_cast<double>(*begin);
    while (!failed_ && next <= static_cast<double>(*end)) {
      const auto size = static_cast<std::int64_t>(next);
      add(size);
      next = std::max(std::floor(next * *factor), static_cast<double>(size + 1));
    }
  }
  void add(std::int64_t size) {
    if (sizes_.size() == kMostSizes) {
      mistakes_.add(place_, fmt::format("more than {} sizes", kMostSizes));
      failed_ = true;
      return;
    }
    sizes_.push_back(size);
  }

  Parse* parse_;
  std::int64_t most_;
  std::string_view unit_;
  Place place_;
  Mistakes& mistakes_;
  std::vector<std::int64_t> sizes_;
  bool failed_ = false;
};

}  // namespace

std::vector<std::int64_t> read_byte_sizes(const std::string& text, const std::string& option,
                                          Mistakes& mistakes) {
  return SizeReader(&bytes_of, kMostBytes, "bytes", Place{option}, mistakes).read(text);
}

std::vector<std::int64_t> read_token_counts(const std::string& text, const std::string& option,
                                            Mistakes& mistakes) {
  return SizeReader(&tokens_of, kMostTokens, "tokens", Place{option}, mistakes).read(text);
}

}  // namespace sim
