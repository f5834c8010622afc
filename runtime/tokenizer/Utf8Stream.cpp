//===- Utf8Stream.cpp - Text from bytes that arrive in parts --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "runtime/tokenizer/Utf8Stream.h"

#include "runtime/tokenizer/Unicode.h"

namespace sputnik::rt {
namespace {
constexpr std::string_view replacement = "\xef\xbf\xbd";
} // namespace

std::string Utf8Stream::push(std::string_view bytes) {
  std::string joined;
  if (!pending.empty()) {
    joined = std::move(pending);
    joined += bytes;
    bytes = joined;
    pending.clear();
  }
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const int size = utf8SequenceSize(bytes);
    if (size == 0) {
      pending = bytes;
      break;
    }
    const auto used = static_cast<size_t>(size > 0 ? size : -size);
    text += size > 0 ? bytes.substr(0, used) : replacement;
    bytes.remove_prefix(used);
  }
  return text;
}

std::string Utf8Stream::finish() {
  const bool unfinished = !pending.empty();
  pending.clear();
  return unfinished ? std::string(replacement) : std::string();
}

} // namespace sputnik::rt
