#include "tests/fuzz/mutate.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace sim::fuzz {
namespace {

constexpr std::size_t kMostBytes = 64 << 10;

// Texts at which readers of numbers and structures go wrong.
constexpr std::array<std::string_view, 30> kTexts = {"-1",
                                                     "0",
                                                     "1",
                                                     "255",
                                                     "256",
                                                     "65535",
                                                     "65536",
                                                     "4294967296",
                                                     "9223372036854775807",
                                                     "-9223372036854775808",
                                                     "18446744073709551616",
                                                     "1e308",
                                                     "1e-308",
                                                     "nan",
                                                     "inf",
                                                     "-0",
                                                     "0x10",
                                                     "[",
                                                     "]",
                                                     "{",
                                                     "}",
                                                     ",",
                                                     "\n",
                                                     "\"",
                                                     ":",
                                                     " ",
                                                     "null",
                                                     "true",
                                                     "\xff",
                                                     "\xef\xbb\xbf"};

std::size_t at(const std::string& text, RandomStream& random) {
  return random.below(text.size() + 1);
}

void replace_number(std::string& text, RandomStream& random) {
  const std::size_t digit = text.find_first_of("0123456789", at(text, random));
  if (digit == text.npos) return;
  const std::size_t end = std::min(text.find_first_not_of("0123456789", digit), text.size());
  text.replace(digit, end - digit, kTexts[random.below(17)]);
}

void change(std::string& text, const std::vector<std::string>& seeds, RandomStream& random) {
  const std::size_t place = at(text, random);
  const std::size_t length = std::min<std::size_t>(text.size() - place, 1 + random.below(32));
  switch (random.below(9)) {
    case 0:
      if (place < text.size()) text[place] ^= static_cast<char>(1U << random.below(8));
      break;
    case 1:
      if (place < text.size()) text[place] = static_cast<char>(random.below(256));
      break;
    case 2:
      text.insert(place, kTexts[random.below(kTexts.size())]);
      break;
    case 3:
      text.erase(place, length);
      break;
    case 4:
      text.insert(at(text, random), text.substr(place, length));
      break;
    case 5: {  // a piece of another seed
      const std::string& other = seeds[random.below(seeds.size())];
      const std::size_t from = at(other, random);
      text.insert(place, other.substr(from, 1 + random.below(64)));
      break;
    }
    case 6:
      text.resize(place);
      break;
    default:
      replace_number(text, random);
  }
}

}  // namespace

std::string mutated(const std::vector<std::string>& seeds, RandomStream& random) {
  std::string text = seeds[random.below(seeds.size())];
  const std::size_t changes = 1 + random.below(6);
  for (std::size_t i = 0; i < changes; ++i) change(text, seeds, random);
  if (text.size() > kMostBytes) text.resize(kMostBytes);
  return text;
}

}  // namespace sim::fuzz
