// Routing drawn from a law fitted to a trace: it recovers its own law, keeps popularity, and says
// no to traces that cannot carry a fit.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "sim/core/error.h"
#include "sim/core/random.h"
#include "tests/traces/temp_file.h"
#include "traces/synthetic/like/generate.h"
#include "traces/synthetic/like/like_fit.h"

namespace sim {
namespace {

// Two layers of 8 experts, top-2; requests of 64 tokens that stay in one of two topics: topic 0
// chooses among experts 0..3, topic 1 among 4..7; the second layer repeats the first's choices.
TokenSequences two_topics(int requests) {
  TokenSequences trace;
  trace.header.model = "two topics";
  trace.header.experts = {8, 8};
  trace.header.top_k = 2;
  trace.tags = {};
  RandomStream random(5, "test");
  for (int r = 0; r < requests; ++r) {
    TokenSequence sequence;
    sequence.first_token = trace.choices.size() / 4;
    sequence.tokens = 64;
    sequence.request = r;
    trace.sequences.push_back(sequence);
    for (int t = 0; t < 64; ++t) {
      const auto first = static_cast<std::uint16_t>(random.below(4));
      const auto second = static_cast<std::uint16_t>((first + 1 + random.below(3)) % 4);
      const auto from = static_cast<std::uint16_t>(r % 2 * 4);
      for (int layer = 0; layer < 2; ++layer) {
        trace.choices.push_back(static_cast<std::uint16_t>(from + first));
        trace.choices.push_back(static_cast<std::uint16_t>(from + second));
      }
    }
  }
  return trace;
}

double share_of_topic(const TokenSequences& trace, const TokenSequence& sequence) {
  double upper = 0;
  for (std::size_t t = 0; t < static_cast<std::size_t>(sequence.tokens); ++t)
    for (std::size_t j = 0; j < 2; ++j) upper += trace.at(sequence.first_token + t, 0)[j] >= 4;
  return upper / (2 * static_cast<double>(sequence.tokens));
}

double shared_by_layers(const TokenSequences& trace) {
  double shared = 0;
  for (std::size_t t = 0; t < trace.tokens(); ++t)
    for (std::size_t i = 0; i < 2; ++i)
      for (std::size_t j = 0; j < 2; ++j) shared += trace.at(t, 0)[i] == trace.at(t, 1)[j];
  return shared / (2 * static_cast<double>(trace.tokens()));
}

TEST(Like, RequestsKeepTheirTopicAndLayersTheirTie) {
  const TokenSequences trace = two_topics(40);
  const TokenSequences drawn = generate_like(fit_like(trace, {}), 0, 3);
  ASSERT_EQ(drawn.tokens(), trace.tokens());
  for (const TokenSequence& sequence : drawn.sequences) {
    const double upper = share_of_topic(drawn, sequence);
    EXPECT_TRUE(upper < 0.1 || upper > 0.9) << "a request mixes topics: " << upper;
  }
  // Real: 1; independent layers inside a topic: 0.5.
  EXPECT_GT(shared_by_layers(drawn), 0.85);
}

TEST(Like, ChoicesOfATokenAreDistinct) {
  const TokenSequences drawn = generate_like(fit_like(two_topics(10), {}), 0, 3);
  for (std::size_t t = 0; t < drawn.tokens(); ++t)
    for (std::size_t layer = 0; layer < 2; ++layer)
      ASSERT_NE(drawn.at(t, layer)[0], drawn.at(t, layer)[1]);
}

// One class, no tables: the law is successive sampling with steered popularity. Expert 0 is in
// every second token, expert 1 in every fourth, ...: drawn shares must meet the recorded ones.
TEST(Like, PopularityIsMet) {
  TokenSequences trace;
  trace.header.experts = {6};
  trace.header.top_k = 1;
  for (int r = 0; r < 20; ++r) {
    TokenSequence sequence;
    sequence.first_token = trace.choices.size();
    sequence.tokens = 100;
    sequence.request = r;
    trace.sequences.push_back(sequence);
    for (int t = 0; t < 100; ++t) {
      const int u = t % 20;  // 10, 5, 2, 1, 1, 1 of 20
      trace.choices.push_back(static_cast<std::uint16_t>(u < 10   ? 0
                                                         : u < 15 ? 1
                                                         : u < 17 ? 2
                                                                  : u - 14));
    }
  }
  const LikeModel model = fit_like(trace, {});
  const TokenSequences drawn = generate_like(model, 200, 3);  // 200 requests of 100 tokens
  std::array<double, 6> shares{};
  for (const std::uint16_t e : drawn.choices) shares[e] += 1.0 / 20000;
  const std::array<double, 6> recorded = {0.5, 0.25, 0.1, 0.05, 0.05, 0.05};
  for (std::size_t e = 0; e < 6; ++e)
    EXPECT_NEAR(shares[e], recorded[e], 0.02 * recorded[e] + 0.003) << e;
}

// A law drawn from and fitted again: agreement with the past comes back.
TEST(Like, RecoversItsOwnMemory) {
  const TokenSequences drawn = generate_like(fit_like(two_topics(60), {}), 0, 3);
  const TokenSequences again = generate_like(fit_like(drawn, {}), 0, 4);
  const std::vector<Agreement> once = agreements(drawn);
  const std::vector<Agreement> twice = agreements(again);
  for (std::size_t layer = 0; layer < 2; ++layer)
    for (std::size_t s = 0; s < 2; ++s)
      EXPECT_NEAR(twice[layer][s], once[layer][s], 0.05 * once[layer][s]) << layer << " " << s;
}

// Topic {a: 3/4, b: 1/4}; in the trace a and b follow each other equally often both ways. With the
// prior of one token, popularity 1/2 each, all four counts are 2.5, so the rows of the trace's
// chain are (1/2, 1/2): independence is nearest, and with the topic as its law each row is it.
TEST(Like, ChainHasTheTopicAsItsLaw) {
  ClassCourse course;
  course.popularity = {0.5, 0.5};
  course.next = {{{0, 2}, {1, 2}}, {{0, 2}, {1, 2}}};
  const std::vector<double> chain = chain_of(course, {{0, 0.75}, {1, 0.25}});
  EXPECT_NEAR(chain[0], 0.75, 1e-9);
  EXPECT_NEAR(chain[1], 0.25, 1e-9);
  EXPECT_NEAR(chain[2], 0.75, 1e-9);
  EXPECT_NEAR(chain[3], 0.25, 1e-9);
}

TEST(Like, HalvesShareNoRequestAndTogetherAreTheTrace) {
  const TokenSequences trace = two_topics(11);
  const TokenSequences first = half_of(trace, false, 1);
  const TokenSequences second = half_of(trace, true, 1);
  std::vector<std::int64_t> requests;
  for (const TokenSequences* half : {&first, &second})
    for (const TokenSequence& sequence : half->sequences) requests.push_back(sequence.request);
  std::sort(requests.begin(), requests.end());
  ASSERT_EQ(requests.size(), 11U);
  for (std::int64_t r = 0; r < 11; ++r) EXPECT_EQ(requests[static_cast<std::size_t>(r)], r);
  EXPECT_EQ(first.tokens() + second.tokens(), trace.tokens());
}

// A recorder that tags prefill and decode gives a request two sequences.
TokenSequences prefill_and_decode(int requests) {
  TokenSequences trace = two_topics(2 * requests);
  trace.header.has_tags = true;
  trace.tags = {"prefill", "decode"};
  for (std::size_t i = 0; i < trace.sequences.size(); ++i) {
    trace.sequences[i].request = static_cast<std::int64_t>(i / 2);
    trace.sequences[i].tag = i % 2;
  }
  return trace;
}

TEST(Like, HalvesShareNoRequestOfTwoTags) {
  const TokenSequences trace = prefill_and_decode(9);
  for (const bool second : {false, true}) {
    const TokenSequences half = half_of(trace, second, 1);
    std::map<std::int64_t, int> sequences;
    for (const TokenSequence& sequence : half.sequences) ++sequences[sequence.request];
    for (const auto& [request, count] : sequences) EXPECT_EQ(count, 2) << "request " << request;
    EXPECT_GE(sequences.size(), 4U);
  }
}

TEST(Like, StretchedRequestsKeepTheirTags) {
  const TokenSequences drawn = generate_like(fit_like(prefill_and_decode(6), {}), 4, 1);
  ASSERT_EQ(drawn.sequences.size(), 8U);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(drawn.sequences[i].request, static_cast<std::int64_t>(i / 2));
    EXPECT_EQ(drawn.sequences[i].tag, i % 2);
  }
}

// Two copies of two bytes a choice, and at least sequence, position and row of each token.
TEST(Like, BytesToReadCountBothCopiesAndTheRows) {
  EXPECT_EQ(bytes_to_read(0, 1000), 4000U);
  EXPECT_GE(bytes_to_read(1000, 0), 20000U);
  EXPECT_GT(bytes_to_read(std::uint64_t{1} << 62, 1), std::uint64_t{1} << 40);
}

TEST(Like, SameSeedSameBytes) {
  const LikeModel model = fit_like(two_topics(8), {});
  const testing::TempFile a("like-a.moetrace"), b("like-b.moetrace"), c("like-c.moetrace");
  write_like(model, "x", 0, 3, a.path());
  write_like(fit_like(two_topics(8), {}), "x", 0, 3, b.path());
  write_like(model, "x", 0, 4, c.path());
  EXPECT_EQ(a.read(), b.read());
  EXPECT_NE(a.read(), c.read());
}

TEST(Like, AnotherNumberOfRequestsStretchesTheRun) {
  const LikeModel model = fit_like(two_topics(8), {});
  EXPECT_EQ(generate_like(model, 24, 1).sequences.size(), 24U);
  EXPECT_EQ(generate_like(model, 3, 1).tokens(), 3U * 64);
}

std::string refusal(const TokenSequences& trace) {
  try {
    fit_like(trace, {});
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// 7000 experts twice: tables of 98 million pairs. With as many choices asked of each pair as there
// are in all, no table is fitted and nothing is held for one.
TEST(Like, TablesTooLargeAreRefusedBeforeTheyAreHeld) {
  TokenSequences trace;
  trace.header.experts = {7000, 7000};
  trace.header.top_k = 1;
  for (int r = 0; r < 4; ++r) {
    TokenSequence sequence;
    sequence.first_token = trace.choices.size() / 2;
    sequence.tokens = 35000;
    sequence.request = r;
    trace.sequences.push_back(sequence);
    for (int t = 0; t < 35000; ++t)
      trace.choices.insert(trace.choices.end(), 2, static_cast<std::uint16_t>(t % 7000));
  }
  LikeOptions options;
  options.choices_per_table_entry = 1;  // tables of rank 5
  try {
    fit_like(trace, options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("tables of pairs of experts need"), std::string::npos)
        << error.what();
  }
}

TEST(Like, RefusesWhatCannotCarryAFit) {
  EXPECT_NE(refusal(two_topics(3)).find("3 sequences are too few to fit"), std::string::npos);
  TokenSequences few = two_topics(4);
  few.header.experts = {8, 1000};
  EXPECT_NE(refusal(few).find("256 tokens are too few to fit: 0.5 choices per expert in a layer of "
                              "1000, at least 20"),
            std::string::npos)
      << refusal(few);
  TokenSequences all = two_topics(4);
  all.header.experts = {8, 2};
  EXPECT_NE(refusal(all).find("a layer of 2 experts and top-2 leaves nothing to choose"),
            std::string::npos);
}

}  // namespace
}  // namespace sim
