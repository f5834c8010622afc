//===- PreTokenizerTest.cpp - Cutting text into pieces --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The expected pieces are those of the regular expressions themselves, as run
// by Hugging Face's tokenizers.
//
//===----------------------------------------------------------------------===//

#include "runtime/tokenizer/PreTokenizer.h"

#include "gtest/gtest.h"

#include <string>
#include <vector>

using namespace sputnik::rt;
using Pieces = std::vector<std::string>;

namespace {

Pieces cut(PreTokenizerKind kind, std::string_view text) {
  Pieces pieces;
  forEachPiece(kind, text,
               [&](std::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}
Pieces qwen(std::string_view text) {
  return cut(PreTokenizerKind::SingleDigits, text);
}
Pieces llama(std::string_view text) {
  return cut(PreTokenizerKind::DigitTriples, text);
}
Pieces deepSeek(std::string_view text) {
  return cut(PreTokenizerKind::ThreeExpressions, text);
}

TEST(PreTokenizer, Words) {
  EXPECT_EQ(qwen("Hello world"), (Pieces{"Hello", " world"}));
  EXPECT_EQ(qwen("a_b(c)"), (Pieces{"a", "_b", "(c", ")"}));
  EXPECT_EQ(qwen("\tx\nx"), (Pieces{"\tx", "\n", "x"}));
  EXPECT_EQ(deepSeek("Hello world"), (Pieces{"Hello", " world"}));
  EXPECT_EQ(deepSeek("a_b(c)"), (Pieces{"a", "_b", "(c", ")"}));
}

TEST(PreTokenizer, Contractions) {
  EXPECT_EQ(qwen("he's I'LL we'Ve 'tis"),
            (Pieces{"he", "'s", " I", "'LL", " we", "'Ve", " '", "tis"}));
  EXPECT_EQ(llama("'dx'r'"), (Pieces{"'d", "x", "'r", "'"}));
  EXPECT_EQ(qwen("'\u017fo"), (Pieces{"'\u017f", "o"}));
  EXPECT_EQ(qwen("'l"), (Pieces{"'l"}));
  EXPECT_EQ(qwen("'"), (Pieces{"'"}));
  EXPECT_EQ(deepSeek("he's"), (Pieces{"he", "'s"}));
}

TEST(PreTokenizer, Numbers) {
  EXPECT_EQ(qwen("1234 ½"), (Pieces{"1", "2", "3", "4", " ", "½"}));
  EXPECT_EQ(llama("1234567x8"), (Pieces{"123", "456", "7", "x", "8"}));
  EXPECT_EQ(llama(" 12"), (Pieces{" ", "12"}));
  EXPECT_EQ(deepSeek("1234567x8"), (Pieces{"123", "456", "7", "x", "8"}));
  EXPECT_EQ(deepSeek("٣Ⅷ²½"), (Pieces{"٣Ⅷ²", "½"}));
}

TEST(PreTokenizer, Symbols) {
  EXPECT_EQ(qwen("a !!\r\n\nb"), (Pieces{"a", " !!\r\n\n", "b"}));
  EXPECT_EQ(qwen("\t!"), (Pieces{"\t", "!"}));
  EXPECT_EQ(deepSeek("a !!\r\n\nb"), (Pieces{"a", " !!\r\n\n", "b"}));
  EXPECT_EQ(deepSeek("+=x =x"), (Pieces{"+=", "x", " =", "x"}));
}

TEST(PreTokenizer, Spaces) {
  EXPECT_EQ(qwen("a   b"), (Pieces{"a", "  ", " b"}));
  EXPECT_EQ(qwen("a   "), (Pieces{"a", "   "}));
  EXPECT_EQ(qwen(" \n \n  b"), (Pieces{" \n \n", " ", " b"}));
  EXPECT_EQ(qwen("\u3000\u3000x"), (Pieces{"\u3000", "\u3000x"}));
  EXPECT_EQ(qwen("\u2028"), (Pieces{"\u2028"}));
  EXPECT_EQ(llama("  1"), (Pieces{" ", " ", "1"}));
  // To the later expressions a number's neighbours end there.
  EXPECT_EQ(deepSeek("  1"), (Pieces{"  ", "1"}));
}

TEST(PreTokenizer, Ideographs) {
  EXPECT_EQ(deepSeek("我想在apple工作"), (Pieces{"我想在", "apple", "工作"}));
  EXPECT_EQ(deepSeek("カタカナ・ー"), (Pieces{"カタカナ", "・", "ー"}));
  EXPECT_EQ(deepSeek(" 中"), (Pieces{" ", "中"}));
  EXPECT_EQ(qwen(" 中文"), (Pieces{" 中文"}));
}

TEST(PreTokenizer, WhatMatchesNothing) {
  // Control characters and unassigned ones join up to the next match.
  EXPECT_EQ(deepSeek("\x01\x02!"), (Pieces{"\x01\x02", "!"}));
  EXPECT_EQ(deepSeek("\x01\x02x"), (Pieces{"\x01", "\x02x"}));
  EXPECT_EQ(deepSeek("\xff\xfe"), (Pieces{"\xff\xfe"}));
  EXPECT_EQ(qwen("\xff\xfe x"), (Pieces{"\xff\xfe", " x"}));
  EXPECT_EQ(deepSeek("\u0301\u0301"), (Pieces{"\u0301\u0301"}));
  EXPECT_EQ(qwen("\u0301a"), (Pieces{"\u0301a"}));
}

} // namespace
