//===- LinearTimeTest.cpp - Long and hostile texts ------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TestTokenizer.h"

#include "runtime/tokenizer/BpeMerge.h"

#include "gtest/gtest.h"

#include <functional>
#include <random>
#include <time.h>

using namespace sputnik;
using namespace sputnik::test;

namespace {

std::string repeated(std::string_view part, size_t bytes) {
  std::string text;
  while (text.size() < bytes)
    text += part;
  return text;
}

std::string mixedText(size_t bytes) {
  constexpr const char *parts[] = {
      "The quick brown fox jumps over the lazy dog. ",
      "我想在苹果公司工作，今天的天气很好。",
      "Съешь же ещё этих мягких булок ",
      "नमस्ते दुनिया ",
      "Tất cả mọi người ",
      "e\u0301\u0323 ",
      "int main() { return 0x1f; }\n\n",
      "   \t\r\n  ",
      "1234567890 ½ ",
      "😶‍🌫️ ",
      "\xff\xfe\xc3",
      "<think>",
      "<｜begin▁of▁"};
  std::mt19937 random(2);
  std::string text;
  while (text.size() < bytes)
    text += parts[random() % std::size(parts)];
  return text;
}

struct Case {
  const char *name;
  std::function<std::string(size_t)> make;
};

const Case cases[] = {
    {"equal letters", [](size_t n) { return std::string(n, 'a'); }},
    {"spaces", [](size_t n) { return std::string(n, ' '); }},
    {"line breaks", [](size_t n) { return repeated("\r\n", n); }},
    {"spaces and breaks", [](size_t n) { return repeated(" \n ", n); }},
    {"digits", [](size_t n) { return std::string(n, '7'); }},
    {"apostrophes", [](size_t n) { return std::string(n, '\''); }},
    {"symbols", [](size_t n) { return repeated("=-", n); }},
    {"invalid bytes", [](size_t n) { return std::string(n, '\xff'); }},
    {"cut sequences", [](size_t n) { return repeated("\xf0\x9f\x98", n); }},
    {"marks", [](size_t n) { return repeated("\u0301\u0323", n); }},
    {"Hangul parts",
     [](size_t n) { return repeated("\u1112\u1161\u11ab", n); }},
    {"ideographs", [](size_t n) { return repeated("中", n); }},
    {"beginnings of tokens", [](size_t n) { return repeated("<｜begin", n); }},
    {"mixed", mixedText},
};

/// Processor time of this thread, which other programs do not lengthen.
double processorSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

/// The fastest of three runs, in seconds.
double secondsFor(const rt::Tokenizer &tokenizer, const std::string &text) {
  double best = 1e9;
  for (int run = 0; run < 3; ++run) {
    const double begin = processorSeconds();
    const std::vector<int32_t> ids = tokenizer.encode(text);
    best = std::min(best, processorSeconds() - begin);
    EXPECT_FALSE(ids.empty());
  }
  return best;
}

class LinearTime : public testing::TestWithParam<rt::PreTokenizerKind> {};

TEST_P(LinearTime, OnTextOfEveryKind) {
  TokenizerRecipe recipe;
  recipe.kind = GetParam();
  recipe.nfc = true;
  recipe.added = r1Markers();
  std::string run = "a";
  for (int i = 0; i < 6; ++i, run += run)
    recipe.merges.push_back({run, run});
  const LoadedTokenizer tokenizer(recipe);
  for (const Case &c : cases) {
    const double once = secondsFor(*tokenizer, c.make(1 << 15));
    const double longer = secondsFor(*tokenizer, c.make(1 << 19));
    // The text is 16 times as long; quadratic work would be 256 times as much.
    // What lies between is for caches, which other programs share.
    EXPECT_LT(longer, 100 * once + 5e-3) << c.name;
  }
}

TEST(LinearWork, LookupsOfPairs) {
  // Each symbol is looked at with its neighbour once, and each merge, of which
  // there are fewer than symbols, looks at two pairs more.
  for (const size_t size : {10u, 1'000u, 100'000u}) {
    std::vector<uint32_t> symbols(size, 0);
    size_t lookups = 0;
    rt::BpeMerger().merge(symbols, [&](uint32_t left, uint32_t right) {
      ++lookups;
      return left == right && left < 8 ? rt::PairMerge{left, left + 1}
                                       : rt::PairMerge();
    });
    EXPECT_LT(symbols.size(), size / 64 + 8);
    EXPECT_LT(lookups, 3 * size);
  }
}

INSTANTIATE_TEST_SUITE_P(All, LinearTime,
                         testing::Values(rt::PreTokenizerKind::SingleDigits,
                                         rt::PreTokenizerKind::DigitTriples,
                                         rt::PreTokenizerKind::ThreeExpressions));

TEST(LongText, AHundredThousandEqualLetters) {
  TokenizerRecipe recipe;
  recipe.merges = {{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}};
  const LoadedTokenizer tokenizer(recipe);
  const std::vector<int32_t> ids = tokenizer->encode(std::string(100'003, 'a'));
  ASSERT_EQ(ids.size(), 12'500u + 2);
  EXPECT_EQ(ids[12'499], 258);
  EXPECT_EQ(ids[12'500], 256);
  EXPECT_EQ(ids[12'501], 'a');
}

TEST(LongText, AMegabyteOfMixedTextRoundTrips) {
  TokenizerRecipe recipe;
  recipe.added = r1Markers();
  const LoadedTokenizer tokenizer(recipe);
  const std::string text = mixedText(1 << 20);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
}

} // namespace
