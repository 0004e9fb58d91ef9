#include "traces/synthetic/dynamics/router_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "traces/gating/balance_terms.h"
#include "traces/synthetic/dynamics/cluster_choice.h"
#include "traces/synthetic/popularity.h"

namespace sim {
namespace {

constexpr double kFirstDecay = 0.9;  // Adam's, as in the runs that the constants are fitted to
constexpr double kSecondDecay = 0.95;
constexpr double kRouterDeviation = 0.02;  // of the router's entries before training, likewise
constexpr double kLeastNoise = 1e-4;       // of scores: keeps the choice defined

constexpr std::size_t kC = RouterTraining::kClusters;
constexpr std::size_t kD = RouterTraining::kFeatures;

std::vector<double> normals(std::size_t count, double deviation, RandomStream& random) {
  std::vector<double> values(count);
  for (double& value : values) value = deviation * random.normal();
  return values;
}

}  // namespace

RouterTraining::RouterTraining(const DynamicsConstants& constants, const TrainingRun& run)
    : constants_(constants),
      run_((check_training_run(run), run)),
      batches_(run.seed, "dynamics/batches"),
      popularity_(zipf_weights(kClusters, constants.cluster_skew)),
      shares_(kC) {
  const double sum = std::accumulate(popularity_.begin(), popularity_.end(), 0.0);
  for (double& p : popularity_) p /= sum;
  const std::size_t experts = static_cast<std::size_t>(run.experts);
  // The features are fewer than the model's: entries as large as keep the scores' deviation.
  const double start = kRouterDeviation * std::sqrt(static_cast<double>(run.hidden) / kFeatures);
  for (int l = 0; l < run.layers; ++l) {
    Layer& layer =
        layers_.emplace_back(RandomStream(run.seed, fmt::format("dynamics/layer {}", l)));
    layer.common = normals(kD, 1, layer.random);
    layer.own = normals(kC * kD, 1, layer.random);
    layer.router = normals(experts * kD, start, layer.random);
    layer.general = normals(experts, 1, layer.random);
    layer.first.assign(experts * kD, 0);
    layer.second.assign(experts * kD, 0);
    layer.probabilities.resize(kC * experts);
    layer.chosen.resize(kC * experts);
    layer.cluster_skill.assign(kC * experts, 0);
    layer.bias.assign(experts, 0);
    layer.loads.resize(experts);
    layer.counts.resize(experts);
  }
  scores_.resize(2 * experts);
  gradient_.resize(kC * experts);
  route();
}

std::span<const double> RouterTraining::chosen(int layer, int cluster) const {
  const std::size_t experts = static_cast<std::size_t>(run_.experts);
  return std::span(layers_[static_cast<std::size_t>(layer)].chosen)
      .subspan(static_cast<std::size_t>(cluster) * experts, experts);
}

std::span<const double> RouterTraining::counts(int layer) const {
  return layers_[static_cast<std::size_t>(layer)].counts;
}

double RouterTraining::switch_value(int layer) const {
  const Layer& l = layers_[static_cast<std::size_t>(layer)];
  const std::size_t experts = static_cast<std::size_t>(run_.experts);
  std::vector<double> mean(experts, 0);
  for (std::size_t i = 0; i < l.probabilities.size(); ++i) {
    mean[i % experts] += shares_[i / experts] * l.probabilities[i];
  }
  return share_product(l.loads, mean);
}

std::span<const double> RouterTraining::router(int layer) const {
  return layers_[static_cast<std::size_t>(layer)].router;
}

void RouterTraining::advance() {
  for (Layer& layer : layers_) {
    learn(layer);
    move(layer);
  }
  const double trained = learning_rate_share(run_, step_);
  // The common direction turns as the layers below are trained: what routers learnt on it fades.
  const double kept = std::exp(-trained / constants_.turn_steps);
  const double fresh = std::sqrt(1 - kept * kept);
  for (Layer& layer : layers_) {
    for (double& x : layer.common) x = kept * x + fresh * layer.random.normal();
  }
  trained_ += trained;
  ++step_;
  route();
}

void RouterTraining::route() {
  const DynamicsConstants& k = constants_;
  const double common = std::clamp(
      k.common_end + (k.common_start - k.common_end) * std::exp(-trained_ / k.common_steps) -
          (k.common_start - k.common_first) * std::exp(-trained_ / k.rise_steps),
      0.0, 1.0);
  common_length_ = std::sqrt(common);
  cluster_length_ = std::sqrt((1 - common) * (1 - k.token_share));
  token_length_ = std::sqrt((1 - common) * k.token_share);
  // A batch of text is a few topics: a cluster's share varies as if `burst` tokens came together.
  double sum = 0;
  for (std::size_t c = 0; c < kC; ++c) {
    const double tokens = popularity_[c] * static_cast<double>(run_.tokens_per_step);
    const double factor = 1 + std::sqrt(k.burst / tokens) * batches_.normal();
    shares_[c] = popularity_[c] * std::max(0.05, factor);
    sum += shares_[c];
  }
  for (double& share : shares_) share /= sum;
  for (Layer& layer : layers_) {
    route(layer);
    count(layer);
  }
}

void RouterTraining::route(Layer& layer) {
  const std::size_t experts = static_cast<std::size_t>(run_.experts);
  double squares = 0;
  for (const double w : layer.router) squares += w * w;
  const double deviation = token_length_ * std::sqrt(squares / static_cast<double>(experts));
  const double noise = std::max(kLeastNoise, deviation * std::sqrt(6.0) / std::numbers::pi);
  const std::span scores = std::span(scores_).first(experts);
  const std::span common = std::span(scores_).last(experts);
  const auto product = [&](std::size_t expert, const double* x) {
    const double* w = layer.router.data() + expert * kD;
    double sum = 0;
    for (std::size_t d = 0; d < kD; ++d) sum += w[d] * x[d];
    return sum;
  };
  for (std::size_t e = 0; e < experts; ++e) {
    common[e] = common_length_ * product(e, layer.common.data());
  }
  std::fill(layer.loads.begin(), layer.loads.end(), 0.0);
  for (std::size_t c = 0; c < kC; ++c) {
    const std::span probabilities = std::span(layer.probabilities).subspan(c * experts, experts);
    const std::span chosen = std::span(layer.chosen).subspan(c * experts, experts);
    for (std::size_t e = 0; e < experts; ++e) {
      scores[e] = common[e] + cluster_length_ * product(e, layer.own.data() + c * kD);
    }
    const double greatest = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (std::size_t e = 0; e < experts; ++e) {
      sum += probabilities[e] = std::exp(scores[e] - greatest);
    }
    for (double& p : probabilities) p /= sum;
    if (run_.term == DynamicsTerm::kBias) {
      // Selection is by probability + bias; on the scale of scores that is its logarithm.
      for (std::size_t e = 0; e < experts; ++e) {
        scores[e] = std::log(std::max(1e-6, probabilities[e] + layer.bias[e]));
      }
    }
    cluster_choice(scores, noise, run_.top_k, chosen);
    for (std::size_t e = 0; e < experts; ++e) {
      layer.loads[e] += shares_[c] * chosen[e] / run_.top_k;
    }
  }
}

// The noise of drawing tokens: each count is near a binomial; what the total is off is spread by
// variance.
void RouterTraining::count(Layer& layer) {
  const double tokens = static_cast<double>(run_.tokens_per_step);
  const auto variance = [&](std::size_t e) {
    const double share = std::min(1.0, layer.loads[e] * run_.top_k);
    return tokens * share * (1 - share);
  };
  double off = 0;
  double variances = 0;
  for (std::size_t e = 0; e < layer.counts.size(); ++e) {
    const double error = std::sqrt(variance(e)) * layer.random.normal();
    layer.counts[e] = tokens * layer.loads[e] * run_.top_k + error;
    off += error;
    variances += variance(e);
  }
  for (std::size_t e = 0; e < layer.counts.size(); ++e) {
    if (variances > 0) layer.counts[e] -= off * variance(e) / variances;
  }
}

// Skill for a cluster grows towards 1 with the share of its tokens that train the expert.
void RouterTraining::learn(Layer& layer) const {
  const double rate = constants_.skill_rate * learning_rate_share(run_, step_) * run_.experts /
                      static_cast<double>(run_.top_k);
  for (std::size_t i = 0; i < layer.chosen.size(); ++i) {
    layer.cluster_skill[i] += std::min(1.0, rate * layer.chosen[i]) * (1 - layer.cluster_skill[i]);
  }
}

void RouterTraining::add_task(const Layer& layer, std::vector<double>& gradient) const {
  const std::size_t experts = static_cast<std::size_t>(run_.experts);
  const double general = std::exp(-trained_ / constants_.general_steps);
  for (std::size_t c = 0; c < kC; ++c) {
    const auto advantage = [&](std::size_t e) {
      return general * layer.general[e] +
             constants_.cluster_skill * layer.cluster_skill[c * experts + e];
    };
    const double* chosen = layer.chosen.data() + c * experts;
    double mean = 0;
    for (std::size_t e = 0; e < experts; ++e) mean += chosen[e] / run_.top_k * advantage(e);
    for (std::size_t e = 0; e < experts; ++e) {
      gradient[c * experts + e] -= shares_[c] * chosen[e] / run_.top_k * (advantage(e) - mean);
    }
  }
}

void RouterTraining::move(Layer& layer) {
  const std::size_t experts = static_cast<std::size_t>(run_.experts);
  std::fill(gradient_.begin(), gradient_.end(), 0.0);
  add_task(layer, gradient_);
  if (run_.term == DynamicsTerm::kSwitch) {
    const std::vector<double> slopes = switch_slopes(layer.loads);
    const double scale = run_.coefficient * constants_.switch_ratio;
    for (std::size_t c = 0; c < kC; ++c) {
      add_softmax_force(slopes, std::span(layer.probabilities).subspan(c * experts, experts),
                        scale * shares_[c], std::span(gradient_).subspan(c * experts, experts));
    }
  }
  if (run_.term == DynamicsTerm::kBias) {
    loss_free_update(layer.bias, layer.counts, run_.coefficient);
  }
  const double tokens = static_cast<double>(run_.tokens_per_step);
  const double first_left = 1 - std::pow(kFirstDecay, step_ + 1);
  const double second_left = 1 - std::pow(kSecondDecay, step_ + 1);
  const double rate = constants_.rate * run_.learning_rate * learning_rate_share(run_, step_) *
                      run_.hidden / kFeatures;
  std::vector<double> row(kD);
  for (std::size_t e = 0; e < experts; ++e) {
    std::fill(row.begin(), row.end(), 0.0);
    double sum = 0;
    for (std::size_t c = 0; c < kC; ++c) {
      const double g = gradient_[c * experts + e];
      sum += g;
      const double* x = layer.own.data() + c * kD;
      for (std::size_t d = 0; d < kD; ++d) row[d] += cluster_length_ * g * x[d];
    }
    // A batch's mean gradient is uncertain by the root of the tokens that the expert saw.
    const double noise = constants_.gradient_noise * std::sqrt(layer.loads[e] / tokens);
    for (std::size_t d = 0; d < kD; ++d) {
      const std::size_t i = e * kD + d;
      const double g =
          row[d] + common_length_ * sum * layer.common[d] + noise * layer.random.normal();
      layer.first[i] += (1 - kFirstDecay) * (g - layer.first[i]);
      layer.second[i] += (1 - kSecondDecay) * (g * g - layer.second[i]);
      layer.router[i] -=
          rate * (layer.first[i] / first_left) / (std::sqrt(layer.second[i] / second_left) + 1e-12);
    }
  }
}

}  // namespace sim
