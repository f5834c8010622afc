//===- CommandTest.cpp - `X tokenize` -------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TestTokenizer.h"

#include "runtime/tokenizer/TokenIds.h"
#include "runtime/tokenizer/TokenizeCommand.h"

#include "gtest/gtest.h"

#include <sstream>

using namespace sputnik;
using namespace sputnik::test;
using namespace sputnik::rt;

namespace {

struct Outcome {
  int status;
  std::string output, errors;
};

Outcome run(const TokenizeCommandOptions &options, const std::string &input) {
  static const LoadedTokenizer tokenizer([] {
    TokenizerRecipe recipe;
    recipe.added = r1Markers();
    recipe.config = r1Config;
    return recipe;
  }());
  std::istringstream in(input);
  std::ostringstream out, errors;
  const int status = runTokenizeCommand(*tokenizer, options, in, out, errors);
  return {status, out.str(), errors.str()};
}

TEST(TokenizeCommand, TextToIds) {
  EXPECT_EQ(run({}, "ab\n").output, "97,98,10\n");
  EXPECT_EQ(run({.bos = true}, "a").output, "259,97\n");
  EXPECT_EQ(run({}, "<think>").output, "260\n");
  EXPECT_EQ(run({.plain = true}, "<t>").output, "60,116,62\n");
  EXPECT_EQ(run({}, "").output, "\n");
  EXPECT_EQ(run({}, std::string("\0\xff", 2)).output, "0,255\n");
}

TEST(TokenizeCommand, IdsToBytes) {
  EXPECT_EQ(run({.ids = "97, 98,260"}, "").output, "ab<think>");
  EXPECT_EQ(run({.ids = "255"}, "").output, "\xff");
  EXPECT_EQ(run({.ids = ""}, "").output, "");
}

TEST(TokenizeCommand, Errors) {
  const Outcome noToken = run({.ids = "97,262"}, "");
  EXPECT_EQ(noToken.status, 1);
  EXPECT_EQ(noToken.output, "");
  EXPECT_EQ(
      noToken.errors,
      "error: --ids: 262 is the id of no token, expected less than 262\n");
  EXPECT_EQ(run({.ids = "1,,2"}, "").status, 2);
  const Outcome noFile = run({.file = "/nowhere/text"}, "");
  EXPECT_EQ(noFile.status, 1);
  EXPECT_EQ(noFile.errors, "error: /nowhere/text: No such file or directory\n");
  EXPECT_EQ(run({.file = "/"}, "").errors,
            "error: /: is a folder, expected a text file\n");
}

TEST(TokenIds, Parse) {
  std::string error;
  EXPECT_EQ(parseTokenIds(" 1 ,2,\t30\n", error),
            (std::vector<int32_t>{1, 2, 30}));
  EXPECT_EQ(parseTokenIds("", error), std::vector<int32_t>{});
  for (const char *bad : {",", "1,", "-1", "+1", "1 2", "0x1", "2147483648",
                          "99999999999999999999", "a", "1.0"}) {
    EXPECT_EQ(parseTokenIds(bad, error), std::nullopt) << bad;
    EXPECT_NE(error, "");
  }
  EXPECT_EQ(printTokenIds(std::vector<int32_t>{0, 17, 2147483647}),
            "0,17,2147483647");
}

} // namespace
