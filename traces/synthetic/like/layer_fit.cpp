// One layer's bias and tables by maximum likelihood.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include <fmt/format.h>

#include "sim/core/random.h"
#include "traces/synthetic/like/blocks.h"
#include "traces/synthetic/like/like_fit.h"

namespace sim {
namespace {

constexpr std::size_t kMostBatchTokens = 512;
constexpr std::size_t kLeastBatchTokens = 32;
constexpr std::size_t kBatchesPerPass = 64;  // fewer tokens per batch in a small trace
constexpr double kLeastUpdates = 600;        // more passes over a small trace
constexpr double kFirstRate = 0.05;          // of Adam, falling linearly to 0
constexpr double kPriorPrecision = 1;        // of each number of a table, normal around 0

// Adam (Kingma and Ba, arXiv 1412.6980), ascending.
class Ascent {
 public:
  explicit Ascent(std::size_t size) : mean_(size), square_(size) {}
  void step(std::vector<float>& values, const std::vector<float>& gradient, double rate,
            double prior) {
    ++steps_;
    const double mean_scale = 1 / (1 - std::pow(0.9, steps_));
    const double square_scale = 1 / (1 - std::pow(0.999, steps_));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double g = gradient[i] - prior * values[i];
      mean_[i] = 0.9 * mean_[i] + 0.1 * g;
      square_[i] = 0.999 * square_[i] + 0.001 * g * g;
      values[i] += static_cast<float>(rate * mean_[i] * mean_scale /
                                      (std::sqrt(square_[i] * square_scale) + 1e-9));
    }
  }

 private:
  std::vector<double> mean_, square_;
  int steps_ = 0;
};

// A pair table while it is fitted: exp of its entries, and the gradient per entry.
class FittedTable {
 public:
  FittedTable(std::size_t rows, std::size_t columns, std::size_t rank, RandomStream& random)
      : width_(padded(columns)), left_ascent_(0), right_ascent_(0) {
    table_.rows = rows;
    table_.columns = columns;
    table_.full = 2 * rank >= std::min(rows, columns) && rank > 0;
    table_.rank = table_.full ? columns : rank;
    table_.left.assign(rows * table_.rank, 0);
    if (!table_.full) {
      // Zero times zero would have no gradient: one side starts at random.
      for (float& value : table_.left) value = static_cast<float>(0.1 * random.normal());
      table_.right.assign(columns * table_.rank, 0);
    }
    left_ascent_ = Ascent(table_.left.size());
    right_ascent_ = Ascent(table_.right.size());
    if (rank == 0) return;  // all 1, nothing to fit: `check_size` has bounded the others
    weight_.assign(rows * width_, 1);
    gradient_.assign(rows * width_, 0);
  }

  const PairTable& table() const { return table_; }
  bool is_fitted() const { return table_.rank > 0; }
  const float* weight(std::size_t row) const { return weight_.data() + row * width_; }
  float* gradient(std::size_t row) { return gradient_.data() + row * width_; }

  void refresh() {
    if (table_.rank == 0) return;
    const std::vector<float> values = table_.expanded();
    for (std::size_t r = 0; r < table_.rows; ++r)
      for (std::size_t c = 0; c < table_.columns; ++c)
        weight_[r * width_ + c] = std::exp(values[r * table_.columns + c]);
  }

  void step(double scale, double rate, double prior) {
    if (table_.rank == 0) return;
    std::vector<float> left(table_.left.size(), 0);
    std::vector<float> right(table_.right.size(), 0);
    for (std::size_t r = 0; r < table_.rows; ++r) {
      for (std::size_t c = 0; c < table_.columns; ++c) {
        const float g = gradient_[r * width_ + c] * static_cast<float>(scale);
        if (table_.full) {
          left[r * table_.rank + c] = g;
          continue;
        }
        for (std::size_t i = 0; i < table_.rank; ++i) {
          left[r * table_.rank + i] += g * table_.right[c * table_.rank + i];
          right[c * table_.rank + i] += g * table_.left[r * table_.rank + i];
        }
      }
    }
    left_ascent_.step(table_.left, left, rate, prior);
    right_ascent_.step(table_.right, right, rate, prior);
    std::fill(gradient_.begin(), gradient_.end(), 0.0F);
  }

 private:
  std::size_t width_;
  PairTable table_;
  std::vector<float> weight_, gradient_;
  Ascent left_ascent_, right_ascent_;
};

float sum_of(const std::vector<float>& values) {
  std::array<float, kBlock> lanes{};
  for (std::size_t e = 0; e < values.size(); e += kBlock)
    for (std::size_t i = 0; i < kBlock; ++i) lanes[i] += values[e + i];
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

void multiply(std::vector<float>& by, const float* factor) {
  for (std::size_t e = 0; e < by.size(); ++e) by[e] *= factor[e];
}

class LayerFitter {
 public:
  LayerFitter(const TokenSequences& trace, const std::vector<std::uint16_t>& class_of_token,
              const std::vector<float>& rates, std::size_t layer, std::size_t rank,
              const LikeOptions& options)
      : trace_(trace),
        class_of_token_(class_of_token),
        layer_(layer),
        experts_(static_cast<std::size_t>(trace.header.experts[layer])),
        before_(layer == 0 ? 0 : static_cast<std::size_t>(trace.header.experts[layer - 1])),
        k_(trace.top_k()),
        random_(options.seed, fmt::format("synthetic/like/fit {}", layer)),
        across_(before_, experts_, layer == 0 ? 0 : rank, random_),
        together_(experts_, experts_, k_ == 1 ? 0 : rank, random_),
        bias_(experts_, 0),
        bias_ascent_(experts_),
        weight_(padded(experts_)),
        residual_(padded(experts_) * k_),
        bias_weight_(padded(experts_)),
        bias_gradient_(padded(experts_)) {
    std::size_t first = 0;
    for (std::size_t l = 0; l < layer; ++l)
      first += static_cast<std::size_t>(trace.header.experts[l]);
    std::size_t every = first;
    for (std::size_t l = layer; l < trace.layers(); ++l)
      every += static_cast<std::size_t>(trace.header.experts[l]);
    const std::size_t classes = rates.size() / every;
    rates_.resize(classes * padded(experts_));
    for (std::size_t c = 0; c < classes; ++c)
      std::copy_n(rates.data() + c * every + first, experts_, rates_.data() + c * padded(experts_));
  }

  LayerFit fit(const LikeOptions& options) {
    const std::size_t tokens = trace_.tokens();
    batch_ = std::clamp(tokens / kBatchesPerPass, kLeastBatchTokens, kMostBatchTokens);
    const double per_pass =
        std::max(1.0, static_cast<double>(tokens) / static_cast<double>(batch_));
    const int passes =
        std::max(options.passes, static_cast<int>(std::ceil(kLeastUpdates / per_pass)));
    updates_ = per_pass * passes;
    refresh();
    std::vector<std::uint32_t> order(tokens);
    std::iota(order.begin(), order.end(), 0U);
    for (int pass = 0; pass < passes; ++pass) {
      log_likelihood_ = 0;
      random_.shuffle(order);
      for (const std::uint32_t token : order) {
        learn(token);
        if (++in_batch_ == batch_) update();
      }
    }
    if (in_batch_ > 0) update();
    LayerFit result;
    result.layer.bias = bias_;
    result.layer.across = across_.table();
    result.layer.together = together_.table();
    result.log_likelihood = log_likelihood_;
    return result;
  }

 private:
  void refresh() {
    across_.refresh();
    together_.refresh();
    for (std::size_t e = 0; e < experts_; ++e) bias_weight_[e] = std::exp(bias_[e]);
  }

  void learn(std::size_t token) {
    const std::uint16_t* before = layer_ == 0 ? nullptr : trace_.at(token, layer_ - 1);
    chosen_.assign(trace_.at(token, layer_), trace_.at(token, layer_) + k_);
    random_.shuffle(chosen_);  // a set: the order in which it is drawn means nothing
    const std::size_t width = weight_.size();
    const float* rates = rates_.data() + class_of_token_[token] * width;
    for (std::size_t e = 0; e < width; ++e) weight_[e] = rates[e] * bias_weight_[e];
    for (std::size_t b = 0; across_.is_fitted() && b < k_; ++b)
      multiply(weight_, across_.weight(before[b]));
    for (std::size_t j = 0; j < k_; ++j) {
      float* residual = residual_.data() + j * width;
      const float total = sum_of(weight_);
      const float scale = -1 / total;
      for (std::size_t e = 0; e < width; ++e) residual[e] = weight_[e] * scale;
      const std::uint16_t c = chosen_[j];
      log_likelihood_ += std::log(std::max(-residual[c], 1e-30F));
      residual[c] += 1;
      weight_[c] = 0;
      if (j + 1 < k_ && together_.is_fitted()) multiply(weight_, together_.weight(c));
    }
    // Later residuals reach the rows of all that were drawn before: sum from the end.
    float* sum = residual_.data() + (k_ - 1) * width;
    for (std::size_t j = k_ - 1; j > 0; --j) {
      float* earlier = residual_.data() + (j - 1) * width;
      if (together_.is_fitted()) {
        float* row = together_.gradient(chosen_[j - 1]);
        for (std::size_t e = 0; e < width; ++e) row[e] += sum[e];
      }
      for (std::size_t e = 0; e < width; ++e) earlier[e] += sum[e];
      sum = earlier;
    }
    for (std::size_t b = 0; across_.is_fitted() && b < k_; ++b) {
      float* row = across_.gradient(before[b]);
      for (std::size_t e = 0; e < width; ++e) row[e] += sum[e];
    }
    for (std::size_t e = 0; e < width; ++e) bias_gradient_[e] += sum[e];
  }

  void update() {
    const double scale = 1 / static_cast<double>(in_batch_);
    const double prior = kPriorPrecision / static_cast<double>(trace_.tokens());
    const double rate = kFirstRate * std::max(0.02, 1 - done_ / updates_);
    across_.step(scale, rate, prior);
    together_.step(scale, rate, prior);
    std::vector<float> gradient(experts_);
    for (std::size_t e = 0; e < experts_; ++e)
      gradient[e] = static_cast<float>(bias_gradient_[e] * scale);
    bias_ascent_.step(bias_, gradient, rate, prior);
    std::fill(bias_gradient_.begin(), bias_gradient_.end(), 0.0F);
    refresh();
    done_ += 1;
    in_batch_ = 0;
  }

  const TokenSequences& trace_;
  const std::vector<std::uint16_t>& class_of_token_;
  std::size_t layer_, experts_, before_, k_;
  RandomStream random_;
  FittedTable across_, together_;
  std::vector<float> bias_;
  Ascent bias_ascent_;
  std::vector<float> weight_, residual_, bias_weight_, bias_gradient_;
  std::vector<float> rates_;  // [class][padded expert]
  std::vector<std::uint16_t> chosen_;
  std::size_t batch_ = 0, in_batch_ = 0;
  double updates_ = 0, done_ = 0;
  double log_likelihood_ = 0;
};

}  // namespace

std::vector<float> PairTable::expanded() const {
  if (full) return left;
  std::vector<float> values(rows * columns, 0);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) {
      float sum = 0;
      for (std::size_t i = 0; i < rank; ++i) sum += left[r * rank + i] * right[c * rank + i];
      values[r * columns + c] = sum;
    }
  return values;
}

LayerFit fit_layer(const TokenSequences& trace, const std::vector<std::uint16_t>& class_of_token,
                   const std::vector<float>& rates, std::size_t layer, std::size_t rank,
                   const LikeOptions& options) {
  return LayerFitter(trace, class_of_token, rates, layer, rank, options).fit(options);
}

}  // namespace sim
