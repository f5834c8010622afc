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
  const Result<std::vector<Guess>> guesses = lookup.guess(most);
  std::string said;
  for (const Guess &guess : *guesses)
    said += static_cast<char>(guess.id);
  return said;
}

TEST(PromptLookup, GuessesWhatFollowedBefore) {
  EXPECT_EQ(guessAfter("", 7), "");
  EXPECT_EQ(guessAfter("abcdef", 7), "");
  // One token in common is chance.
  EXPECT_EQ(guessAfter("abcdefa", 7), "");
  EXPECT_EQ(guessAfter("the cat sat; the c", 7), "at");
  EXPECT_EQ(guessAfter("the cat sat; the c", 1), "a");
  EXPECT_EQ(guessAfter("the cat sat; the c", 0), "");
  // Half as many as are the same.
  EXPECT_EQ(guessAfter("1abcdefg2ab", 7), "c");
  EXPECT_EQ(guessAfter("1abcdefg2abcd", 7), "ef");
}

TEST(PromptLookup, BelievesTheLongerMatchAndThenTheLater) {
  EXPECT_EQ(guessAfter("abX cabY 1abZ cab", 7), "Y ");
  EXPECT_EQ(guessAfter("abX abY abZ ab", 1), "Z");
  EXPECT_EQ(guessAfter("1abX 2abY ab", 1), "Y");
}

TEST(PromptLookup, GoesRoundInLoops) {
  EXPECT_EQ(guessAfter("aaaaaaaaa", 7), "aaaa");
  EXPECT_EQ(guessAfter("xabcabcabcabc", 7), "abca");
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
      ASSERT_EQ(lookup.guess(1000)->size(), expected / 2)
          << "seed " << seed << ", " << length << " tokens";
    }
  }
}

TEST(PromptLookup, BeginsAnew) {
  PromptLookup lookup;
  lookup.begin(letters("abcabc"));
  lookup.begin(letters("xyab"));
  EXPECT_TRUE(lookup.guess(7)->empty());
}

} // namespace sputnik::rt
