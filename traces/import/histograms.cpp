#include "traces/import/histograms.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "sim/core/error.h"
#include "traces/trace_file.h"

namespace sim {
namespace {
constexpr std::size_t kMostBytes = std::size_t{1} << 30;
}

std::size_t Histograms::tag_number(const std::string& tag) {
  const auto [found, added] = tag_numbers_.try_emplace(tag, tags_.size());
  if (added) tags_.push_back(tag);
  return found->second;
}

std::vector<std::int64_t>& Histograms::at(const std::string& tag, int layer_number,
                                          std::int64_t step) {
  Cell& cell = cells_[{step, tag_number(tag), layer_number}];
  if (cell.counts.empty()) {
    if (cells_.size() > kMostBytes / (kCountCellBytes + 8 * static_cast<std::size_t>(experts_))) {
      throw Error("the counts of this file need more than 1 GiB", "split it by tag or step");
    }
    cell.counts.assign(static_cast<std::size_t>(experts_), 0);
  }
  return cell.counts;
}

void Histograms::set_tokens(const std::string& tag, int layer_number, std::int64_t tokens) {
  cells_[{0, tag_number(tag), layer_number}].tokens = tokens;
}

void Histograms::set_all_tokens(int top_k) {
  for (auto& [key, cell] : cells_) {
    const std::int64_t sum =
        std::accumulate(cell.counts.begin(), cell.counts.end(), std::int64_t{0});
    cell.tokens = sum % top_k == 0 ? sum / top_k : 0;
  }
}

std::int64_t Histograms::write(const std::string& path, TraceHeader header) const {
  std::set<int> numbers;
  for (const auto& [key, cell] : cells_) numbers.insert(std::get<2>(key));
  header.kind = TraceKind::kCounts;
  header.layer_numbers.assign(numbers.begin(), numbers.end());
  header.experts.assign(numbers.size(), experts_);
  header.has_tags =
      std::any_of(tags_.begin(), tags_.end(), [](const std::string& t) { return !t.empty(); });
  TraceWriter writer(path, header);
  if (header.has_tags) {
    for (const std::string& tag : tags_) writer.tag(tag);
  }
  for (const auto& [key, cell] : cells_) {
    const auto& [step, tag, number] = key;
    const auto layer = std::distance(numbers.begin(), numbers.find(number));
    CountRow row;
    row.step = step;
    row.tag = header.has_tags ? static_cast<std::uint32_t>(tag) : 0;
    row.layer = static_cast<int>(layer);
    row.tokens = cell.tokens;
    row.counts = cell.counts;
    writer.append(row);
  }
  writer.finish();
  return writer.rows();
}

}  // namespace sim
