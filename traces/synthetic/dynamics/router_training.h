// A light model of a router being trained, over clusters of tokens instead of tokens.
//
// Tokens fall into clusters whose popularity is a Zipf law, as tokens of text do. What a router
// sees of a token is a vector of features: a part common to all tokens, a part of its cluster, and
// a part of its own. At first nearly all is common (a fresh model's attention averages over
// tokens), so that all tokens like the same experts; as embeddings are trained, tokens move apart.
// The router of a layer is a matrix; a cluster's scores are its product with the cluster's
// features, and the tokens' own parts make noise of the size of the router's rows. Every step:
//   1. each cluster's tokens choose their top-k by score plus noise; counts follow
//   2. the task's gradient raises, cluster by cluster, the score of a chosen expert that is more
//      skilled than the others chosen. Skill is of two kinds: what is good for every token differs
//      between experts by chance and matters less as it is learnt; skill for a cluster grows where
//      an expert is trained on it, so that experts chosen get better and are chosen more. An expert
//      that nobody chooses has no gradient of the task and stays as it is
//   3. the balance term's gradient is added (Switch), or selection's bias moves (loss-free)
//   4. Adam's rule moves the router: a step depends on the ratio of the two gradients and on
//      their noise, not on their size; `switch_ratio` states that ratio
// Nothing here is a language model: there are no losses, and no layer feeds another.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/core/random.h"
#include "traces/synthetic/dynamics/dynamics_constants.h"
#include "traces/synthetic/dynamics/training_run.h"

namespace sim {

class RouterTraining {
 public:
  // Throws Error when the run cannot be.
  RouterTraining(const DynamicsConstants& constants, const TrainingRun& run);

  // The routing of the step that is now: valid until advance().
  std::span<const double> cluster_shares() const { return shares_; }
  // P(a token of the cluster chooses each expert), sum top-k.
  std::span<const double> chosen(int layer, int cluster) const;
  // Choices per expert, sum tokens * top-k: expected plus the noise of drawing tokens. Not whole.
  std::span<const double> counts(int layer) const;
  // The Switch term's value, experts * sum_e f_e P_e: 1 when probabilities or loads are even.
  double switch_value(int layer) const;
  // experts * kFeatures.
  std::span<const double> router(int layer) const;

  // The optimizer's step, then the next step's routing.
  void advance();

  static constexpr int kClusters = 32;
  static constexpr int kFeatures = 24;

 private:
  struct Layer {
    explicit Layer(RandomStream stream) : random(stream) {}
    RandomStream random;
    std::vector<double> common;                  // features
    std::vector<double> own;                     // clusters * features
    std::vector<double> router, first, second;   // experts * features; Adam's two moments
    std::vector<double> probabilities, chosen;   // clusters * experts
    std::vector<double> general, cluster_skill;  // experts; clusters * experts
    std::vector<double> bias, loads, counts;     // experts
  };

  void route();
  void route(Layer& layer);
  void count(Layer& layer);
  void learn(Layer& layer) const;
  void add_task(const Layer& layer, std::vector<double>& gradient) const;
  void move(Layer& layer);

  DynamicsConstants constants_;
  TrainingRun run_;
  int step_ = 0;
  double trained_ = 0;  // steps, each counted by its share of the peak learning rate
  RandomStream batches_;
  std::vector<double> popularity_;  // of clusters, sum 1
  std::vector<double> shares_;      // of clusters in this step
  double common_length_ = 0;        // factors of the parts of the features in this step
  double cluster_length_ = 0;
  double token_length_ = 0;
  std::vector<Layer> layers_;
  std::vector<double> gradient_, scores_;  // of one layer, between calls only to save allocation
};

}  // namespace sim
