#include "traces/gating/score_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/core/random.h"
#include "traces/synthetic/popularity.h"

namespace sim {

ScoreModelSpec read_score_model(YamlMap& keys) {
  ScoreModelSpec spec;
  spec.popularity = keys.number_or("popularity", spec.popularity, {0, 100});
  spec.affinity = keys.number_or("affinity", spec.affinity, {0, 1000});
  spec.noise = keys.number_or("noise", spec.noise, {0, 1000});
  spec.vocabulary = keys.count_or("vocabulary", spec.vocabulary, {1, 1 << 20});
  spec.token_skew = keys.number_or("token_skew", spec.token_skew, {0, 20});
  spec.clusters = keys.count_or("clusters", spec.clusters, {1, 1 << 16});
  return spec;
}

ScoreModel::ScoreModel(const ScoreModelSpec& spec, std::uint64_t seed)
    : spec_(spec),
      seed_(seed),
      frequencies_(zipf_weights(static_cast<int>(spec.vocabulary), spec.token_skew)) {
  const double sum = std::accumulate(frequencies_.begin(), frequencies_.end(), 0.0);
  for (double& f : frequencies_) f /= sum;
}

std::vector<std::int64_t> ScoreModel::token_ids(int step, std::int64_t tokens) const {
  RandomStream random(seed_, fmt::format("gating/tokens/step {}", step));
  const AliasTable table(frequencies_);
  std::vector<std::int64_t> ids;
  for (std::int64_t t = 0; t < tokens; ++t)
    ids.push_back(static_cast<std::int64_t>(table.draw(random)));
  return ids;
}

const std::vector<double>& ScoreModel::cluster_scores(int layer, int matrix, int width,
                                                      bool with_popularity) {
  std::vector<double>& scores = clusters_[{layer, matrix}];
  if (!scores.empty()) return scores;
  RandomStream random(seed_, fmt::format("gating/router/layer {}/matrix {}", layer, matrix));
  std::vector<double> popularity(static_cast<std::size_t>(width), 0.0);
  if (with_popularity) {
    for (std::size_t c = 0; c < popularity.size(); ++c)
      popularity[c] = -spec_.popularity * std::log(static_cast<double>(c + 1));
    random.shuffle(popularity);
  }
  scores.reserve(static_cast<std::size_t>(spec_.clusters) * popularity.size());
  for (std::int64_t cluster = 0; cluster < spec_.clusters; ++cluster) {
    for (const double p : popularity) scores.push_back(p + spec_.affinity * random.normal());
  }
  return scores;
}

void ScoreModel::fill(int step, int layer, int matrix, int width, bool with_popularity,
                      const std::vector<std::int64_t>& ids, const std::vector<double>& offset,
                      std::vector<double>& out) {
  const std::vector<double>& clusters = cluster_scores(layer, matrix, width, with_popularity);
  RandomStream random(seed_,
                      fmt::format("gating/noise/step {}/layer {}/matrix {}", step, layer, matrix));
  const auto columns = static_cast<std::size_t>(width);
  out.resize(ids.size() * columns);
  double* next = out.data();
  for (const std::int64_t id : ids) {
    const double* cluster =
        clusters.data() + static_cast<std::size_t>(id % spec_.clusters) * columns;
    for (std::size_t c = 0; c < columns; ++c, ++next) {
      *next = cluster[c] + (offset.empty() ? 0 : offset[c]);
      if (spec_.noise > 0) *next += spec_.noise * random.normal();
    }
  }
}

}  // namespace sim
