//===- TokenizerTest.cpp - Text to ids and back ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TestTokenizer.h"

#include "gtest/gtest.h"

#include <cstring>
#include <random>

using namespace sputnik;
using namespace sputnik::test;
using rt::Tokenizer;
using Ids = std::vector<int32_t>;

namespace {

TokenizerRecipe smallRecipe() {
  TokenizerRecipe recipe;
  recipe.merges = {{"h", "e"},    {"l", "l"}, {"he", "ll"},
                   {"hell", "o"}, {"a", "a"}, {"aa", "aa"}};
  recipe.added = r1Markers();
  recipe.config = r1Config;
  return recipe;
}
// Ids of smallRecipe.
constexpr int32_t he = 256, ll = 257, hell = 258, hello = 259, aa = 260,
                  aaaa = 261, eos = 262, bos = 265, think = 266;

TEST(Tokenizer, MergesInRankOrder) {
  const LoadedTokenizer t(smallRecipe());
  EXPECT_EQ(t->encode("hello"), Ids{hello});
  EXPECT_EQ(t->encode("hell"), Ids{hell});
  EXPECT_EQ(t->encode("helo"), (Ids{he, 'l', 'o'}));
  EXPECT_EQ(t->encode("lll"), (Ids{ll, 'l'}));
  EXPECT_EQ(t->encode("aaaaaaa"), (Ids{aaaa, aa, 'a'}));
  EXPECT_EQ(t->encode(""), Ids{});
  EXPECT_EQ(t->vocabSize(), 268);
}

TEST(Tokenizer, ATokenThatMergingDoesNotMakeIsNotUsed) {
  // "ab" is merged first, so "abc" from "a" and "bc" is out of reach.
  TokenizerRecipe recipe;
  recipe.merges = {{"a", "b"}, {"b", "c"}, {"a", "bc"}};
  EXPECT_EQ(LoadedTokenizer(recipe)->encode("abc"), (Ids{256, 'c'}));
  recipe.ignoreMerges = true;
  EXPECT_EQ(LoadedTokenizer(recipe)->encode("abc"), Ids{258});
  EXPECT_EQ(LoadedTokenizer(recipe)->encode("abcabc"),
            (Ids{256, 'c', 256, 'c'}));
}

TEST(Tokenizer, AddedTokensAreFoundLeftmostAndLongest) {
  TokenizerRecipe recipe;
  recipe.added = {{"<a>"}, {"<a><b>"}, {"<b>"}, {"b><"}};
  const LoadedTokenizer t(recipe);
  EXPECT_EQ(t->encode("<a><b>"), Ids{257});
  EXPECT_EQ(t->encode("<a><b"), (Ids{256, '<', 'b'}));
  EXPECT_EQ(t->encode("<b><a>"), (Ids{258, 256}));
  EXPECT_EQ(t->encode("x<a>y<"), (Ids{'x', 256, 'y', '<'}));
  EXPECT_EQ(t->addedToken("<a><b>"), 257);
  EXPECT_EQ(t->addedToken("<a><"), std::nullopt);
  EXPECT_EQ(t->addedToken(""), std::nullopt);
}

TEST(Tokenizer, PlainTextHasNoAddedTokens) {
  const LoadedTokenizer t(smallRecipe());
  const std::string text = "<think>hello<｜end▁of▁sentence｜>";
  EXPECT_EQ(t->encode(text), (Ids{think, hello, eos}));
  const Ids plain = t->encode(text, {.addedTokens = false});
  for (int32_t id : plain)
    EXPECT_LT(id, eos);
  EXPECT_EQ(t->decode(plain), text);
}

TEST(Tokenizer, BosOnlyWhenAsked) {
  const LoadedTokenizer t(smallRecipe());
  EXPECT_EQ(t->encode("he", {.addBos = true}), (Ids{bos, he}));
  EXPECT_EQ(t->encode("", {.addBos = true}), Ids{bos});
  EXPECT_TRUE(t->addsBos());
  EXPECT_EQ(t->bosId(), bos);
}

TEST(Tokenizer, NormalizedAddedTokensAreFoundAfterTheOthers) {
  // As in Hugging Face's tokenizers: raw tokens cut the text first, whatever
  // begins further left.
  TokenizerRecipe recipe;
  recipe.added = {{"b-c", true, false}, {"a-b", true, true}};
  const LoadedTokenizer t(recipe);
  EXPECT_EQ(t->encode("a-b-c"), (Ids{'a', '-', 256}));
  EXPECT_EQ(t->encode("a-b"), Ids{257});
}

TEST(Tokenizer, NormalizationIsOfTextNotOfAddedTokens) {
  TokenizerRecipe recipe;
  recipe.nfc = true;
  recipe.added = {{"e\u0301", true, false}};
  const LoadedTokenizer t(recipe);
  EXPECT_EQ(t->encode("e\u0301"), Ids{256});
  EXPECT_EQ(t->decode(t->encode("e\u0301", {.addedTokens = false})), "\u00e9");
  EXPECT_EQ(t->decode(t->encode("o\u0302")), "\u00f4");
}

TEST(Tokenizer, IdsWithoutTokens) {
  const LoadedTokenizer t(smallRecipe());
  EXPECT_EQ(t->tokenBytes(-1), "");
  EXPECT_EQ(t->tokenBytes(1 << 30), "");
  EXPECT_FALSE(t->hasToken(268));
  EXPECT_FALSE(t->isSpecial(-5));
  EXPECT_EQ(t->decode(Ids{he, 9999, -1, ll}), "hell");
}

TEST(Tokenizer, RoundTripOfAnyBytes) {
  for (const auto kind :
       {rt::PreTokenizerKind::SingleDigits, rt::PreTokenizerKind::DigitTriples,
        rt::PreTokenizerKind::ThreeExpressions}) {
    TokenizerRecipe recipe = smallRecipe();
    recipe.kind = kind;
    const LoadedTokenizer t(recipe);
    std::mt19937 random(7);
    for (int round = 0; round < 3000; ++round) {
      std::string text;
      for (size_t n = random() % 40; n > 0; --n) {
        constexpr const char *parts[] = {
            "a", "hello", " ",    "\n",       "\r\n",     "<think>",
            "é", "中",    "ー",   "\xe4\xb8", "\xf0\x9f", "\u0301",
            "7", "'s",    "\xff", "\u3000"};
        if (random() % 4 == 0)
          text += static_cast<char>(random());
        else
          text += parts[random() % std::size(parts)];
      }
      EXPECT_EQ(t->decode(t->encode(text)), text);
      EXPECT_EQ(t->decode(t->encode(text, {.addedTokens = false})), text);
    }
  }
}

TEST(Tokenizer, NormalizedTextRoundTripsThroughInvalidBytes) {
  TokenizerRecipe recipe = smallRecipe();
  recipe.nfc = true;
  const LoadedTokenizer t(recipe);
  for (const std::string text :
       {"\xff\xc3", "a\xcc", "\xc3\xa9\xff\xed\xa0\x80", "한국어\x80 ế",
        "\xf4\x90\x80\x80", "\xc0\xaf"})
    EXPECT_EQ(t->decode(t->encode(text)), text);
  EXPECT_EQ(t->decode(t->encode("e\u0301\xff\u0301")), "\u00e9\xff\u0301");
}

/// The rule as it is stated, without any cleverness.
Ids naiveMerge(const std::string &text,
               const std::vector<std::pair<std::string, std::string>> &merges) {
  std::vector<std::string> parts;
  for (char c : text)
    parts.push_back(std::string(1, c));
  for (bool again = true; again;) {
    again = false;
    for (size_t rank = 0; rank < merges.size() && !again; ++rank)
      for (size_t i = 0; i + 1 < parts.size() && !again; ++i)
        if (parts[i] == merges[rank].first &&
            parts[i + 1] == merges[rank].second) {
          parts[i] += parts[i + 1];
          parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i) + 1);
          again = true;
        }
  }
  Ids ids;
  for (const std::string &part : parts) {
    int32_t id = static_cast<uint8_t>(part[0]);
    for (size_t rank = 0; rank < merges.size(); ++rank)
      if (merges[rank].first + merges[rank].second == part)
        id = 256 + static_cast<int32_t>(rank);
    ids.push_back(id);
  }
  return ids;
}

TEST(Tokenizer, AgreesWithTheRuleOnRandomMerges) {
  std::mt19937 random(11);
  for (int round = 0; round < 40; ++round) {
    TokenizerRecipe recipe;
    std::vector<std::string> texts = {"a", "b", "c"};
    while (recipe.merges.size() < 25) {
      const std::string left = texts[random() % texts.size()];
      const std::string right = texts[random() % texts.size()];
      bool known = left.size() + right.size() > 12;
      for (const std::string &text : texts)
        known |= text == left + right;
      if (known)
        continue;
      texts.push_back(left + right);
      recipe.merges.push_back({left, right});
    }
    std::shuffle(recipe.merges.begin(), recipe.merges.end(), random);
    const LoadedTokenizer t(recipe);
    for (int i = 0; i < 60; ++i) {
      // On both sides of the length at which the merger changes its method.
      std::string text;
      for (size_t n = 1 + random() % 60; n > 0; --n)
        text += "abc"[random() % 3];
      ASSERT_EQ(t->encode(text), naiveMerge(text, recipe.merges)) << text;
    }
  }
}

TEST(Tokenizer, DamagedBlobsAreRefused) {
  LoadedTokenizer loaded(smallRecipe());
  const std::vector<char> good = loaded.bytes();
  const auto open = [](const std::vector<char> &blob) {
    std::string error;
    const auto tokenizer = Tokenizer::open(
        std::as_bytes(std::span(blob.data(), blob.size())), error);
    EXPECT_EQ(tokenizer.has_value(), error.empty());
    EXPECT_EQ(error.find('\n'), std::string::npos);
    return error;
  };
  EXPECT_EQ(open(good), "");
  EXPECT_NE(open({}), "");
  for (size_t size = 1; size < good.size(); size += 97)
    EXPECT_NE(open({good.begin(), good.begin() + static_cast<long>(size)}), "");
  std::vector<char> longer = good;
  longer.push_back(0);
  EXPECT_NE(open(longer), "");
  std::vector<char> version = good;
  ++version[8];
  EXPECT_EQ(open(version), "the embedded tokenizer is damaged: it was written "
                           "by another version of the compiler");
}

TEST(Tokenizer, DamagedBlobsThatOpenDoNoHarm) {
  LoadedTokenizer loaded(smallRecipe());
  const std::vector<char> good = loaded.bytes();
  std::mt19937 random(3);
  for (int round = 0; round < 4000; ++round) {
    std::vector<char> blob = good;
    for (size_t n = 1 + random() % 8; n > 0; --n)
      blob[random() % blob.size()] = static_cast<char>(random());
    std::string error;
    const auto t = Tokenizer::open(
        std::as_bytes(std::span(blob.data(), blob.size())), error);
    if (!t)
      continue;
    const Ids ids = t->encode("hello <think> aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                              "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 中 he",
                              {.addBos = true});
    t->decode(ids);
    for (int32_t id = -1; id < 300; ++id)
      t->tokenBytes(id);
  }
}

} // namespace
