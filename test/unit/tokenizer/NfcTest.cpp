//===- NfcTest.cpp - Normalization form C ---------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/tokenizer/Nfc.h"
#include "runtime/tokenizer/Unicode.h"

#include "gtest/gtest.h"

#include <utf8proc.h>

#include <cstdlib>
#include <random>
#include <string>

using namespace sputnik::rt;

namespace {

std::string nfc(std::string_view text) {
  std::string storage;
  return std::string(normalizeNfc(text, storage));
}

TEST(Nfc, ComposesAndReorders) {
  EXPECT_EQ(nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(nfc("a\u0301\u0323"), "\u1ea1\u0301");
  EXPECT_EQ(nfc("\u1112\u1161\u11ab"), "\ud55c");
  EXPECT_EQ(nfc("\ud558\u11ab"), "\ud55c");
  EXPECT_EQ(nfc("\u2126\u212b"), "\u03a9\u00c5");
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093c");
  EXPECT_EQ(nfc("\uf900"), "\u8c48");
}

TEST(Nfc, LeavesNormalTextWhereItIs) {
  for (const std::string_view text :
       {"", "plain", "naïve é", "Съешь ещё й", "Tất cả", "한국어", "नमस्ते",
        "中文", "\u0301", "\u00e1\u0327", "\xff\xfe", "\xed\xa0\x80"}) {
    std::string storage;
    EXPECT_EQ(normalizeNfc(text, storage).data(), text.data()) << text;
  }
}

TEST(Nfc, InvalidBytesSeparate) {
  EXPECT_EQ(nfc("e\xff\u0301"), "e\xff\u0301");
  EXPECT_EQ(nfc("e\u0301\xc3"), "\u00e9\xc3");
}

TEST(Nfc, AgreesWithTheLibraryOnRandomText) {
  std::mt19937 random(5);
  const uint32_t bases[] = {0x41,   0x300,  0x3a0,  0x400,  0x590,
                            0x900,  0xe00,  0x1100, 0x1e00, 0x1f00,
                            0x2100, 0x3040, 0xac00, 0xf900, 0x1d100};
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (size_t n = 1 + random() % 10; n > 0; --n)
      appendUtf8(bases[random() % std::size(bases)] +
                     static_cast<uint32_t>(random() % 0x90),
                 text);
    auto *expected =
        utf8proc_NFC(reinterpret_cast<const utf8proc_uint8_t *>(text.c_str()));
    ASSERT_NE(expected, nullptr);
    EXPECT_EQ(nfc(text), reinterpret_cast<const char *>(expected));
    std::free(expected);
  }
}

} // namespace
