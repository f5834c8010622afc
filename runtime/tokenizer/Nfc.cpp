//===- Nfc.cpp - Normalization form C -------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text is taken one cluster at a time: a character that no earlier one can
// absorb, and the characters after it that it might. Nearly all clusters are a
// single character that is its own normal form; the others go through utf8proc.
// Its own loop over a whole text is not used since it sorts marks in quadratic
// time.
//
//===----------------------------------------------------------------------===//

#include "runtime/tokenizer/Nfc.h"

#include "runtime/tokenizer/Unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

namespace sputnik::rt {
namespace {

/// Below U+0300 every character is its own normal form and begins a cluster.
constexpr uint32_t firstInteresting = 0x300;

bool isHangulSyllable(uint32_t c) { return c >= 0xac00 && c <= 0xd7a3; }
bool isUnifiedIdeograph(uint32_t c) { return c >= 0x3400 && c <= 0x9fff; }

/// Whether an earlier character may absorb `c` or be swapped with it: the
/// marks, and the vowels and final consonants of Hangul.
bool continuesCluster(uint32_t c) {
  if (c < firstInteresting || c == CodePoint::invalidByte ||
      isUnifiedIdeograph(c) || isHangulSyllable(c))
    return false;
  return (classifyCodePoint(c) & Mark) || (c >= 0x1160 && c <= 0x11ff);
}

class ClusterNormalizer {
public:
  /// Whether the cluster that consists of `c` alone is its own normal form.
  bool isStableAlone(uint32_t c) {
    if (c < firstInteresting || c == CodePoint::invalidByte ||
        isUnifiedIdeograph(c) || isHangulSyllable(c))
      return true;
    codePoints.clear();
    decompose(c);
    if (codePoints.size() == 1)
      return codePoints[0] == static_cast<utf8proc_int32_t>(c);
    compose();
    return codePoints.size() == 1 &&
           codePoints[0] == static_cast<utf8proc_int32_t>(c);
  }

  /// Appends the normal form of a cluster of valid UTF-8.
  void append(std::string_view cluster, std::string &out) {
    codePoints.clear();
    for (size_t at = 0; at < cluster.size();) {
      const CodePoint c = decodeUtf8(cluster, at);
      decompose(c.value);
      at += c.size;
    }
    sortMarks();
    compose();
    for (utf8proc_int32_t c : codePoints)
      appendUtf8(static_cast<uint32_t>(c), out);
  }

private:
  void decompose(uint32_t c) {
    // No canonical decomposition is longer than four code points.
    utf8proc_int32_t parts[8];
    int boundary = 0;
    const auto count = utf8proc_decompose_char(
        static_cast<utf8proc_int32_t>(c), parts, 8,
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE),
        &boundary);
    if (count < 1 || count > 8) {
      codePoints.push_back(static_cast<utf8proc_int32_t>(c));
      return;
    }
    codePoints.insert(codePoints.end(), parts, parts + count);
  }

  static uint64_t combiningClass(utf8proc_int32_t c) {
    return utf8proc_get_property(c)->combining_class;
  }

  /// Brings each run of marks into the order of their combining classes; marks
  /// of one class keep their order.
  void sortMarks() {
    for (size_t begin = 0; begin < codePoints.size();) {
      marks.clear();
      size_t end = begin;
      for (; end < codePoints.size(); ++end) {
        const uint64_t order = combiningClass(codePoints[end]);
        if (order == 0)
          break;
        marks.push_back(order << 56 | static_cast<uint64_t>(end - begin) << 21 |
                        static_cast<uint32_t>(codePoints[end]));
      }
      if (!std::is_sorted(marks.begin(), marks.end())) {
        std::sort(marks.begin(), marks.end());
        for (size_t i = 0; i < marks.size(); ++i)
          codePoints[begin + i] =
              static_cast<utf8proc_int32_t>(marks[i] & 0x1fffff);
      }
      begin = end + 1;
    }
  }

  void compose() {
    const auto count = utf8proc_normalize_utf32(
        codePoints.data(), static_cast<utf8proc_ssize_t>(codePoints.size()),
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    if (count >= 0)
      codePoints.resize(static_cast<size_t>(count));
  }

  std::vector<utf8proc_int32_t> codePoints;
  /// Class, position and code point of each mark of a run.
  std::vector<uint64_t> marks;
};

} // namespace

std::string_view normalizeNfc(std::string_view text, std::string &storage) {
  ClusterNormalizer normalizer;
  std::string cluster;
  bool changed = false;
  size_t copied = 0;
  const auto replace = [&](size_t begin, size_t end) {
    if (!changed)
      storage.clear();
    changed = true;
    storage.append(text, copied, begin - copied);
    storage.append(cluster);
    copied = end;
  };
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const CodePoint first = decodeUtf8(text, at);
    at += first.size;
    // The common case in one comparison: two neighbours below U+0300, whose
    // UTF-8 begins with a byte below 0xcc.
    if (first.value < firstInteresting &&
        (at == text.size() || static_cast<uint8_t>(text[at]) < 0xcc))
      continue;
    size_t members = 1;
    if (first.value != CodePoint::invalidByte)
      while (at < text.size()) {
        const CodePoint c = decodeUtf8(text, at);
        if (!continuesCluster(c.value))
          break;
        at += c.size;
        ++members;
      }
    if (members == 1 && normalizer.isStableAlone(first.value))
      continue;
    cluster.clear();
    normalizer.append(text.substr(begin, at - begin), cluster);
    if (cluster != text.substr(begin, at - begin))
      replace(begin, at);
  }
  if (!changed)
    return text;
  storage.append(text, copied);
  return storage;
}

} // namespace sputnik::rt
