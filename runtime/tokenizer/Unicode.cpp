//===- Unicode.cpp - Code points and their classes ------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/tokenizer/Unicode.h"

#include <utf8proc.h>

namespace sputnik::rt {
namespace {

/// Unicode's White_Space property beyond ASCII.
bool isWideSpace(uint32_t c) {
  return c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
         c == 0x202f || c == 0x205f || c == 0x3000;
}

constexpr std::array<uint8_t, 128> makeAsciiClasses() {
  std::array<uint8_t, 128> classes{};
  for (int c = 0; c < 128; ++c) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
      classes[c] = Letter;
    else if (c >= '0' && c <= '9')
      classes[c] = Number;
    else if (c == '\r' || c == '\n')
      classes[c] = Space | LineBreak;
    else if (c == ' ' || (c >= '\t' && c <= '\r'))
      classes[c] = Space;
    else if (c == '$' || c == '+' || (c >= '<' && c <= '>') || c == '^' ||
             c == '`' || c == '|' || c == '~')
      classes[c] = Symbol;
    else if (c > ' ' && c < 0x7f)
      classes[c] = Punctuation;
  }
  return classes;
}

/// The number of bytes that the sequence with this first byte has, 0 if none
/// begins so.
int sequenceSize(uint8_t lead) {
  if (lead < 0x80)
    return 1;
  if (lead >= 0xc2 && lead <= 0xdf)
    return 2;
  if (lead >= 0xe0 && lead <= 0xef)
    return 3;
  if (lead >= 0xf0 && lead <= 0xf4)
    return 4;
  return 0;
}

/// Whether `second` may follow `lead`: this is where overlong forms, surrogates
/// and values beyond U+10FFFF differ from valid sequences.
bool validSecond(uint8_t lead, uint8_t second) {
  const uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  return second >= low && second <= high;
}

} // namespace

const std::array<uint8_t, 128> asciiClasses = makeAsciiClasses();

int utf8SequenceSize(std::string_view text) {
  if (text.empty())
    return 0;
  const auto lead = static_cast<uint8_t>(text[0]);
  const int size = sequenceSize(lead);
  if (size == 0)
    return -1;
  for (int i = 1; i < size; ++i) {
    if (static_cast<size_t>(i) >= text.size())
      return 0;
    const auto byte = static_cast<uint8_t>(text[i]);
    if (i == 1 ? !validSecond(lead, byte) : (byte & 0xc0) != 0x80)
      return -i;
  }
  return size;
}

CodePoint decodeUtf8(std::string_view text, size_t at) {
  const auto lead = static_cast<uint8_t>(text[at]);
  if (lead < 0x80)
    return {lead, 1};
  const int size = utf8SequenceSize(text.substr(at, 4));
  if (size <= 0)
    return {CodePoint::invalidByte, 1};
  uint32_t value = lead & (0xffu >> (size + 1));
  for (int i = 1; i < size; ++i)
    value = value << 6 | (static_cast<uint8_t>(text[at + i]) & 0x3f);
  return {value, static_cast<uint32_t>(size)};
}

void appendUtf8(uint32_t codePoint, std::string &out) {
  utf8proc_uint8_t bytes[4];
  const auto size =
      utf8proc_encode_char(static_cast<utf8proc_int32_t>(codePoint), bytes);
  out.append(reinterpret_cast<const char *>(bytes), static_cast<size_t>(size));
}

uint8_t classifyCodePoint(uint32_t codePoint) {
  if (codePoint < 0x80)
    return asciiClasses[codePoint];
  if (codePoint == CodePoint::invalidByte)
    return 0;
  const uint8_t space = isWideSpace(codePoint) ? Space : 0;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(codePoint))) {
  case UTF8PROC_CATEGORY_LU:
  case UTF8PROC_CATEGORY_LL:
  case UTF8PROC_CATEGORY_LT:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_LO:
    return Letter;
  case UTF8PROC_CATEGORY_MN:
  case UTF8PROC_CATEGORY_MC:
  case UTF8PROC_CATEGORY_ME:
    return Mark;
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_NO:
    return Number;
  case UTF8PROC_CATEGORY_PC:
  case UTF8PROC_CATEGORY_PD:
  case UTF8PROC_CATEGORY_PS:
  case UTF8PROC_CATEGORY_PE:
  case UTF8PROC_CATEGORY_PI:
  case UTF8PROC_CATEGORY_PF:
  case UTF8PROC_CATEGORY_PO:
    return Punctuation;
  case UTF8PROC_CATEGORY_SM:
  case UTF8PROC_CATEGORY_SC:
  case UTF8PROC_CATEGORY_SK:
  case UTF8PROC_CATEGORY_SO:
    return Symbol;
  default:
    return space;
  }
}

ClassedChar classifyNonAscii(std::string_view text, size_t at) {
  const CodePoint c = decodeUtf8(text, at);
  return {classifyCodePoint(c.value), c.size};
}

} // namespace sputnik::rt
