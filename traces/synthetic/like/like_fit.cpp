#include "traces/synthetic/like/like_fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "sim/core/error.h"
#include "traces/synthetic/like/generate.h"

namespace sim {
namespace {

constexpr double kLeastChoicesPerExpert = 20;
constexpr std::size_t kLeastSequences = 4;
constexpr std::int64_t kLeastTopicTokens = 32;
constexpr std::size_t kMostClasses = 512;
constexpr double kMostTableBytes = 2147483648;
// A full table: its weight, gradient and values, the new gradient, two moments in double, a copy.
constexpr double kFitBytesPerEntry = 5 * sizeof(float) + 2 * sizeof(double);
constexpr double kClassPrior = 4;  // tokens of the whole trace's shares in each class

std::size_t rank_for(const TokenSequences& trace, std::size_t layer, const LikeOptions& options);

// Tables are held for all layers while tokens are drawn, with their gradients for one.
void check_tables(const TokenSequences& trace, const LikeOptions& options) {
  double drawn = 0;
  double most = 0;
  for (std::size_t l = 0; l < trace.layers(); ++l) {
    if (rank_for(trace, l, options) == 0) continue;
    const double experts = trace.header.experts[l];
    const double entries = experts * (experts + (l == 0 ? 0 : trace.header.experts[l - 1]));
    drawn += entries * sizeof(float);
    most = std::max(most, entries * kFitBytesPerEntry);
  }
  if (drawn + most > kMostTableBytes) {
    throw Error(fmt::format("tables of pairs of experts need {:.0f} MiB, more than {:.0f} MiB",
                            (drawn + most) / 1048576, kMostTableBytes / 1048576),
                "fit a part of the trace: fewer tokens leave no tables to fit");
  }
}

void check_size(const TokenSequences& trace) {
  const int most = *std::max_element(trace.header.experts.begin(), trace.header.experts.end());
  const auto choices = static_cast<double>(trace.tokens() * trace.top_k());
  if (trace.sequences.size() < kLeastSequences) {
    throw Error(
        fmt::format("{} sequences are too few to fit: at least {} requests, or steps x "
                    "ranks, are needed to see how they differ",
                    trace.sequences.size(), kLeastSequences));
  }
  if (choices < kLeastChoicesPerExpert * most) {
    throw Error(
        fmt::format("{} tokens are too few to fit: {:.1f} choices per expert in a layer of {}, at "
                    "least {:.0f} are needed to tell popularity from chance",
                    trace.tokens(), choices / most, most, kLeastChoicesPerExpert));
  }
  for (const int experts : trace.header.experts) {
    if (experts <= trace.header.top_k) {
      throw Error(fmt::format("a layer of {} experts and top-{} leaves nothing to choose", experts,
                              trace.header.top_k));
    }
  }
}

// As many classes as the choices can carry.
std::size_t classes_for(const TokenSequences& trace, const LikeOptions& options) {
  const auto experts = static_cast<double>(
      std::accumulate(trace.header.experts.begin(), trace.header.experts.end(), 0));
  const double choices = static_cast<double>(trace.choices.size());
  const double classes = choices / options.choices_per_class_share / experts;
  return static_cast<std::size_t>(std::clamp(classes, 1.0, static_cast<double>(kMostClasses)));
}

// The rank that both tables of a layer get, likewise.
std::size_t rank_for(const TokenSequences& trace, std::size_t layer, const LikeOptions& options) {
  const auto experts = static_cast<double>(trace.header.experts[layer]);
  const double before = layer == 0 ? 0 : trace.header.experts[layer - 1];
  const auto choices = static_cast<double>(trace.tokens() * trace.top_k());
  const double budget = choices / options.choices_per_table_entry;
  return static_cast<std::size_t>(budget / (3 * experts + before));
}

// Nat per choice, of successive sampling with the whole trace's popularity.
double popularity_log_likelihood(const TokenSequences& trace, const std::vector<double>& shares) {
  const std::vector<float> rates = rates_of(shares, trace.header.experts);
  double sum = 0;
  for (std::size_t t = 0; t < trace.tokens(); ++t) {
    std::size_t first = 0;
    for (std::size_t l = 0; l < trace.layers(); ++l) {
      double left = 1;
      for (std::size_t j = 0; j < trace.top_k(); ++j) {
        const double rate = rates[first + trace.at(t, l)[j]];
        sum += std::log(rate / left);
        left = std::max(left - rate, 1e-9);
      }
      first += static_cast<std::size_t>(trace.header.experts[l]);
    }
  }
  return sum / static_cast<double>(trace.choices.size());
}

// The topic of each sequence: its class shares, or what its part of the run and its
// tag make likely where it is too short to have shares of its own.
std::vector<ClassTopic> topics_of(const TokenSequences& trace,
                                  const std::vector<std::uint16_t>& class_of_token,
                                  std::size_t classes, const std::vector<double>& places) {
  // Classes are one more layer, of top-1: their popularity is found the same way.
  TokenSequences of_classes;
  of_classes.header.experts = {static_cast<int>(classes)};
  of_classes.header.top_k = 1;
  of_classes.tags = trace.tags;
  of_classes.sequences = trace.sequences;
  of_classes.choices = class_of_token;
  const LikePopularity popularity = fit_popularity(of_classes, places);
  std::vector<ClassTopic> topics;
  for (std::size_t i = 0; i < trace.sequences.size(); ++i) {
    const TokenSequence& sequence = trace.sequences[i];
    std::vector<double> shares =
        shares_at(popularity, of_classes.header.experts, 1, places[i], sequence.tag);
    if (sequence.tokens >= kLeastTopicTokens) {
      std::fill(shares.begin(), shares.end(), 0);
      for (std::size_t t = 0; t < static_cast<std::size_t>(sequence.tokens); ++t)
        shares[class_of_token[sequence.first_token + t]] +=
            1 / static_cast<double>(sequence.tokens);
    }
    ClassTopic topic;
    for (std::size_t c = 0; c < classes; ++c)
      if (shares[c] > 0) topic.emplace_back(static_cast<std::uint16_t>(c), shares[c]);
    topics.push_back(std::move(topic));
  }
  return topics;
}

}  // namespace

std::vector<double> places_of(const std::vector<TokenSequence>& layout, bool has_steps) {
  std::vector<double> places;
  if (!has_steps) {
    const std::vector<std::size_t> requests = units_of(layout, false);
    std::size_t last = 0;
    for (const std::size_t request : requests) last = std::max(last, request);
    const double all = static_cast<double>(last) + 1;
    for (const std::size_t request : requests)
      places.push_back((static_cast<double>(request) + 0.5) / all);
    return places;
  }
  std::map<std::int64_t, std::size_t> steps;
  for (const TokenSequence& sequence : layout) steps.emplace(sequence.step, 0);
  std::size_t number = 0;
  for (auto& [step, order] : steps) order = number++;
  for (const TokenSequence& sequence : layout)
    places.push_back((static_cast<double>(steps[sequence.step]) + 0.5) /
                     static_cast<double>(steps.size()));
  return places;
}

LikeModel fit_like(const TokenSequences& trace, const LikeOptions& options) {
  check_size(trace);
  check_tables(trace, options);
  LikeModel model;
  model.header = trace.header;
  model.tags = trace.tags;
  model.layout = trace.sequences;
  const std::vector<double> places = places_of(trace.sequences, trace.header.has_steps);
  model.popularity = fit_popularity(trace, places);
  model.fitted_choices = static_cast<std::int64_t>(trace.choices.size());

  const std::vector<std::uint16_t> class_of_token =
      find_classes(trace, classes_for(trace, options), options.seed);
  model.classes = 1 + *std::max_element(class_of_token.begin(), class_of_token.end());

  model.topics = topics_of(trace, class_of_token, model.classes, places);
  model.course = fit_course(trace, class_of_token, model.classes, model.topics);

  const std::vector<double> of_class =
      class_shares(trace, class_of_token, model.classes, kClassPrior);
  const std::size_t experts = model.popularity.whole.size();
  for (std::size_t c = 0; c < model.classes; ++c) {
    const std::vector<float> rates =
        rates_of(std::span(of_class).subspan(c * experts, experts), trace.header.experts);
    model.class_rates.insert(model.class_rates.end(), rates.begin(), rates.end());
  }
  for (std::size_t layer = 0; layer < trace.layers(); ++layer) {
    LayerFit fit = fit_layer(trace, class_of_token, model.class_rates, layer,
                             rank_for(trace, layer, options), options);
    model.log_likelihood += fit.log_likelihood;
    model.layers.push_back(std::move(fit.layer));
  }
  model.log_likelihood /= static_cast<double>(model.fitted_choices);
  model.popularity_log_likelihood = popularity_log_likelihood(trace, model.popularity.whole);
  calibrate(model, agreements(trace), options.seed);
  return model;
}

std::size_t LikeModel::parameters() const {
  std::size_t sum = class_rates.size() + course.parameters();
  sum += popularity.whole.size();
  if (popularity.parts.size() > 1) sum += popularity.parts.size() * popularity.whole.size();
  for (const std::vector<double>& factors : popularity.tags) sum += factors.size();
  for (const ClassTopic& topic : topics) sum += topic.size();
  for (const LikeLayer& layer : layers)
    sum += layer.bias.size() + layer.across.parameters() + layer.together.parameters() + 2;
  return sum;
}

}  // namespace sim
