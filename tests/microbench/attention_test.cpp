#include "models/microbench/reference/attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/microbench/numbers.h"

namespace sim::reference {
namespace {

using testing::dot;
using testing::expect_gradient;
using testing::random_numbers;

KernelCase case_of(const std::string& kernel, std::map<std::string, std::int64_t> sizes) {
  KernelCase one;
  one.kernel = kernel;
  one.sizes = std::move(sizes);
  return one;
}

std::vector<float> floats(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

TEST(Attention, ByHand) {
  // One head of size 1, scale 1. Position 0 sees itself only; position 1 has scores 0 and ln 3.
  const AttentionShape s = attention_shape(
      case_of("attention_prefill",
              {{"sequences", 1}, {"tokens", 2}, {"heads", 1}, {"kv_heads", 1}, {"head_dim", 1}}));
  EXPECT_EQ(s.scale, 1);
  const std::vector<double> q = {7, 1};
  const std::vector<double> k = {0, std::log(3.0)};
  const std::vector<double> v = {8, 4};
  std::vector<double> out(2), scratch;
  attention<double>(s, q, k, v, out, scratch);
  EXPECT_EQ(out[0], 8);
  EXPECT_NEAR(out[1], 0.25 * 8 + 0.75 * 4, 1e-14);
}

// Every kind, in float and in double, against the definition of each single query. Longer than a
// block of queries, and not a multiple of it.
TEST(Attention, EveryKindIsTheDefinition) {
  const KernelCase kinds[] = {
      case_of("attention_prefill",
              {{"sequences", 2}, {"tokens", 70}, {"heads", 4}, {"kv_heads", 2}, {"head_dim", 6}}),
      case_of("attention_decode",
              {{"sequences", 3}, {"context", 9}, {"heads", 6}, {"kv_heads", 2}, {"head_dim", 5}}),
      case_of("mla_prefill",
              {{"sequences", 1}, {"tokens", 5}, {"heads", 3}, {"head_dim", 7}, {"value_dim", 4}}),
      case_of("mla_decode",
              {{"sequences", 2}, {"context", 6}, {"heads", 3}, {"kv_rank", 8}, {"rope_dim", 4}})};
  for (const KernelCase& kind : kinds) {
    SCOPED_TRACE(kind.kernel);
    EXPECT_TRUE(case_mistakes(kind).empty());
    const AttentionShape s = attention_shape(kind);
    const bool latent = kind.kernel == "mla_decode";
    const auto q = random_numbers(static_cast<std::size_t>(s.query_size()), "q");
    const auto k = random_numbers(static_cast<std::size_t>(s.key_size()), "k");
    const auto v = latent ? k : random_numbers(static_cast<std::size_t>(s.value_size()), "v");
    const auto qf = floats(q), kf = floats(k), vf = floats(v);
    std::vector<double> out(static_cast<std::size_t>(s.out_size()), std::nan("")), scratch;
    std::vector<float> outf(out.size(), std::nanf("")), scratchf;
    attention<double>(s, q, k, v, out, scratch);
    attention<float>(s, qf, kf, vf, outf, scratchf);
    std::vector<double> one(static_cast<std::size_t>(s.value_dim));
    std::size_t at = 0;
    for (std::int64_t b = 0; b < s.sequences; ++b) {
      for (std::int64_t t = 0; t < s.queries; ++t) {
        for (std::int64_t h = 0; h < s.heads; ++h) {
          attention_of_one(s, qf, kf, vf, b, t, h, one);
          for (const double value : one) {
            ASSERT_NEAR(out[at], value, 1e-5) << b << ' ' << t << ' ' << h;
            ASSERT_NEAR(outf[at], value, 1e-5);
            ++at;
          }
        }
      }
    }
    EXPECT_EQ(at, out.size());
  }
}

TEST(Attention, GradientsAreSlopes) {
  for (const bool latent : {false, true}) {
    const AttentionShape s =
        attention_shape(latent ? case_of("mla_prefill", {{"sequences", 2},
                                                         {"tokens", 3},
                                                         {"heads", 2},
                                                         {"head_dim", 4},
                                                         {"value_dim", 2}})
                               : case_of("attention_prefill", {{"sequences", 1},
                                                               {"tokens", 4},
                                                               {"heads", 4},
                                                               {"kv_heads", 2},
                                                               {"head_dim", 3}}));
    auto q = random_numbers(static_cast<std::size_t>(s.query_size()), "q");
    auto k = random_numbers(static_cast<std::size_t>(s.key_size()), "k");
    auto v = random_numbers(static_cast<std::size_t>(s.value_size()), "v");
    const auto dout = random_numbers(static_cast<std::size_t>(s.out_size()), "dout");
    std::vector<double> out(dout.size()), scratch;
    const auto loss = [&] {
      attention<double>(s, q, k, v, out, scratch);
      return dot(out, dout);
    };
    loss();
    const std::vector<double> kept = out;
    std::vector<double> dq(q.size(), std::nan("")), dk(k.size(), std::nan(""));
    std::vector<double> dv(v.size(), std::nan(""));
    attention_backward<double>(s, q, k, v, kept, dout, {dq, dk, dv}, scratch);
    expect_gradient(q, dq, loss, "dq");
    expect_gradient(k, dk, loss, "dk");
    expect_gradient(v, dv, loss, "dv");
  }
}

// Longer than a block of queries: the last positions' gradients come from several blocks.
TEST(Attention, BackwardOverSeveralBlocksInFloat) {
  const AttentionShape s = attention_shape(
      case_of("attention_prefill",
              {{"sequences", 1}, {"tokens", 70}, {"heads", 2}, {"kv_heads", 1}, {"head_dim", 3}}));
  auto k = random_numbers(static_cast<std::size_t>(s.key_size()), "k");
  const auto q = random_numbers(static_cast<std::size_t>(s.query_size()), "q");
  const auto v = random_numbers(static_cast<std::size_t>(s.value_size()), "v");
  const auto dout = random_numbers(static_cast<std::size_t>(s.out_size()), "dout");
  std::vector<double> out(dout.size()), scratch, dq(q.size()), dk(k.size()), dv(v.size());
  const auto loss = [&] {
    attention<double>(s, q, k, v, out, scratch);
    return dot(out, dout);
  };
  loss();
  const std::vector<double> kept = out;
  attention_backward<double>(s, q, k, v, kept, dout, {dq, dk, dv}, scratch);
  expect_gradient(k, dk, loss, "dk");
  std::vector<float> dqf(q.size()), dkf(k.size()), dvf(v.size()), scratchf;
  attention_backward<float>(s, floats(q), floats(k), floats(v), floats(kept), floats(dout),
                            {dqf, dkf, dvf}, scratchf);
  for (std::size_t i = 0; i < dk.size(); ++i) ASSERT_NEAR(dkf[i], dk[i], 1e-3);
}

}  // namespace
}  // namespace sim::reference
