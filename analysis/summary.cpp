#include "analysis/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/core/error.h"

namespace sim {
namespace {

bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }

std::string cut(std::string_view text, std::size_t widest) {
  std::string line(text);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20U || c == 0x7F) c = ' ';
  }
  if (text_width(line) <= widest) return line;
  std::size_t characters = 0;
  std::size_t end = 0;
  while (end < line.size()) {
    if (starts_character(line[end]) && ++characters == widest) break;
    ++end;
  }
  return line.substr(0, end) + "…";
}

std::string padded(const std::string& text, std::size_t width, Align align) {
  const std::string space(width - std::min(width, text_width(text)), ' ');
  return align == Align::kLeft ? text + space : space + text;
}

}  // namespace

std::size_t text_width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), starts_character));
}

void TextTable::add_column(std::string heading, Align align) {
  SIM_CHECK(rows_.empty(), "columns come before rows");
  headings_.push_back(std::move(heading));
  aligns_.push_back(align);
}

void TextTable::add_row(std::vector<std::string> cells) {
  SIM_CHECK(cells.size() == headings_.size(), "one cell per column");
  rows_.push_back(std::move(cells));
}

std::string TextTable::text(std::size_t widest) const {
  SIM_CHECK(widest > 0, "a cell has room for one character");
  std::vector<std::size_t> width;
  for (const std::string& heading : headings_) width.push_back(text_width(heading));
  std::vector<std::vector<std::string>> lines;
  const bool headed = std::any_of(headings_.begin(), headings_.end(),
                                  [](const std::string& heading) { return !heading.empty(); });
  if (headed) lines.push_back(headings_);
  for (const auto& row : rows_) {
    lines.emplace_back();
    for (std::size_t c = 0; c < row.size(); ++c) {
      lines.back().push_back(cut(row[c], widest));
      width[c] = std::max(width[c], text_width(lines.back().back()));
    }
  }
  std::string result;
  for (const auto& line : lines) {
    std::string out;
    for (std::size_t c = 0; c < line.size(); ++c) {
      if (c > 0) out += "  ";
      out += padded(line[c], width[c], aligns_[c]);
    }
    out.erase(out.find_last_not_of(' ') + 1);
    result += out + "\n";
  }
  return result;
}

std::string heading(std::string_view text) {
  return fmt::format("{}\n{}\n", text, std::string(text_width(text), '-'));
}

std::string percent(double share) {
  if (share > 0 && share < 0.0005) return "<0.1 %";
  return fmt::format("{:.1f} %", 100 * share);
}

std::string share_bar(double share, int width) {
  static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  if (!(share > 0)) return "";
  const int eighths = static_cast<int>(std::lround(std::min(share, 1.0) * width * 8));
  std::string bar;
  for (int i = 0; i < eighths / 8; ++i) bar += "█";
  return bar + kEighths[eighths % 8];
}

}  // namespace sim
