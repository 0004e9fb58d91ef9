#include "traces/synthetic/like/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "sim/core/error.h"
#include "sim/core/random.h"
#include "traces/synthetic/like/blocks.h"
#include "traces/synthetic/like/like_fit.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

constexpr std::int64_t kMostTokens = std::int64_t{1} << 32;
constexpr std::int64_t kSteeringInterval = 64;  // tokens between two looks at the counts
constexpr double kSteeringShare = 1.0 / 16;     // of the trace: how long a lack takes to fill
constexpr double kLeastHorizon = 256;           // tokens
constexpr double kLeastShare = 1e-3;            // of tokens, where a share is divided by
constexpr double kMostSteering = 1;             // of a log weight
// Of the search for memory and biases: all assumed, they decide how near it comes, not to what.
constexpr int kPilots = 14;       // (assumed) more cost time; gains have fallen to 0.28 by then
constexpr double kPilotGain = 1;  // (assumed) the whole lack at first, falling against noise
constexpr double kPilotFall = 0.2;
// (assumed) A lack of 10 % asks for half as much more memory: agreement answers memory weakly.
constexpr double kKeepGain = 5;
constexpr float kFirstKeep = 0.1F;
constexpr float kMostKeep = 4;
constexpr std::int64_t kPilotTokens = 40000;

// One layer of the law, ready to draw from: tables are weights, not their logarithms.
class LayerDraw {
 public:
  LayerDraw(const LikeLayer& layer, std::size_t experts, std::size_t top_k)
      : experts_(experts),
        top_k_(top_k),
        width_(padded(experts)),
        log_bias_(layer.bias),
        across_(weights(layer.across)),
        together_(weights(layer.together)),
        bias_(width_),
        weight_(width_),
        expected_(experts),
        count_(experts),
        inverse_share_(width_),
        keep_(layer.keep),
        keeps_(layer.keep[0] > 0 || layer.keep[1] > 0),
        past_(experts, top_k) {
    steer(0, 0);
  }

  void start_sequence(const double* share) {
    share_ = share;
    for (std::size_t e = 0; e < experts_; ++e)
      inverse_share_[e] = static_cast<float>(1 / std::max(share[e], kLeastShare));
    past_.start_sequence();
  }

  // `rates`: of the token's class.
  void draw(RandomStream& random, const float* rates, const std::uint16_t* before,
            std::uint16_t* out) {
    std::copy_n(rates, experts_, weight_.begin());
    if (keeps_) past_.multiply(keep_, inverse_share_.data(), weight_.data());
    multiply(bias_.data());
    if (before != nullptr && !across_.empty())
      for (std::size_t b = 0; b < top_k_; ++b) multiply(across_.data() + before[b] * width_);
    for (std::size_t j = 0; j < top_k_; ++j) {
      out[j] = pick(random.uniform());
      if (j + 1 == top_k_) break;
      if (!together_.empty()) multiply(together_.data() + out[j] * width_);
      weight_[out[j]] = 0;
      for (std::size_t i = 0; i < j; ++i) weight_[out[i]] = 0;
    }
    if (measures_) past_.agree(out, agreement_);
    if (measures_ || keeps_) past_.add(out);
    for (std::size_t j = 0; j < top_k_; ++j) count_[out[j]] += 1;
  }

  // Credits the expected choices of `tokens` tokens, then turns what experts lack into biases that
  // fill it within `horizon` tokens (0: only sets the biases).
  void steer(std::int64_t tokens, double horizon) {
    for (std::size_t e = 0; e < experts_; ++e) {
      double steering = 0;
      if (horizon > 0) {
        expected_[e] += static_cast<double>(tokens) * share_[e];
        const double p = std::clamp(share_[e], 1e-6, 1 - 1e-6);
        steering = std::clamp((expected_[e] - count_[e]) / (horizon * p * (1 - p)), -kMostSteering,
                              kMostSteering);
      }
      bias_[e] = static_cast<float>(std::exp(log_bias_[e] + steering));
    }
  }

  // Moves the biases by how far the drawn shares are from the expected ones, in log odds.
  void correct(double tokens, double gain, std::vector<float>& bias) const {
    for (std::size_t e = 0; e < experts_; ++e) {
      const auto odds = [&](double count) {
        const double share = std::clamp((count + 0.5) / (tokens + 1), 1e-7, 1 - 1e-7);
        return std::log(share / (1 - share));
      };
      bias[e] +=
          static_cast<float>(gain * std::clamp(odds(expected_[e]) - odds(count_[e]), -2.0, 2.0));
    }
  }
  void measure() { measures_ = true; }
  const Agreement& agreement() const { return agreement_; }
  void expect(std::int64_t tokens) {
    for (std::size_t e = 0; e < experts_; ++e)
      expected_[e] += static_cast<double>(tokens) * share_[e];
  }

 private:
  std::vector<float> weights(const PairTable& table) const {
    if (table.rank == 0 || table.rows == 0) return {};
    const std::vector<float> values = table.expanded();
    std::vector<float> result(table.rows * width_, 1);
    for (std::size_t r = 0; r < table.rows; ++r)
      for (std::size_t c = 0; c < table.columns; ++c)
        result[r * width_ + c] = std::exp(values[r * table.columns + c]);
    return result;
  }

  void multiply(const float* factor) {
    for (std::size_t e = 0; e < width_; ++e) weight_[e] *= factor[e];
  }

  std::uint16_t pick(double uniform) const {
    std::array<float, kBlock> lanes{};
    for (std::size_t e = 0; e < width_; e += kBlock)
      for (std::size_t i = 0; i < kBlock; ++i) lanes[i] += weight_[e + i];
    float total = 0;
    for (const float lane : lanes) total += lane;
    float left = static_cast<float>(uniform) * total;
    std::size_t last = 0;  // rounding may leave a little: then the last possible expert
    for (std::size_t e = 0; e < experts_; ++e) {
      if (weight_[e] <= 0) continue;
      last = e;
      left -= weight_[e];
      if (left < 0) break;
    }
    return static_cast<std::uint16_t>(last);
  }

  std::size_t experts_, top_k_, width_;
  std::vector<float> log_bias_;
  std::vector<float> across_, together_;  // [row][padded expert]; empty: all 1
  std::vector<float> bias_, weight_;
  std::vector<double> expected_, count_;
  const double* share_ = nullptr;
  std::vector<float> inverse_share_;
  std::array<float, 2> keep_;
  bool keeps_;
  bool measures_ = false;
  Agreement agreement_{};
  PastChoices past_;
};

class Generator {
 public:
  Generator(const LikeModel& model, std::uint64_t seed)
      : model_(model), random_(seed, "synthetic/like/draw"), course_(model.course) {
    for (std::size_t l = 0; l < model.layers.size(); ++l)
      draws_.emplace_back(model.layers[l], static_cast<std::size_t>(model.header.experts[l]),
                          static_cast<std::size_t>(model.header.top_k));
  }

  std::vector<LayerDraw>& draws() { return draws_; }

  // horizon 0: no steering.
  const std::vector<std::uint16_t>& sequence(std::int64_t tokens, double place, std::uint32_t tag,
                                             const ClassTopic& topic, double horizon) {
    const std::vector<double>& shares = shares_of(place, tag);
    const std::size_t experts = shares.size();
    std::size_t first = 0;
    for (std::size_t l = 0; l < draws_.size(); ++l) {
      draws_[l].start_sequence(shares.data() + first);
      first += static_cast<std::size_t>(model_.header.experts[l]);
    }
    course_.start_sequence(topic);
    const auto k = static_cast<std::size_t>(model_.header.top_k);
    choices_.resize(static_cast<std::size_t>(tokens) * draws_.size() * k);
    std::uint16_t* out = choices_.data();
    for (std::int64_t t = 0; t < tokens; ++t) {
      const float* rates = model_.class_rates.data() + course_.draw(random_) * experts;
      for (std::size_t l = 0; l < draws_.size(); ++l) {
        draws_[l].draw(random_, rates, l == 0 ? nullptr : out - k, out);
        out += k;
        rates += model_.header.experts[l];
      }
      const bool look = (t + 1) % kSteeringInterval == 0 || t + 1 == tokens;
      if (look && horizon > 0) {
        const std::int64_t since = t % kSteeringInterval + 1;
        for (LayerDraw& draw : draws_) draw.steer(since, horizon);
      }
    }
    if (horizon == 0)
      for (LayerDraw& draw : draws_) draw.expect(tokens);
    return choices_;
  }

 private:
  const std::vector<double>& shares_of(double place, std::uint32_t tag) {
    std::vector<double>& shares = shares_[{part_of(place, model_.popularity.parts.size()), tag}];
    if (shares.empty())
      shares = shares_at(model_.popularity, model_.header.experts, model_.header.top_k, place, tag);
    return shares;
  }

  const LikeModel& model_;
  RandomStream random_;
  std::vector<LayerDraw> draws_;
  CourseDraw course_;
  std::map<std::pair<std::size_t, std::uint32_t>, std::vector<double>> shares_;
  std::vector<std::uint16_t> choices_;
};

struct Layout {
  std::vector<TokenSequence> sequences;
  std::vector<std::size_t> fitted;  // which sequence of the fitted trace each follows
};

// The layout stretched to `amount` requests or steps.
Layout stretched(const LikeModel& model, std::int64_t amount) {
  // A step, in order of time, or a request, as it first comes: it may have a sequence per tag.
  std::map<std::int64_t, std::vector<std::size_t>> units;
  const std::vector<std::size_t> numbers = units_of(model.layout, model.header.has_steps);
  for (std::size_t i = 0; i < model.layout.size(); ++i)
    units[model.header.has_steps ? model.layout[i].step : static_cast<std::int64_t>(numbers[i])]
        .push_back(i);
  std::vector<const std::vector<std::size_t>*> in_order;
  for (const auto& [key, unit] : units) in_order.push_back(&unit);
  const auto had = static_cast<std::int64_t>(in_order.size());
  if (amount == 0) amount = had;
  Layout layout;
  std::int64_t tokens = 0;
  for (std::int64_t i = 0; i < amount; ++i) {
    const auto from = static_cast<std::size_t>((2 * i + 1) * had / (2 * amount));
    for (const std::size_t number : *in_order[from]) {
      TokenSequence sequence = model.layout[number];
      if (model.header.has_steps && amount == had) {
        // the recorder's own numbers
      } else if (model.header.has_steps) {
        sequence.step = i;
      } else {
        sequence.request = i;
      }
      sequence.first_token = static_cast<std::size_t>(tokens);
      tokens += sequence.tokens;
      if (tokens > kMostTokens)
        throw Error(fmt::format("{} {} are more than 2^32 tokens", amount,
                                model.header.has_steps ? "steps" : "requests"));
      layout.sequences.push_back(sequence);
      layout.fitted.push_back(number);
    }
  }
  return layout;
}

}  // namespace

void generate_like(const LikeModel& model, std::int64_t amount, std::uint64_t seed,
                   const SequenceSink& sink) {
  const Layout layout = stretched(model, amount);
  const std::vector<double> places = places_of(layout.sequences, model.header.has_steps);
  const TokenSequence& last = layout.sequences.back();
  const double tokens = static_cast<double>(last.first_token) + static_cast<double>(last.tokens);
  const double horizon = std::max(kLeastHorizon, tokens * kSteeringShare);
  Generator generator(model, seed);
  for (std::size_t i = 0; i < layout.sequences.size(); ++i) {
    const TokenSequence& sequence = layout.sequences[i];
    sink(sequence, generator.sequence(sequence.tokens, places[i], sequence.tag,
                                      model.topics[layout.fitted[i]], horizon));
  }
}

TokenSequences generate_like(const LikeModel& model, std::int64_t amount, std::uint64_t seed) {
  TokenSequences all;
  all.header = model.header;
  all.tags = model.tags;
  generate_like(model, amount, seed,
                [&](const TokenSequence& sequence, std::span<const std::uint16_t> choices) {
                  all.sequences.push_back(sequence);
                  all.choices.insert(all.choices.end(), choices.begin(), choices.end());
                });
  return all;
}

std::int64_t write_like(const LikeModel& model, const std::string& fitted_to, std::int64_t amount,
                        std::uint64_t seed, const std::string& path) {
  TraceHeader header = model.header;
  header.has_gate_weights = header.has_token_ids = header.has_rounds = false;
  header.provenance = fmt::format(
      "synthetic, not recorded from a model: drawn from a law of {} numbers fitted to the {} "
      "choices of {}, seed {}",
      model.parameters(), model.fitted_choices, fitted_to, seed);
  TraceWriter writer(path, header);
  std::vector<std::uint32_t> tags;
  for (const std::string& tag : model.tags) tags.push_back(header.has_tags ? writer.tag(tag) : 0);
  const std::size_t per_token = header.experts.size() * static_cast<std::size_t>(header.top_k);
  TokenRow row;
  std::int64_t written = 0;
  generate_like(model, amount, seed,
                [&](const TokenSequence& sequence, std::span<const std::uint16_t> choices) {
                  row.step = sequence.step;
                  row.source_rank = sequence.source_rank;
                  row.request = sequence.request;
                  row.tag = header.has_tags ? tags.at(sequence.tag) : 0;
                  for (std::int64_t t = 0; t < sequence.tokens; ++t) {
                    row.position = sequence.first_position + t;
                    row.choices =
                        choices.subspan(static_cast<std::size_t>(t) * per_token, per_token);
                    writer.append(row);
                  }
                  written += sequence.tokens;
                });
  writer.finish();
  return written;
}

void calibrate(LikeModel& model, const std::vector<Agreement>& agreement, std::uint64_t seed) {
  for (LikeLayer& layer : model.layers) layer.keep = {kFirstKeep, kFirstKeep};
  const std::vector<double> places = places_of(model.layout, model.header.has_steps);
  std::int64_t all = 0;
  for (const TokenSequence& sequence : model.layout) all += sequence.tokens;
  // A long trace is piloted by every n-th sequence.
  const auto every = static_cast<std::size_t>(std::max<std::int64_t>(1, all / kPilotTokens));
  for (int pilot = 0; pilot < kPilots; ++pilot) {
    Generator generator(model, seed + static_cast<std::uint64_t>(pilot));
    for (LayerDraw& draw : generator.draws()) draw.measure();
    double tokens = 0;
    for (std::size_t i = 0; i < model.layout.size(); i += every) {
      generator.sequence(model.layout[i].tokens, places[i], model.layout[i].tag, model.topics[i],
                         0);
      tokens += static_cast<double>(model.layout[i].tokens);
    }
    for (std::size_t l = 0; l < model.layers.size(); ++l) {
      const LayerDraw& draw = generator.draws()[l];
      draw.correct(tokens, kPilotGain / (1 + kPilotFall * pilot), model.layers[l].bias);
      for (std::size_t s = 0; s < agreement[l].size(); ++s) {
        const double drawn = std::max(draw.agreement()[s] / tokens, 1e-9);
        const double lack = std::log(std::max(agreement[l][s], 1e-9) / drawn);
        float& keep = model.layers[l].keep[s];
        keep *= static_cast<float>(
            std::exp(std::clamp(kKeepGain / (1 + kPilotFall * pilot) * lack, -1.0, 1.0)));
        keep = std::min(keep, kMostKeep);
      }
    }
  }
}

}  // namespace sim
