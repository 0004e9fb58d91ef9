// Router scores out of nothing: a small seeded model of tokens and a router that stays as it is.
//
// A token has an id from a vocabulary with Zipf frequencies, and a cluster (id modulo clusters, so
// frequent ids make frequent clusters). Its score in column c of a layer's matrix m is
//   -popularity * ln(rank of c) + affinity * A[layer, m, cluster, c] + noise * N(0, 1)
// with A of independent N(0, 1) and ranks permuted per layer and matrix. The popularity part is
// left out where columns are not experts. It is not fitted to anything: for routing that behaves
// like a recorded trace see traces/synthetic.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "sim/input/yaml_reader.h"

namespace sim {

struct ScoreModelSpec {
  double popularity = 0.5;  // exponent of the experts' popularity, in units of a logit
  double affinity = 1;      // standard deviation of the clusters' preferences, logits
  double noise = 1;         // standard deviation within a cluster, logits
  std::int64_t vocabulary = 4096;
  double token_skew = 1;  // Zipf exponent of the ids' frequencies
  std::int64_t clusters = 64;
};

// Keys popularity, affinity, noise, vocabulary, token_skew, clusters. Does not call finish().
ScoreModelSpec read_score_model(YamlMap& keys);

class ScoreModel {
 public:
  ScoreModel(const ScoreModelSpec& spec, std::uint64_t seed);

  const std::vector<double>& token_frequencies() const { return frequencies_; }
  // The ids of a step's tokens.
  std::vector<std::int64_t> token_ids(int step, std::int64_t tokens) const;
  // One matrix [tokens, width] of a layer. `offset`, if any, is added to every row.
  void fill(int step, int layer, int matrix, int width, bool with_popularity,
            const std::vector<std::int64_t>& ids, const std::vector<double>& offset,
            std::vector<double>& out);

 private:
  const std::vector<double>& cluster_scores(int layer, int matrix, int width, bool with_popularity);

  ScoreModelSpec spec_;
  std::uint64_t seed_;
  std::vector<double> frequencies_;
  std::map<std::pair<int, int>, std::vector<double>> clusters_;  // [cluster, width]
};

}  // namespace sim
