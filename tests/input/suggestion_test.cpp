#include "sim/input/suggestion.h"

#include <gtest/gtest.h>

namespace sim {
namespace {

using Names = std::vector<std::string>;

TEST(Suggestion, DistanceCountsEditsAndNeighboursThatChangedPlaces) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);  // k->s, e->i, +g
  EXPECT_EQ(edit_distance("setps", "steps"), 1);     // one transposition
  EXPECT_EQ(edit_distance("ab", "ba"), 1);
  EXPECT_EQ(edit_distance("steps", "step"), 1);
}

TEST(Suggestion, TheNearestIsOfferedWhenItIsNear) {
  const Names keys = {"steps", "context", "tokens_per_gpu"};
  EXPECT_EQ(suggest("setps", keys), "did you mean 'steps'?");
  EXPECT_EQ(suggest("contxet", keys), "did you mean 'context'?");
  EXPECT_EQ(suggest("token_per_gpus", keys), "did you mean 'tokens_per_gpu'?");
}

TEST(Suggestion, ElseThePossibleOnesAreListed) {
  EXPECT_EQ(suggest("banana", Names{"nccl", "deepep-normal"}), "possible: nccl, deepep-normal");
  EXPECT_EQ(suggest("banana", Names{}), "");
  // Two letters of two are another word, not a slip.
  EXPECT_EQ(suggest("xy", Names{"ab"}), "possible: ab");
}

TEST(Suggestion, AtMostTwelveAreListed) {
  Names many;
  for (int i = 10; i < 23; ++i) many.push_back("name" + std::to_string(i));
  EXPECT_EQ(suggest("banana", many),
            "possible: name10, name11, name12, name13, name14, name15, name16, name17, name18, "
            "name19, name20, name21, ...");
}

TEST(Suggestion, AVeryLongWordIsNotCompared) {
  EXPECT_EQ(suggest(std::string(201, 'a'), Names{std::string(200, 'a')}),
            "possible: " + std::string(200, 'a'));
}

}  // namespace
}  // namespace sim
