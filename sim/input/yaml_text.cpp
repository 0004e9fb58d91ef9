#include "sim/input/yaml_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace sim {

std::string yaml_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 32 || byte == 127) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string yaml_scalar(std::string_view text) {
  static constexpr std::array<std::string_view, 9> kWords = {
      "true", "false", "yes", "no", "on", "off", "null", "y", "n"};  // not texts to some readers
  std::string small(text);
  for (char& c : small) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  const bool plain =
      !small.empty() && small.front() >= 'a' && small.front() <= 'z' &&
      small.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789._-") == std::string::npos &&
      std::find(kWords.begin(), kWords.end(), small) == kWords.end();
  return plain ? std::string(text) : yaml_quoted(text);
}

}  // namespace sim
