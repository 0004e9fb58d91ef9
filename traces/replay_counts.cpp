#include "traces/replay_counts.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "sim/core/error.h"
#include "sim/core/random.h"
#include "sim/core/units.h"
#include "sim/input/suggestion.h"
#include "traces/synthetic/popularity.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

// Inclusion probabilities per (recorded step in rising order, trace layer).
struct Shares {
  std::vector<std::vector<std::vector<double>>> by_step;
  std::vector<std::string> left_out;  // tags with another number of choices per token
};

class ShareReader {
 public:
  ShareReader(const std::string& path, const ReplayOptions& options)
      : path_(path), options_(options), reader_(path) {
    const std::vector<std::string>& tags = reader_.index().tags;
    if (!options.tag.empty() && std::find(tags.begin(), tags.end(), options.tag) == tags.end()) {
      throw Error(Place{path}, fmt::format("no count has the tag '{}'", options.tag),
                  suggest(options.tag, tags));
    }
  }

  Shares read() {
    const TraceHeader& header = reader_.header();
    std::vector<CountRow> rows;
    while (reader_.next(rows)) {
      for (const CountRow& row : rows) add(row);
    }
    Shares shares;
    for (const std::uint32_t tag : left_out_) {
      shares.left_out.push_back(reader_.index().tags[tag]);
    }
    for (const auto& [step, layers] : sums_) {
      auto& out = shares.by_step.emplace_back();
      for (int layer = 0; layer < header.layers(); ++layer) {
        out.push_back(inclusion_from_counts(layers[static_cast<std::size_t>(layer)], header.top_k));
        if (out.back().empty()) {
          throw Error(Place{path_},
                      fmt::format("layer {}: fewer than {} experts were ever chosen",
                                  header.layer_number(layer), header.top_k),
                      "its counts cannot be replayed");
        }
      }
    }
    if (shares.by_step.empty()) throw Error(Place{path_}, "this trace holds no counts to replay");
    return shares;
  }

 private:
  void add(const CountRow& row) {
    const TraceHeader& header = reader_.header();
    const bool tagged = header.has_tags;
    if (!options_.tag.empty() && reader_.index().tags[row.tag] != options_.tag) return;
    const std::int64_t sum = std::accumulate(row.counts.begin(), row.counts.end(), std::int64_t{0});
    if (row.tokens > 0 && sum != row.tokens * header.top_k) {
      if (tagged) left_out_.insert(row.tag);
      if (tagged && options_.tag.empty()) return;
      throw Error(Place{path_},
                  fmt::format("layer {} has {} choices of {} tokens, top-k is {}",
                              header.layer_number(row.layer), sum, row.tokens, header.top_k),
                  "its counts cannot be replayed");
    }
    auto& layers = sums_[row.step];
    if (layers.empty()) {
      for (const int experts : header.experts) {
        layers.emplace_back(static_cast<std::size_t>(experts), 0);
        held_ += 16 * experts;  // the sum and the share
      }
      if (held_ > options_.memory_budget) {
        throw Error(Place{path_},
                    fmt::format("the counts of its steps need more than {}",
                                format_bytes(Bytes(options_.memory_budget))),
                    "replay a part of the trace");
      }
    }
    auto& counts = layers[static_cast<std::size_t>(row.layer)];
    for (std::size_t e = 0; e < counts.size(); ++e) counts[e] += row.counts[e];
  }

  std::string path_;
  const ReplayOptions& options_;
  TraceReader reader_;
  std::map<std::int64_t, std::vector<std::vector<std::int64_t>>> sums_;
  std::set<std::uint32_t> left_out_;
  std::int64_t held_ = 0;
};

class CountReplay final : public RoutingSource {
 public:
  CountReplay(std::string path, Shares shares, std::vector<int> layer_of, int top_k,
              std::vector<std::int64_t> tokens, std::uint64_t seed, std::int64_t token_budget)
      : path_(std::move(path)),
        shares_(std::move(shares)),
        layer_of_(std::move(layer_of)),
        top_k_(top_k),
        tokens_(std::move(tokens)),
        seed_(seed),
        total_(std::accumulate(tokens_.begin(), tokens_.end(), std::int64_t{0})),
        per_token_(total_ <= token_budget) {}

  void fill(int step, int layer, LayerRouting& out) override {
    SIM_CHECK(layer >= 0 && layer < layers(), "a routed layer of the model");
    const std::vector<double>& share = share_of(step, layer);
    const std::size_t k = static_cast<std::size_t>(top_k_);
    out.ranks = static_cast<int>(tokens_.size());
    out.experts = static_cast<int>(share.size());
    out.per_token = per_token_;
    out.counts.assign(tokens_.size() * share.size(), 0);
    out.rank_begin.assign(1, 0);
    for (const std::int64_t n : tokens_) out.rank_begin.push_back(out.rank_begin.back() + n);
    out.choice_begin.clear();
    out.choices.clear();
    if (step > last_step_) {
      tokens_used_ += total_;
      last_step_ = step;
    }
    if (per_token_) {
      for (std::int64_t t = 0; t <= total_; ++t) out.choice_begin.push_back(t * top_k_);
      out.choices.resize(static_cast<std::size_t>(total_) * k);
    }
    std::uint16_t* next = out.choices.data();
    for (std::size_t rank = 0; rank < tokens_.size(); ++rank) {
      RandomStream random(seed_,
                          fmt::format("replay/counts/step {}/layer {}/rank {}", step, layer, rank));
      std::int64_t* counts = out.counts.data() + rank * share.size();
      if (!per_token_) {
        draw_counts(share, top_k_, tokens_[rank], random, counts);
        continue;
      }
      InclusionDraw draw(share);
      for (std::int64_t t = 0; t < tokens_[rank]; ++t, next += k) {
        draw.draw(random, next);
        for (std::size_t i = 0; i < k; ++i) ++counts[next[i]];
      }
    }
  }

  int experts(int layer) const override { return static_cast<int>(share_of(0, layer).size()); }
  int layers() const override { return static_cast<int>(layer_of_.size()); }
  ReuseReport reuse() const override {
    ReuseReport report;
    report.tokens_used = tokens_used_;
    return report;
  }
  std::string description() const override {
    return fmt::format("replay of the counts of {}, top-{}: tokens are not recorded but {}",
                       std::filesystem::path(path_).filename().string(), top_k_,
                       per_token_ ? "drawn with each expert's recorded share, per token"
                                  : "only counted with each expert's recorded share, per rank");
  }
  std::vector<std::string> warnings() const override {
    std::vector<std::string> list = {
        "a trace of counts knows no tokens: which experts a token chooses together, and in which "
        "layers, is not recorded"};
    if (!shares_.left_out.empty()) {
      list.push_back(
          fmt::format("{} tags are left out: they have other choices per token than "
                      "top-{} ('{}' is one)",
                      shares_.left_out.size(), top_k_, shares_.left_out.front()));
    }
    return list;
  }

 private:
  const std::vector<double>& share_of(int step, int layer) const {
    const auto& layers = shares_.by_step[static_cast<std::size_t>(step) % shares_.by_step.size()];
    return layers[static_cast<std::size_t>(layer_of_[static_cast<std::size_t>(layer)])];
  }

  std::string path_;
  Shares shares_;
  std::vector<int> layer_of_;
  int top_k_;
  std::vector<std::int64_t> tokens_;
  std::uint64_t seed_;
  std::int64_t total_;
  bool per_token_;
  int last_step_ = -1;
  std::int64_t tokens_used_ = 0;
};

}  // namespace

std::unique_ptr<RoutingSource> make_count_replay(const std::string& path, std::vector<int> layer_of,
                                                 int top_k,
                                                 std::vector<std::int64_t> tokens_per_rank,
                                                 std::uint64_t seed, const ReplayOptions& options) {
  Shares shares = ShareReader(path, options).read();
  return std::make_unique<CountReplay>(path, std::move(shares), std::move(layer_of), top_k,
                                       std::move(tokens_per_rank), seed, options.token_budget);
}

}  // namespace sim
