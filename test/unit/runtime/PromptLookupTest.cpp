//===- PromptLookupTest.cpp - Tests of guessing repetitions ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/PromptLookup.h"
#include "runtime/Random.h"

#include <gtest/gtest.h>

namespace sputnik::rt {

static std::vector<int32_t> letters(const std::string &text) {
  return {text.begin(), text.end()};
}

static std::string guessAfter(const std::string &text, size_t most) {
  PromptLookup lookup;
  lookup.begin(letters(text));
  const std::vector<int32_t> guesses = lookup.guess(most);
  return {guesses.begin(), guesses.end()};
}

TEST(PromptLookup, GuessesWhatFollowedBefore) {
  EXPECT_EQ(guessAfter("", 7), "");
  EXPECT_EQ(guessAfter("abcdef", 7), "");
  // One token in common is chance.
  EXPECT_EQ(guessAfter("abcdefa", 7), "");
  EXPECT_EQ(guessAfter("the cat sat; the c", 7), "at sa");
  EXPECT_EQ(guessAfter("the cat sat; the c", 3), "at ");
  EXPECT_EQ(guessAfter("the cat sat; the c", 0), "");
  // As many as are the same.
  EXPECT_EQ(guessAfter("1abcdefg2ab", 7), "cd");
}

TEST(PromptLookup, BelievesTheLongerMatchAndThenTheLater) {
  EXPECT_EQ(guessAfter("abX cabY 1abZ cab", 7), "Y 1a");
  EXPECT_EQ(guessAfter("abX abY abZ ab", 1), "Z");
  EXPECT_EQ(guessAfter("1abX 2abY ab", 1), "Y");
}

TEST(PromptLookup, GoesRoundInLoops) {
  EXPECT_EQ(guessAfter("aaaaaaaa", 7), "aaaaaaa");
  EXPECT_EQ(guessAfter("xabcabcabc", 7), "abcabc");
}

TEST(PromptLookup, FindsTheLongestMatchOfAnyText) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed);
    const uint64_t alphabet = 2 + seed % 5;
    std::vector<int32_t> text;
    PromptLookup lookup;
    for (size_t length = 1; length <= 120; ++length) {
      text.push_back(static_cast<int32_t>(random.next() % alphabet));
      lookup.append(text.back());
      size_t longest = 0;
      for (size_t end = 1; end < length; ++end) {
        size_t common = 0;
        while (common < end && text[end - 1 - common] ==
                                   text[length - 1 - common])
          ++common;
        longest = std::max(longest, common);
      }
      const size_t expected =
          longest < PromptLookup::shortestMatch ? 0 : longest;
      ASSERT_EQ(lookup.guess(1000).size(), expected)
          << "seed " << seed << ", " << length << " tokens";
    }
  }
}

TEST(PromptLookup, BeginsAnew) {
  PromptLookup lookup;
  lookup.begin(letters("abcabc"));
  lookup.begin(letters("xyab"));
  EXPECT_TRUE(lookup.guess(7).empty());
}

} // namespace sputnik::rt
