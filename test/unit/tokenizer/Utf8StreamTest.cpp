//===- Utf8StreamTest.cpp - Text from bytes in parts ----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/tokenizer/Utf8Stream.h"

#include "gtest/gtest.h"

#include <random>

using sputnik::rt::Utf8Stream;

namespace {

TEST(Utf8Stream, WithholdsUnfinishedCharacters) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xe4"), "a");
  EXPECT_EQ(stream.push("\xb8"), "");
  EXPECT_EQ(stream.push("\xad!"), "中!");
  EXPECT_EQ(stream.push("\xf0\x9f\x98"), "");
  EXPECT_EQ(stream.push("\x80"), "😀");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Utf8Stream, ReplacesWhatIsNoCharacter) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("\xff x"), "\ufffd x");
  EXPECT_EQ(stream.push("\xe4\xb8"), "");
  EXPECT_EQ(stream.push("x"), "\ufffdx");
  EXPECT_EQ(stream.push("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");
  EXPECT_EQ(stream.push("\xf4\x90"), "\ufffd\ufffd");
  EXPECT_EQ(stream.push("\xc0\xaf"), "\ufffd\ufffd");
  EXPECT_EQ(stream.push("ok\xf0\x9f"), "ok");
  EXPECT_EQ(stream.finish(), "\ufffd");
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(stream.push("new"), "new");
}

TEST(Utf8Stream, CutsDoNotMatter) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (size_t n = random() % 20; n > 0; --n) {
      constexpr const char *parts[] = {"a",  "é",        "中",
                                       "😀", "\xf0\x9f", "\x80"};
      text += parts[random() % std::size(parts)];
    }
    Utf8Stream whole, cut;
    std::string expected = whole.push(text);
    expected += whole.finish();
    std::string got;
    for (size_t at = 0; at < text.size();) {
      const size_t size = 1 + random() % 3;
      got += cut.push(std::string_view(text).substr(at, size));
      at += size;
    }
    got += cut.finish();
    EXPECT_EQ(got, expected);
  }
}

} // namespace
