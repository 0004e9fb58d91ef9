// Gates whose loads are given exactly: BASE and target shares, both by balanced assignment.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

#include <fmt/format.h>

#include "traces/gating/assignment.h"
#include "traces/gating/gate_rows.h"
#include "traces/gating/gates.h"

namespace sim {
namespace {

// Gives each token of the range its column of the balanced assignment, with `weigh(row, expert)`.
template <class Weigh>
void assign(const GateInput& in, const TokenRange& range, std::span<const std::int64_t> capacity,
            double epsilon, Weigh weigh, GateChoices& out) {
  const auto experts = static_cast<std::size_t>(in.experts);
  const std::vector<std::uint32_t> columns =
      balanced_assignment(in.scores[0].subspan(static_cast<std::size_t>(range.first) * experts,
                                               static_cast<std::size_t>(range.size()) * experts),
                          capacity, epsilon);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const auto row = score_row(in, 0, range.first + static_cast<std::int64_t>(i), in.experts);
    out.add(columns[i], weigh(row, columns[i]));
    out.end_row();
  }
}

std::vector<double> read_share_row(YamlMap& keys, const std::vector<YamlNode>& items, int experts) {
  std::vector<double> row;
  double sum = 0;
  for (const YamlNode& item : items) {
    double value = -1;
    if (item.is_scalar()) {
      const std::string text = item.text();
      const auto end = text.data() + text.size();
      const auto parsed = std::from_chars(text.data(), end, value);
      if (parsed.ec != std::errc{} || parsed.ptr != end) value = -1;
    }
    if (!(value >= 0 && value <= 1e12)) {
      keys.mistake("shares", "a share is a number from 0 to 1e12");
      return {};
    }
    row.push_back(value);
    sum += value;
  }
  if (static_cast<int>(row.size()) != experts || sum <= 0) {
    keys.mistake(
        "shares",
        fmt::format("a row of {} shares with sum {} for {} experts", row.size(), sum, experts),
        "give one share per expert, not all 0");
    return {};
  }
  for (double& share : row) share /= sum;
  return row;
}

std::vector<std::vector<double>> read_shares(YamlMap& keys, const GateShape& shape) {
  std::vector<std::vector<double>> shares;
  const std::vector<YamlNode> nodes = keys.list_or_empty("shares");
  if (!nodes.empty() && nodes.front().is_scalar()) {
    shares.push_back(read_share_row(keys, nodes, shape.experts));
  } else {
    for (const YamlNode& node : nodes) {
      shares.push_back(node.is_list() ? read_share_row(keys, node.items(), shape.experts)
                                      : read_share_row(keys, {}, shape.experts));
    }
  }
  if (shares.size() != 1 && shares.size() != static_cast<std::size_t>(shape.ranks)) {
    keys.mistake("shares",
                 fmt::format("{} rows of shares, source ranks: {}", shares.size(), shape.ranks),
                 "give a matrix [source rank, expert], or one row for all ranks");
  }
  return shares;
}

// share * total in whole tokens by largest remainder; ties to the lower expert.
std::vector<std::int64_t> whole_counts(std::span<const double> shares, std::int64_t total) {
  std::vector<std::int64_t> counts;
  std::vector<double> rest;
  std::int64_t left = total;
  for (const double share : shares) {
    const double want = share * static_cast<double>(total);
    counts.push_back(static_cast<std::int64_t>(want));
    rest.push_back(want - std::floor(want));
    left -= counts.back();
  }
  std::vector<std::size_t> order(counts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return rest[a] > rest[b]; });
  for (std::size_t i = 0; left > 0; i = (i + 1) % order.size(), --left) ++counts[order[i]];
  return counts;
}

}  // namespace

// When the experts do not divide the tokens, the first experts take one more.
Gate base_gate(YamlMap& keys, const GateShape& shape) {
  const double epsilon = keys.number_or("epsilon", 1e-3, {1e-9, 1e6});
  const bool per_rank = read_per_source_rank(keys);
  Gate gate = plain_gate(shape, 1);
  gate.route = [epsilon, per_rank](const GateInput& in) {
    GateChoices out;
    for (const TokenRange& range : token_ranges(in, per_rank)) {
      assign(
          in, range, equal_parts(range.size(), in.experts), epsilon,
          [](std::span<const double> row, std::uint32_t e) { return sigmoid(row[e]); }, out);
    }
    return out;
  };
  return gate;
}

// TA-MoE steers towards a target dispatch with a loss; here the target is met exactly, by the
// assignment of greatest total score. One expert per token.
Gate target_shares_gate(YamlMap& keys, const GateShape& shape) {
  const std::vector<std::vector<double>> shares = read_shares(keys, shape);
  const double epsilon = keys.number_or("epsilon", 1e-3, {1e-9, 1e6});
  Gate gate = plain_gate(shape, 1);
  gate.route = [shares, epsilon](const GateInput& in) {
    GateChoices out;
    for (const TokenRange& range : token_ranges(in, true)) {
      const auto& row = shares[shares.size() == 1 ? 0 : static_cast<std::size_t>(range.rank)];
      assign(
          in, range, whole_counts(row, range.size()), epsilon,
          [](std::span<const double> scores, std::uint32_t e) { return softmax_of(scores)[e]; },
          out);
    }
    return out;
  };
  return gate;
}

}  // namespace sim
