#include "sim/input/utf8.h"

#include <gtest/gtest.h>

namespace sim {
namespace {

// The limits of RFC 3629, section 4.
TEST(Utf8, TakesCharactersAndNothingElse) {
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8("plain \xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80"));
  EXPECT_TRUE(
      is_utf8("\xC2\x80 \xE0\xA0\x80 \xED\x9F\xBF \xEE\x80\x80 \xF0\x90\x80\x80 \xF4\x8F\xBF\xBF"));
  EXPECT_FALSE(is_utf8("\x80"));              // a continuation alone
  EXPECT_FALSE(is_utf8("\xC3"));              // cut
  EXPECT_FALSE(is_utf8("\xE2\x82"));          // cut
  EXPECT_FALSE(is_utf8("\xC3z"));             // no continuation
  EXPECT_FALSE(is_utf8("\xC0\xAF"));          // "/" in two bytes
  EXPECT_FALSE(is_utf8("\xE0\x9F\xBF"));      // in three where two do
  EXPECT_FALSE(is_utf8("\xF0\x8F\xBF\xBF"));  // in four where three do
  EXPECT_FALSE(is_utf8("\xED\xA0\x80"));      // a surrogate
  EXPECT_FALSE(is_utf8("\xF4\x90\x80\x80"));  // above U+10FFFF
  EXPECT_FALSE(is_utf8("\xFF"));
}

}  // namespace
}  // namespace sim
