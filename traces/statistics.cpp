#include "traces/statistics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "sim/core/error.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

constexpr std::size_t kMostCounters = std::size_t{1} << 27;  // 1 GiB of int64

// Counters of one (step, tag), every layer.
struct Group {
  std::vector<std::vector<std::int64_t>> counts;  // per layer
  std::vector<std::int64_t> tokens;               // per layer
};
using GroupKey = std::pair<std::int64_t, std::uint32_t>;  // (step, tag)

class Groups {
 public:
  Groups(const TraceHeader& header, std::string path) : header_(header), path_(std::move(path)) {}

  Group& at(GroupKey key) {
    const auto [found, added] = groups_.try_emplace(key);
    if (added) {
      for (const int experts : header_.experts) {
        counters_ += static_cast<std::size_t>(experts);
        if (counters_ > kMostCounters) {
          throw Error(Place{path_}, "statistics of so many steps need more than 1 GiB",
                      "ask for the whole trace, or cut it");
        }
        found->second.counts.emplace_back(static_cast<std::size_t>(experts), 0);
        found->second.tokens.push_back(0);
      }
    }
    return found->second;
  }
  const std::map<GroupKey, Group>& all() const { return groups_; }

 private:
  const TraceHeader& header_;
  std::string path_;
  std::map<GroupKey, Group> groups_;
  std::size_t counters_ = 0;
};

void add_run(const TokenChunk& chunk, int first, int last, Group& group) {
  for (int layer = 0; layer < chunk.layers; ++layer) {
    const ChoiceColumn column = chunk.column(layer);
    std::vector<std::int64_t>& counts = group.counts[static_cast<std::size_t>(layer)];
    const std::size_t end = column.begin(last);
    for (std::size_t i = column.begin(first); i < end; ++i) ++counts[column.at(i)];
    group.tokens[static_cast<std::size_t>(layer)] += last - first;
  }
}

void count_tokens(TraceReader& reader, StatisticsBy by, Groups& groups) {
  TokenChunk chunk;
  while (reader.next(chunk)) {
    if (by == StatisticsBy::kWhole) {
      Group& group = groups.at({0, 0});
      for (int layer = 0; layer < chunk.layers; ++layer) {
        count_choices(chunk, layer, group.counts[static_cast<std::size_t>(layer)]);
        group.tokens[static_cast<std::size_t>(layer)] += chunk.rows;
      }
      continue;
    }
    const auto key = [&](int row) {
      const std::size_t r = static_cast<std::size_t>(row);
      return by == StatisticsBy::kStep ? GroupKey{chunk.step[r], 0} : GroupKey{0, chunk.tag[r]};
    };
    int first = 0;  // rows of one group often follow one another
    for (int row = 1; row <= chunk.rows; ++row) {
      if (row < chunk.rows && key(row) == key(first)) continue;
      add_run(chunk, first, row, groups.at(key(first)));
      first = row;
    }
  }
}

void count_histograms(TraceReader& reader, StatisticsBy by, Groups& groups) {
  std::vector<CountRow> rows;
  while (reader.next(rows)) {
    for (const CountRow& row : rows) {
      std::int64_t sum = 0;
      for (const std::int64_t c : row.counts) sum += c;
      if (by != StatisticsBy::kTag && row.tokens > 0 && sum != row.tokens * reader.header().top_k) {
        continue;
      }
      const GroupKey key{by == StatisticsBy::kStep ? row.step : 0,
                         by == StatisticsBy::kTag ? row.tag : 0};
      Group& group = groups.at(key);
      std::vector<std::int64_t>& counts = group.counts[static_cast<std::size_t>(row.layer)];
      for (std::size_t e = 0; e < counts.size(); ++e) counts[e] += row.counts[e];
      group.tokens[static_cast<std::size_t>(row.layer)] += row.tokens;
    }
  }
}

// Four tables, so that equal neighbours do not wait for one another's store.
void count_bytes(const unsigned char* bytes, std::size_t n, std::span<std::int64_t> counts) {
  std::array<std::array<std::uint32_t, 256>, 4> tables{};  // a chunk has fewer than 2^32 choices
  std::size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes + i, 8);
    ++tables[0][word & 0xff];
    ++tables[1][word >> 8 & 0xff];
    ++tables[2][word >> 16 & 0xff];
    ++tables[3][word >> 24 & 0xff];
    ++tables[0][word >> 32 & 0xff];
    ++tables[1][word >> 40 & 0xff];
    ++tables[2][word >> 48 & 0xff];
    ++tables[3][word >> 56];
  }
  for (; i < n; ++i) ++tables[0][bytes[i]];
  for (std::size_t e = 0; e < std::min<std::size_t>(counts.size(), 256); ++e) {
    counts[e] += std::int64_t{tables[0][e]} + tables[1][e] + tables[2][e] + tables[3][e];
  }
}

}  // namespace

Imbalance imbalance(std::span<const std::int64_t> counts) {
  Imbalance result;
  std::vector<std::int64_t> sorted(counts.begin(), counts.end());
  std::sort(sorted.begin(), sorted.end());
  double total = 0;
  for (const std::int64_t c : sorted) {
    result.choices += c;
    result.zero_experts += c == 0 ? 1 : 0;
    total += static_cast<double>(c);
  }
  if (result.choices == 0) return result;
  const double n = static_cast<double>(sorted.size());
  const double mean = total / n;
  double squares = 0;
  double weighted = 0;  // over ascending c: sum (2i - n + 1) c_i = sum over pairs of |ci - cj|
  double entropy = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const double c = static_cast<double>(sorted[i]);
    squares += (c - mean) * (c - mean);
    weighted += (2 * static_cast<double>(i) - n + 1) * c;
    if (c > 0) entropy -= c / total * std::log(c / total);
  }
  result.max_over_mean = static_cast<double>(sorted.back()) / mean;
  result.cv = std::sqrt(squares / n) / mean;
  result.gini = weighted / (n * total);
  result.normalised_entropy = sorted.size() == 1 ? 1 : entropy / std::log(n);
  return result;
}

void count_choices(const TokenChunk& chunk, int layer, std::span<std::int64_t> counts) {
  const ChoiceColumn column = chunk.column(layer);
  const std::size_t n = chunk.choices_of(layer);
  if (column.width() == 1) {
    count_bytes(reinterpret_cast<const unsigned char*>(column.bytes()), n, counts);
    return;
  }
  for (std::size_t i = 0; i < n; ++i) ++counts[column.at(i)];
}

std::vector<LayerStatistics> layer_statistics(const std::string& path, StatisticsBy by) {
  TraceReader reader(path);
  const TraceHeader& header = reader.header();
  if (by == StatisticsBy::kStep && !header.has_steps) {
    throw Error(Place{path}, "this trace has no recorded steps",
                "steps form at replay; ask for the whole trace");
  }
  if (by == StatisticsBy::kTag && !header.has_tags) {
    throw Error(Place{path}, "this trace has no tags", "ask for the whole trace");
  }
  Groups groups(header, path);
  if (header.kind == TraceKind::kTokens) {
    count_tokens(reader, by, groups);
  } else {
    count_histograms(reader, by, groups);
  }
  std::vector<LayerStatistics> result;
  for (const auto& [key, group] : groups.all()) {
    for (int layer = 0; layer < header.layers(); ++layer) {
      const std::size_t l = static_cast<std::size_t>(layer);
      LayerStatistics row;
      row.layer = layer;
      row.layer_number = header.layer_number(layer);
      if (by == StatisticsBy::kStep) row.step = key.first;
      if (by == StatisticsBy::kTag) row.tag = reader.index().tags[key.second];
      row.tokens = group.tokens[l];
      row.experts = header.experts[l];
      row.counts = group.counts[l];
      row.imbalance = imbalance(row.counts);
      if (row.imbalance.choices == 0 && header.kind == TraceKind::kCounts) continue;
      if (row.tokens > 0) {
        row.choices_per_token =
            static_cast<double>(row.imbalance.choices) / static_cast<double>(row.tokens);
      }
      result.push_back(std::move(row));
    }
  }
  return result;
}

TraceInfo read_info(const std::string& path) {
  TraceReader reader(path);
  TraceInfo info;
  info.path = path;
  info.header = reader.header();
  info.rows = reader.index().rows;
  info.choices = reader.index().choices;
  info.file_bytes = reader.file_bytes();
  if (info.header.kind == TraceKind::kTokens && info.choices > 0) {
    info.bytes_per_choice =
        static_cast<double>(info.file_bytes) / static_cast<double>(info.choices);
  }
  info.chunks = static_cast<std::int64_t>(reader.index().chunks.size());
  info.tags = reader.index().tags;
  for (const ChunkPlace& place : reader.index().chunks) {
    info.first_step = std::min(info.first_step.value_or(place.first_step), place.first_step);
    info.last_step = std::max(info.last_step.value_or(place.last_step), place.last_step);
  }
  return info;
}

}  // namespace sim
