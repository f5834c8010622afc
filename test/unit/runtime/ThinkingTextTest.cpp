//===- ThinkingTextTest.cpp - Tests of dimmed thinking --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/ThinkingText.h"

#include <gtest/gtest.h>

using namespace sputnik::rt;

/// Styles `text` cut into parts of `size` bytes.
static std::string styled(const std::string &text, bool thinking, size_t size) {
  ThinkingText style(thinking);
  std::string out;
  for (size_t at = 0; at < text.size(); at += size)
    out += style.push(text.substr(at, size));
  return out + style.finish();
}

TEST(ThinkingText, DimsUpToTheMarkerHoweverTheTextIsCut) {
  for (size_t size : {1, 2, 3, 5, 8, 100})
    EXPECT_EQ(styled("I </thi think.</think>\n\nYes.", true, size),
              "\x1b[2mI </thi think.</think>\x1b[22m\n\nYes.");
}

TEST(ThinkingText, ThinkingMayBeginLater) {
  for (size_t size : {1, 2, 3, 5, 8, 100}) {
    EXPECT_EQ(styled("<think>so</think>no", false, size),
              "\x1b[2m<think>so</think>\x1b[22mno");
    EXPECT_EQ(styled("a < b <think> c", false, size),
              "a < b \x1b[2m<think> c\x1b[22m");
  }
}

TEST(ThinkingText, LeavesPlainTextAlone) {
  EXPECT_EQ(styled("no thoughts <thin", false, 4), "no thoughts <thin");
  EXPECT_EQ(styled("", true, 4), "");
}

TEST(ThinkingText, ShowsTextAtOnce) {
  ThinkingText style(false);
  EXPECT_EQ(style.push("now"), "now");
  EXPECT_EQ(style.push("<th"), "");
  EXPECT_EQ(style.push("x"), "<thx");
}

TEST(ThinkingText, EndsDimmingWhenTheTextEndsInThinking) {
  EXPECT_EQ(styled("I thi", true, 2), "\x1b[2mI thi\x1b[22m");
  EXPECT_EQ(styled("I </thi", true, 2), "\x1b[2mI </thi\x1b[22m");
}
