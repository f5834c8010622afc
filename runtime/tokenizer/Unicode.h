//===- Unicode.h - Code points and their classes ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef SPUTNIK_RUNTIME_TOKENIZER_UNICODE_H
#define SPUTNIK_RUNTIME_TOKENIZER_UNICODE_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sputnik::rt {

/// What a regular expression of a pre-tokenizer can ask of a code point. A code
/// point is at most one of Letter, Number, Mark, Punctuation, Symbol; Space
/// (White_Space) and LineBreak (CR or LF, also Space) are the rest's business.
enum CharClass : uint8_t {
  Letter = 1u << 0,
  Number = 1u << 1,
  Mark = 1u << 2,
  Punctuation = 1u << 3,
  Symbol = 1u << 4,
  Space = 1u << 5,
  LineBreak = 1u << 6,
};

/// A code point of a text and the bytes it takes. Where the text is not UTF-8,
/// one byte is taken and `value` is invalidByte.
struct CodePoint {
  static constexpr uint32_t invalidByte = 0xffffffff;
  uint32_t value;
  uint32_t size;
};

/// The code point at `text[at]`, at < text.size(). Strict: overlong forms,
/// surrogates and values beyond U+10FFFF are invalid bytes.
CodePoint decodeUtf8(std::string_view text, size_t at);

/// The length of the UTF-8 sequence that `text` begins with: its size, or 0
/// where `text` is the proper prefix of a valid sequence, or minus the number
/// of bytes that are no valid beginning (the longest prefix of any sequence,
/// which decoders replace by one U+FFFD).
int utf8SequenceSize(std::string_view text);

/// Appends the UTF-8 form of a code point below 0x110000.
void appendUtf8(uint32_t codePoint, std::string &out);

/// The CharClass bits of a code point; 0 for invalidByte.
uint8_t classifyCodePoint(uint32_t codePoint);

/// classifyCodePoint of the code points below 0x80.
extern const std::array<uint8_t, 128> asciiClasses;

/// The class of the code point at `text[at]`, at < text.size(), and its size.
struct ClassedChar {
  uint8_t charClass;
  uint32_t size;
};
ClassedChar classifyNonAscii(std::string_view text, size_t at);
inline ClassedChar classifyAt(std::string_view text, size_t at) {
  const auto byte = static_cast<uint8_t>(text[at]);
  if (byte < 0x80)
    return {asciiClasses[byte], 1};
  return classifyNonAscii(text, at);
}

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_TOKENIZER_UNICODE_H
