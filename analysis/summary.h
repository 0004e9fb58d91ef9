// Layout of text for people: headings, aligned tables, bars. Values in, text out; every line ends
// with a newline. Durations and bytes are formatted by sim/core/units.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sim {

enum class Align { kLeft, kRight };

class TextTable {
 public:
  // Columns from left to right; a heading of "" everywhere prints no heading line.
  void add_column(std::string heading, Align align = Align::kLeft);
  void add_row(std::vector<std::string> cells);  // REQUIRES: one cell per column
  // Two spaces between columns; cells longer than `widest` characters end in "…"; line breaks and
  // other control characters in a cell become spaces.
  std::string text(std::size_t widest = 48) const;

 private:
  std::vector<std::string> headings_;
  std::vector<Align> aligns_;
  std::vector<std::vector<std::string>> rows_;
};

std::string heading(std::string_view text);  // the text, underlined
std::string percent(double share);           // 0.1234 -> "12.3 %"; above 0, never "0.0 %": "<0.1 %"
// `share` of `width` characters, in eighths of a character: "██▌". Cut to [0, 1].
std::string share_bar(double share, int width);

// Characters (code points) in UTF-8 text: its width on a terminal, for the texts we print.
std::size_t text_width(std::string_view text);

}  // namespace sim
