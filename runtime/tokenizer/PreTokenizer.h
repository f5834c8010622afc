//===- PreTokenizer.h - Cuts text into pieces -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The regular expressions of the three pre-tokenizers, coded by hand: each is a
// short list of alternatives that are tried in order at every position, and
// every alternative is a run of characters of given classes. There is no
// backtracking beyond one character and no recursion; every run is looked at a
// constant number of times, so cutting takes linear time on any text. Bytes
// that are not UTF-8 are characters of no class.
//
//===----------------------------------------------------------------------===//

#ifndef SPUTNIK_RUNTIME_TOKENIZER_PRETOKENIZER_H
#define SPUTNIK_RUNTIME_TOKENIZER_PRETOKENIZER_H

#include "runtime/tokenizer/TokenizerBlob.h"
#include "runtime/tokenizer/Unicode.h"

#include <cstddef>
#include <string_view>

namespace sputnik::rt {
namespace pretokenizer_detail {

/// The end of the run of characters with any class of `mask` that begins at
/// `at`.
inline size_t runEnd(std::string_view text, size_t at, uint8_t mask) {
  while (at < text.size()) {
    const ClassedChar c = classifyAt(text, at);
    if (!(c.charClass & mask))
      break;
    at += c.size;
  }
  return at;
}

/// `\s*[\r\n]+|\s+(?!\S)|\s+` at a space: through the last line break of the
/// run; else all of a run that ends the text; else all but the run's last
/// character, which may belong to the next piece.
inline size_t spaceEnd(std::string_view text, size_t begin) {
  size_t at = begin, last = begin, afterBreak = begin;
  while (at < text.size()) {
    const ClassedChar c = classifyAt(text, at);
    if (!(c.charClass & Space))
      break;
    last = at;
    at += c.size;
    if (c.charClass & LineBreak)
      afterBreak = at;
  }
  if (afterBreak > begin)
    return afterBreak;
  return at == text.size() || last == begin ? at : last;
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)` at an apostrophe: the end, or `begin` when
/// there is no contraction. Case folding takes U+017F for an s.
inline size_t contractionEnd(std::string_view text, size_t begin) {
  const auto lower = [&](size_t at) -> char {
    const char c = at < text.size() ? text[at] : '\0';
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  };
  const char first = lower(begin + 1), second = lower(begin + 2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd')
    return begin + 2;
  if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
      (first == 'l' && second == 'l') || (first == '\xc5' && second == '\xbf'))
    return begin + 3;
  return begin;
}

/// The end of the piece that begins at `begin`, for the expression of
/// SingleDigits (`maxDigits` 1) and DigitTriples (3):
///   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,maxDigits}|
///    ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
inline size_t gptPieceEnd(std::string_view text, size_t begin, int maxDigits) {
  if (text[begin] == '\'')
    if (const size_t end = contractionEnd(text, begin); end > begin)
      return end;
  const ClassedChar first = classifyAt(text, begin);
  const size_t next = begin + first.size;
  if (first.charClass & Letter)
    return runEnd(text, next, Letter);
  if (first.charClass & Number) {
    size_t at = next;
    for (int digits = 1; digits < maxDigits && at < text.size(); ++digits) {
      const ClassedChar c = classifyAt(text, at);
      if (!(c.charClass & Number))
        break;
      at += c.size;
    }
    return at;
  }
  const ClassedChar second =
      next < text.size() ? classifyAt(text, next) : ClassedChar{Space, 0};
  if (!(first.charClass & LineBreak) && (second.charClass & Letter))
    return runEnd(text, next + second.size, Letter);
  const bool afterSpace =
      text[begin] == ' ' && !(second.charClass & (Space | Letter | Number));
  if (!(first.charClass & Space) || afterSpace) {
    size_t at = next;
    while (at < text.size()) {
      const ClassedChar c = classifyAt(text, at);
      if (c.charClass & (Space | Letter | Number))
        break;
      at += c.size;
    }
    return runEnd(text, at, LineBreak);
  }
  return spaceEnd(text, begin);
}

inline bool isAsciiLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/// The end of the match that begins at `begin`, or `begin` when there is none,
/// for the last of ThreeExpressions (here `ASCII` stands for the list of ASCII's
/// punctuation and symbols):
///   [ASCII][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|
///    ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
inline size_t thirdExpressionEnd(std::string_view text, size_t begin) {
  constexpr uint8_t wordMask = Letter | Mark, signMask = Punctuation | Symbol;
  const ClassedChar first = classifyAt(text, begin);
  const size_t next = begin + first.size;
  if (first.size == 1 && (first.charClass & signMask)) {
    size_t at = next;
    while (at < text.size() && isAsciiLetter(text[at]))
      ++at;
    if (at > next)
      return at;
  }
  if (first.charClass & wordMask)
    return runEnd(text, next, wordMask);
  const ClassedChar second =
      next < text.size() ? classifyAt(text, next) : ClassedChar{0, 0};
  if (!(first.charClass & (LineBreak | signMask)) &&
      (second.charClass & wordMask))
    return runEnd(text, next + second.size, wordMask);
  if ((first.charClass & signMask) ||
      (text[begin] == ' ' && (second.charClass & signMask)))
    return runEnd(text, runEnd(text, next, signMask), LineBreak);
  if (first.charClass & Space)
    return spaceEnd(text, begin);
  return begin;
}

/// Applies the third expression to one piece of the first two. What lies
/// between matches is a piece of its own.
template <typename Callback>
void deepSeekPieces(std::string_view text, Callback &&callback) {
  size_t gap = 0, at = 0;
  while (at < text.size()) {
    const size_t end = thirdExpressionEnd(text, at);
    if (end == at) {
      at += classifyAt(text, at).size;
      continue;
    }
    if (gap < at)
      callback(text.substr(gap, at - gap));
    callback(text.substr(at, end - at));
    gap = at = end;
  }
  if (gap < at)
    callback(text.substr(gap));
}

/// `[一-龥぀-ゟ゠-ヿ]`: the ideographs and kana of the second expression.
inline bool isIdeographOrKana(uint32_t c) {
  return (c >= 0x4e00 && c <= 0x9fa5) || (c >= 0x3040 && c <= 0x30ff);
}

/// Isolates `\p{N}{1,3}`, then runs of ideographs and kana, then applies the
/// third expression to every part.
template <typename Callback>
void splitByExpressions(std::string_view text, Callback &&callback) {
  enum Part { None, Digits, Ideographs, Other };
  Part part = None;
  size_t begin = 0, digits = 0;
  const auto flush = [&](size_t end) {
    if (part == Digits)
      callback(text.substr(begin, end - begin));
    else if (part != None)
      deepSeekPieces(text.substr(begin, end - begin), callback);
    begin = end;
    digits = 0;
  };
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decodeUtf8(text, at);
    const Part kind = classifyCodePoint(c.value) & Number ? Digits
                      : isIdeographOrKana(c.value)        ? Ideographs
                                                          : Other;
    if (kind != part || digits == 3)
      flush(at);
    part = kind;
    digits += kind == Digits;
    at += c.size;
  }
  flush(text.size());
}

} // namespace pretokenizer_detail

/// Calls `callback(std::string_view piece)` for each piece of `text` in order;
/// the pieces put together are `text`.
template <typename Callback>
void forEachPiece(PreTokenizerKind kind, std::string_view text,
                  Callback &&callback) {
  using namespace pretokenizer_detail;
  if (kind == PreTokenizerKind::ThreeExpressions)
    return splitByExpressions(text, callback);
  const int maxDigits = kind == PreTokenizerKind::DigitTriples ? 3 : 1;
  for (size_t at = 0; at < text.size();) {
    const size_t end = gptPieceEnd(text, at, maxDigits);
    callback(text.substr(at, end - at));
    at = end;
  }
}

} // namespace sputnik::rt

#endif // SPUTNIK_RUNTIME_TOKENIZER_PRETOKENIZER_H
