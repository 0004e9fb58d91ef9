// Holds sampled rows of attention's gradients against their definition in double precision.
#pragma once

#include "models/microbench/cuda/cases/product_check.h"
#include "models/microbench/reference/attention.h"

namespace sim::device_code {

constexpr float kScoreUnit = 1.44269504F;  // log2(e): the kernels' scores are in units of log 2

struct GradientArrays {
  const Array<Bf16>& q;
  const Array<Bf16>& k;
  const Array<Bf16>& v;
  const Array<Bf16>& out;
  const Array<Bf16>& dout;
  const Array<float>& lse;
  const Array<Bf16>& dq;
  const Array<Bf16>& dk;
  const Array<Bf16>& dv;
};

// The rows of the last sequence, on the host: the check reads most of them several times. Row 0 is
// its first; the last ones lie at the end of the array.
class LastSequence {
 public:
  LastSequence(const Array<Bf16>& array, std::int64_t sequences, std::int64_t width)
      : width_(width),
        values_(
            array.download(array.size() / sequences * (sequences - 1), array.size() / sequences)) {}
  std::vector<double> row(std::int64_t row) const {
    const auto begin = values_.begin() + row * width_;
    return as_doubles(std::vector<Bf16>(begin, begin + width_));
  }

 private:
  std::int64_t width_;
  std::vector<Bf16> values_;
};

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Sampled rows of the gradients by their definition. The forward's log-sum-exp is an input; it is
// held against its own definition for the sampled queries.
class GradientCheck {
 public:
  GradientCheck(const reference::AttentionShape& shape, const GradientArrays& arrays)
      : s_(shape),
        arrays_(arrays),
        q_(arrays.q, shape.sequences, shape.head_dim),
        k_(arrays.k, shape.sequences, shape.head_dim),
        v_(arrays.v, shape.sequences, shape.value_dim),
        out_(arrays.out, shape.sequences, shape.value_dim),
        dout_(arrays.dout, shape.sequences, shape.value_dim),
        dq_(arrays.dq, shape.sequences, shape.head_dim),
        dk_(arrays.dk, shape.sequences, shape.head_dim),
        dv_(arrays.dv, shape.sequences, shape.value_dim),
        lse_(arrays.lse.download()) {}

  void run(Comparison& comparison) {
    comparison.all_written("dq", arrays_.dq);
    comparison.all_written("dk", arrays_.dk);
    comparison.all_written("dv", arrays_.dv);
    Sample lse, dq, dk, dv;
    for (const std::int64_t head : spread(s_.heads, 2))
      for (const std::int64_t query : spread(s_.queries, 6)) check_query(head, query, lse, dq);
    for (const std::int64_t kv_head : spread(s_.kv_heads, 2))
      for (const std::int64_t key : spread(s_.context, 6)) check_key(kv_head, key, dk, dv);
    comparison.compare("lse", lse.got, lse.expected, kFp32Tolerance);
    // Weights and slopes are rounded to bf16 before they are multiplied again.
    comparison.compare("dq", dq.got, dq.expected, 4 * kBf16Tolerance);
    comparison.compare("dk", dk.got, dk.expected, 4 * kBf16Tolerance);
    comparison.compare("dv", dv.got, dv.expected, 4 * kBf16Tolerance);
  }

 private:
  struct Sample {
    std::vector<double> got;
    std::vector<double> expected;
    void add(const std::vector<double>& one, const std::vector<double>& other) {
      got.insert(got.end(), one.begin(), one.end());
      expected.insert(expected.end(), other.begin(), other.end());
    }
  };

  std::int64_t query_row(std::int64_t query, std::int64_t head) const {
    return query * s_.heads + head;
  }
  std::int64_t key_row(std::int64_t key, std::int64_t kv_head) const {
    return key * s_.kv_heads + kv_head;
  }
  double lse(std::int64_t query, std::int64_t head) const {
    const std::int64_t first = (s_.sequences - 1) * s_.queries * s_.heads;
    return as_double(lse_[index(first + query_row(query, head))]) / kScoreUnit;
  }
  double delta(std::int64_t query, std::int64_t head) const {
    const std::int64_t row = query_row(query, head);
    return dot(out_.row(row), dout_.row(row));
  }

  void check_query(std::int64_t head, std::int64_t query, Sample& lse_sample, Sample& dq_sample) {
    const std::int64_t kv_head = head / s_.group();
    const std::int64_t row = query_row(query, head);
    const auto q = q_.row(row);
    const auto dout = dout_.row(row);
    const double mean = delta(query, head);
    const double normal = lse(query, head);
    std::vector<double> expected(index(s_.head_dim));
    double sum = 0;
    for (std::int64_t key = 0; key <= query; ++key) {
      const auto k = k_.row(key_row(key, kv_head));
      const auto v = v_.row(key_row(key, kv_head));
      const double score = dot(q, k) * s_.scale;
      sum += std::exp(score);
      const double slope = std::exp(score - normal) * (dot(dout, v) - mean);
      for (std::size_t i = 0; i < k.size(); ++i) expected[i] += s_.scale * slope * k[i];
    }
    dq_sample.add(dq_.row(row), expected);
    lse_sample.add({normal}, {std::log(sum)});
  }

  void check_key(std::int64_t kv_head, std::int64_t key, Sample& dk_sample, Sample& dv_sample) {
    const std::int64_t row = key_row(key, kv_head);
    const auto k = k_.row(row);
    const auto v = v_.row(row);
    std::vector<double> dk(k.size());
    std::vector<double> dv(v.size());
    for (std::int64_t head = kv_head * s_.group(); head < (kv_head + 1) * s_.group(); ++head)
      for (std::int64_t query = key; query < s_.queries; ++query) {
        const auto q = q_.row(query_row(query, head));
        const auto dout = dout_.row(query_row(query, head));
        const double weight = std::exp(dot(q, k) * s_.scale - lse(query, head));
        const double slope = weight * (dot(dout, v) - delta(query, head));
        for (std::size_t i = 0; i < v.size(); ++i) dv[i] += weight * dout[i];
        for (std::size_t i = 0; i < k.size(); ++i) dk[i] += s_.scale * slope * q[i];
      }
    dk_sample.add(dk_.row(row), dk);
    dv_sample.add(dv_.row(row), dv);
  }

  reference::AttentionShape s_;
  GradientArrays arrays_;
  LastSequence q_, k_, v_, out_, dout_, dq_, dk_, dv_;
  std::vector<float> lse_;
};

}  // namespace sim::device_code
